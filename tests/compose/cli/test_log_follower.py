"""Following the lines of containers: when there is nothing more to come."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pycompose import durable
from pycompose.compose.app.following import Following
from pycompose.compose.cli.output.log_printer import Printer, manner
from pycompose.compose.model.observed import Label, ObservedContainer
from pycompose.runtime.places import Places

HEAD = "2026-01-31T12:00:00.000000000Z stdout"


def container(number: int, *, process: bool = True, code: int | None = None, supervision: str = "") -> Path:
    """The folder of a container of project x, whose process is gone."""
    folder = Path(Places.default().project("x").container(str(number) * 64))
    folder.mkdir(parents=True)
    labels = {Label.SERVICE: "web", Label.NUMBER: str(number)}
    state = {"name": f"x-web-{number}", "created": 1.0, "annotations": labels}
    (folder / "state.json").write_text(json.dumps(state))
    if process:
        (folder / "process.json").write_text(json.dumps({"pid": 1, "start_time": 0, "boot_id": "", "started": 2.0}))
    if code is not None:
        (folder / "exit.json").write_text(json.dumps({"code": code, "finished": time.time()}))
    if supervision:
        (folder / "supervision.json").write_text(supervision)
    return folder


@contextmanager
def followed(**more: Any) -> Iterator[Following]:
    project = Places.default().project("x")
    printer = Printer("x", manner(prefix=False, colour=False, timestamps=False))
    following = Following(project, lambda _: True, printer, **more)
    try:
        following.begin()
        yield following
    finally:
        following.close()


def test_a_container_that_a_command_starts_again_is_waited_for(places: Path) -> None:
    folder = container(1, code=0, supervision='{"kind":"Supervision","stop_requested":true,"returning_at":3.0}')
    with followed() as following:
        assert following.turn()
        durable.write(f"{folder}/supervision.json", b'{"kind":"Supervision","stop_requested":true}', flush=False)
        assert not following.turn()


def test_a_run_that_a_command_began_has_come_though_its_end_is_on_record_first(places: Path) -> None:
    container(1, code=5, supervision='{"kind":"Supervision","returning_at":1.5}')
    ends: list[tuple[int | None, bool]] = []
    with followed(ended=lambda _, code, again: ends.append((code, again))) as following:
        assert not following.turn()
    assert ends == [(5, False)]


def test_an_end_that_is_heard_of_while_others_are_told_is_not_waited_for_again(places: Path) -> None:
    project = Places.default().project("x")
    Path(project.run).mkdir(parents=True)
    Path(project.keeper_socket).touch()
    last = container(1)
    for number in (2, 3):
        container(number, code=0)
    told: list[int] = []

    def ended(one: ObservedContainer, code: int | None, again: bool) -> None:
        told.append(one.number)
        if len(told) == 1:
            durable.write(f"{last}/exit.json", json.dumps({"code": 0, "finished": time.time()}).encode(), flush=False)

    with followed(ended=ended) as following:
        assert following.turn()
        turn = threading.Thread(target=following.turn, daemon=True)
        turn.start()
        turn.join(10)
        waits = turn.is_alive()
        following.wake()
        turn.join(10)
    assert (sorted(told), waits) == ([1, 2, 3], False)


def test_an_end_that_only_the_second_look_at_another_sees_is_told(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Places.default().project("x")
    Path(project.run).mkdir(parents=True)
    Path(project.keeper_socket).touch()
    late = container(1)
    container(2, code=0)
    told: list[int] = []
    with followed(ended=lambda one, code, again: told.append(one.number)) as following:
        looked = following._look

        def look() -> None:
            (late / "exit.json").write_text(json.dumps({"code": 0, "finished": 9e9}))
            looked()

        monkeypatch.setattr(following, "_look", look)
        following.turn()
    assert sorted(told) == [1, 2]


def test_a_container_that_is_made_while_one_follows_is_waited_for(places: Path) -> None:
    container(1, code=0)
    container(2, process=False)
    with followed() as following:
        assert not following.turn()
        container(3, process=False)
        assert following.turn()


def test_nothing_more_comes_after_the_moment_that_was_named(places: Path) -> None:
    container(1, supervision='{"kind":"Supervision","returning_at":3.0}')
    with followed(until=b"2026-01-31T12:00:00.000000000Z") as following:
        assert not following.turn()


def test_ends_of_others_are_not_waited_for(places: Path) -> None:
    container(1, code=0)
    container(2, supervision='{"kind":"Supervision","returning_at":3.0}')
    with followed(awaited=lambda one: one.number == 1) as following:
        assert not following.turn()


def test_a_container_whose_end_is_not_written_down_yet_is_waited_for(
    places: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    project = Places.default().project("x")
    folder = container(1)
    Path(project.run).mkdir(parents=True)
    Path(project.keeper_socket).touch()
    (folder / "log").write_text(f"{HEAD} P the last wor\n")
    with followed() as following:
        assert following.turn()  # the process is gone; the keeper copies what it left
        with open(folder / "log", "a") as log:
            log.write(f"{HEAD} F d\n")
        (folder / "exit.json").write_text(json.dumps({"code": 0, "finished": time.time()}))
        assert not following.turn()
    assert capfd.readouterr().out == "the last word\n"
