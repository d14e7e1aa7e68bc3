"""Following the lines of containers: when there is nothing more to come."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from pycompose.compose.cli.output.log_follower import Following, Printer, manner
from pycompose.compose.model.observed import Label
from pycompose.runtime.places import Places


def test_a_container_whose_end_is_not_written_down_yet_is_waited_for(
    places: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    project = Places.default().project("x")
    folder = Path(project.container("a" * 64))
    folder.mkdir(parents=True)
    Path(project.run).mkdir(parents=True)
    Path(project.keeper_socket).touch()
    labels = {Label.SERVICE: "web", Label.NUMBER: "1"}
    (folder / "state.json").write_text(json.dumps({"name": "x-web-1", "created": 1.0, "annotations": labels}))
    (folder / "process.json").write_text(json.dumps({"pid": 1, "start_time": 0, "boot_id": "", "started": 2.0}))
    head = "2026-01-31T12:00:00.000000000Z stdout"
    (folder / "log").write_text(f"{head} P the last wor\n")
    printer = Printer("x", manner(prefix=False, colour=False, timestamps=False))
    following = Following(project, lambda _: True, printer)
    try:
        following.begin()
        assert following.turn()  # the process is gone; the keeper copies what it left
        with open(folder / "log", "a") as log:
            log.write(f"{head} F d\n")
        (folder / "exit.json").write_text(json.dumps({"code": 0, "finished": time.time()}))
        assert not following.turn()
    finally:
        following.close()
    assert capfd.readouterr().out == "the last word\n"
