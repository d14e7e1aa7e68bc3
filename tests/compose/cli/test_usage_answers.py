"""What docker compose 2.40.3 said to wrong command lines and wrong files, kept as data: the same is said here.

`answers/usage.yaml` holds the cases: `arguments`, `environ`, `files` (without them: two services), the exit code, and
`said`: docker compose's words on standard error, without the place that it names and that stands before them here.
`ours` is what is said instead, and `why`, for a difference that stays.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Run = Callable[..., tuple[int, str, str]]
CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "answers/usage.yaml").read_text())
SERVICES = """services:
  web: {image: host, command: sleep 10, depends_on: [db], ports: ['8080:80']}
  db: {image: host, command: sleep 10}
"""


def title(case: dict[str, Any]) -> str:
    content = case.get("files", {}).get("compose.yaml", "") if "config" in case["arguments"] else ""
    return " ".join([*case.get("environ", {}).values(), *case["arguments"], *content.split()])


@pytest.mark.parametrize("case", [pytest.param(case, id=title(case)) for case in CASES])
def test_wrong_usage_is_told_in_docker_composes_words(
    case: dict[str, Any], tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for name, text in case.get("files", {"compose.yaml": SERVICES}).items():
        (project / name).write_text(text)
    monkeypatch.chdir(project)
    for name, value in case.get("environ", {}).items():
        monkeypatch.setenv(name, value)
    code, _, err = run(*case["arguments"])
    assert "Traceback" not in err
    if "ours" in case:
        assert case["why"]
    wanted = case.get("ours", case)
    assert code == wanted["code"], err
    for sentence in wanted["said"]:
        assert sentence in err.replace(str(project), "/project")
