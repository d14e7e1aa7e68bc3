"""Where things lie is decided by two roots, and by nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from pycompose.runtime.places import Places


def test_the_environment_moves_both_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCOMPOSE_STATE", "/a")
    monkeypatch.setenv("PYCOMPOSE_RUN", "/b")
    places = Places.default()
    assert places.project("web").container("c1") == "/a/projects/web/containers/c1"
    assert places.project("web").keeper_socket == "/b/web/keeper.sock"


def test_without_an_environment_the_usual_roots_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYCOMPOSE_STATE", raising=False)
    monkeypatch.delenv("PYCOMPOSE_RUN", raising=False)
    assert (Places.default().state, Places.default().run) == ("/var/lib/pycompose", "/run/pycompose")


def test_roots_that_were_left_open_are_closed_when_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYCOMPOSE_STATE", str(tmp_path / "s"))
    monkeypatch.setenv("PYCOMPOSE_RUN", str(tmp_path / "r"))
    for name in "sr":
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o711)
    Places.default()
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "sr"] == [0o700, 0o700]


def test_roots_are_made_for_their_owner_alone_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Places(str(tmp_path / "new/s"), str(tmp_path / "r")).project("p").claim()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new/s").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "r").stat().st_mode) == 0o700
