"""Where things lie is decided by two roots, and by nothing else."""

from __future__ import annotations

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
