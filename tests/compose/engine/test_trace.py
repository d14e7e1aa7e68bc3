"""The trace of plans: a line a change of a step, readable by whoever looks back, and bounded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pycompose.compose.engine import trace as module
from pycompose.compose.engine.trace import Trace
from pycompose.runtime.places import ProjectPlaces


def test_a_line_says_which_step_of_which_plan_and_how_long(tmp_path: Path) -> None:
    places = ProjectPlaces("p", str(tmp_path), str(tmp_path))
    with Trace(places) as trace:
        trace.step("start web-1", "started", "no such container")
        trace.step("start web-1", "failed", "no such image")
    with Trace(places) as trace:
        trace.step("stop web-1", "skipped", "start web-1 failed")
    first, last, other = map(json.loads, Path(module.path(places)).read_text().splitlines())
    assert (first["step"], first["state"], first["ms"]) == ("start web-1", "started", 0)
    assert (last["state"], last["cause"], last["plan"]) == ("failed", "no such image", first["plan"])
    assert other["plan"] != first["plan"]


def test_what_happened_is_on_record_after_each_write(tmp_path: Path) -> None:
    places = ProjectPlaces("p", str(tmp_path), str(tmp_path))
    with Trace(places) as trace:
        for number in (1, 2):
            trace.step("start web-1", "started", "no such container")
            trace.write()
            assert len(Path(module.path(places)).read_text().splitlines()) == number


def test_it_is_bounded_and_never_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 500)
    places = ProjectPlaces("p", str(tmp_path), str(tmp_path))
    for number in range(50):
        with Trace(places) as trace:
            trace.step(f"start web-{number}", "started", "")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1500
    with Trace(ProjectPlaces("p", "/nowhere", "/nowhere")) as trace:
        trace.step("a", "done", "")
