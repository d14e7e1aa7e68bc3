"""What docker compose answers to files, kept as data: `config` here prints the same, or refuses as well.

`answers/*.yaml` hold the cases: `files`, `arguments`, `environ`, and what docker compose says: `answer` (its stdout) or
`refused` (its last line). `ours` and `why` are for a difference that stays, `lax` says why a refused file is taken here
(with a warning). `answers/real/*.yaml` are of files as people have them, a folder below `real` each. `write_answers`
asks an installed docker compose anew; where one is installed, the answers are held against it as well.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from .docker_compose import installed, unexplained

Run = Callable[..., tuple[int, str, str]]
FOLDER = Path(__file__).parent / "answers"
REAL = Path(__file__).parent / "real"
MAPS = 8  # times that docker compose is asked: where it walks through a map, its order is another each time
Case = dict[str, Any]


def cases() -> list[tuple[str, Case]]:
    return [
        (f"{path.stem}: {case['name']}", case)
        for path in [*sorted(FOLDER.glob("*.yaml")), *sorted(FOLDER.glob("real/*.yaml"))]
        for case in yaml.safe_load(path.read_text())
    ]


CASES = cases()
EACH = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES])


def laid_out(case: Case, folder: Path) -> Path:
    project = folder / "project"
    if "folder" in case:
        return Path(shutil.copytree(REAL / case["folder"], project))
    for name, text in case["files"].items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return project


def answered(docker: list[str], case: Case, folder: Path) -> Case:
    """What this docker compose says: `answer` or `refused`."""
    project = laid_out(case, folder)
    arguments = [*case.get("before", ()), "config", *case.get("arguments", ())]
    environ = {"PATH": os.environ["PATH"], "HOME": "/root", **case.get("environ", {})}
    done = subprocess.run([*docker, *arguments], cwd=project, capture_output=True, text=True, env=environ, check=False)
    if done.returncode:
        return {"refused": done.stderr.strip().splitlines()[-1].replace(str(project), "/project")}
    return {"answer": done.stdout.replace(str(project), "/project")}


@EACH
def test_config_says_what_docker_compose_says(
    case: Case, places: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = laid_out(case, places)
    monkeypatch.chdir(project)
    monkeypatch.setenv("HOME", "/root")
    for name, value in case.get("environ", {}).items():
        monkeypatch.setenv(name, value)
    code, out, err = run(*case.get("before", ()), "config", *case.get("arguments", ()))
    out, err = out.replace(str(project), "/project"), err.replace(str(project), "/project")
    if "refused" in case and "lax" not in case:
        assert code != 0, f"docker compose refuses it: {case['refused']}"
        assert re.search(r"hint\"?:", err), err
        return
    assert code == 0, err
    assert ("docker compose refuses" in err) == ("refused" in case), err
    if "refused" in case:
        return
    if "ours" in case:
        assert case["why"]
        assert out == case["ours"]
    elif "json" in case.get("arguments", ()):
        left = unexplained(json.loads(case["answer"]), json.loads(out))
        assert not left, "docker compose -> here\n" + "\n".join(left)
    else:
        assert out == case["answer"]


@EACH
def test_the_answers_are_docker_composes(case: Case, tmp_path: Path) -> None:
    told: Case = {key: case[key] for key in ("answer", "refused") if key in case}
    assert told in (answered(installed(), case, tmp_path / str(number)) for number in range(MAPS))


def test_every_folder_of_real_files_is_asked_about() -> None:
    assert {path.stem for path in FOLDER.glob("real/*.yaml")} == {path.name for path in REAL.iterdir() if path.is_dir()}
