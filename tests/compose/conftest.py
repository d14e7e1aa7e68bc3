"""The command line in a folder of a test's own, run in this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pycompose.compose.cli import main
from pycompose.compose.cli.output import terminal

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one; nothing of this machine's projects is seen from it."""
    monkeypatch.setenv("PYCOMPOSE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PYCOMPOSE_RUN", str(tmp_path / "run"))
    for name in [name for name in os.environ if name.startswith("COMPOSE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(places: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """(exit code, stdout, stderr) of `pycompose ARGUMENTS`."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(terminal, "progress", "auto")
        monkeypatch.setattr(terminal, "ansi", "auto")
        code = main(list(arguments))
        out = capfd.readouterr()
        return code, out.out, out.err

    return call
