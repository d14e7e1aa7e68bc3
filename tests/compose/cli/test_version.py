"""`version`, where another project's distribution lies beside this one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pycompose
import pytest

Run = Callable[..., tuple[int, str, str]]


def test_a_stranger_of_the_same_name_is_told_of(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, output, errors = run("version", "--short")
    assert (code, output, errors) == (0, f"{pycompose.__version__}\n", "")
    (tmp_path / "pycompose-1.2.1.dist-info").mkdir()
    (tmp_path / "pycompose_engine-0.1.0.dist-info").mkdir()
    monkeypatch.setattr(pycompose, "__file__", str(tmp_path / "pycompose" / "__init__.py"))
    code, output, errors = run("version", "--short")
    assert (code, output) == (0, f"{pycompose.__version__}\n")
    assert "pycompose 1.2.1: another project" in errors
