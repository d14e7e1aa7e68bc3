"""The command line: exit codes, no tracebacks, and what looking at a project does not load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pycompose.compose.cli import main
from pycompose.compose.observed import Label


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCOMPOSE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PYCOMPOSE_RUN", str(tmp_path / "run"))


def recorded(tmp_path: Path, project: str) -> None:
    folder = tmp_path / "state" / "projects" / project / "containers" / ("ab" * 32)
    folder.mkdir(parents=True)
    labels = {Label.SERVICE: "web"}
    state = {"id": "ab" * 32, "name": "x-web-1", "status": "created", "created": 1.0, "annotations": labels}
    (folder / "state.json").write_text(json.dumps(state))


def test_ps_lists_what_is_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(tmp_path, "x")
    assert main(["-p", "x", "ps", "-a", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["Name"], found["Service"], found["State"]) == ("x-web-1", "web", "created")
    assert main(["-p", "x", "ps", "-q"]) == 0
    assert capsys.readouterr().out == ""


def test_ls_hides_projects_that_do_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(tmp_path, "x")
    assert main(["ls"]) == 0
    assert "x" not in capsys.readouterr().out
    assert main(["ls", "-a"]) == 0
    assert "created(1)" in capsys.readouterr().out


def test_a_wrong_option_is_2_and_a_missing_file_is_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["ps", "--nope"]) == 2
    assert main(["up", "-d"]) == 1
    assert "no compose file" in capsys.readouterr().err


def test_up_prints_its_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("services: {web: {image: host}}")
    assert main(["-f", str(tmp_path / "c.yaml"), "-p", "x", "--dry-run", "up"]) == 0
    assert "x-web-1" in capsys.readouterr().out


def test_looking_loads_no_engine(tmp_path: Path) -> None:
    code = (
        "import sys; from pycompose.compose.cli import main; assert main(['-p', 'x', 'ps']) == 0;"
        "print([m for m in ('trio', 'networkx', 'pyroute2', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.splitlines()[-1] == "[]"
