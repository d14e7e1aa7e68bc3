"""Events of containers: each once, in order, bounded, and made up for after a supervisor that was killed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from pycompose.compose.engine import publisher as module
from pycompose.compose.engine.publisher import Publisher
from pycompose.compose.state import event_record
from pycompose.runtime.places import ProjectPlaces


@pytest.fixture
def places(tmp_path: Path) -> ProjectPlaces:
    (tmp_path / "run").mkdir()
    return ProjectPlaces("p", str(tmp_path / "state"), str(tmp_path / "run"))


def container(places: ProjectPlaces, name: str, *, ended: int | None = None) -> str:
    """Its id; with `ended`, one that ran and ended with that code."""
    folder = Path(places.container(name * 4))
    folder.mkdir(parents=True)
    labels = {"com.docker.compose.service": "web", "colour": "blue"}
    (folder / "state.json").write_text(json.dumps({"name": name, "image": "host", "annotations": labels, "created": 1}))
    if ended is not None:
        (folder / "exit.json").write_text(json.dumps({"code": ended, "finished": time.time()}))
    return name * 4


def begun(places: ProjectPlaces) -> Publisher:
    publisher = Publisher(places)
    publisher.recover()
    return publisher


def words(places: ProjectPlaces) -> list[str]:
    return [event.action for event in event_record.read(places)]


def test_an_event_says_who_and_what(places: ProjectPlaces) -> None:
    publisher, one = begun(places), container(places, "a")
    publisher.created(one)
    publisher.publish(one, "start")
    publisher.died(one, 7)
    created, _, died = event_record.read(places)
    assert (created.number, created.id, created.service, created.oneoff) == (1, one, "web", False)
    assert created.shown == {"colour": "blue", "image": "host", "name": "a"}
    assert (died.shown["exitCode"], died.shown["execDuration"]) == ("7", "0")


def test_a_code_that_nobody_can_tell_is_left_out(places: ProjectPlaces) -> None:
    publisher, one = begun(places), container(places, "a")
    publisher.created(one)
    publisher.publish(one, "start")
    publisher.died(one, None)
    assert "exitCode" not in event_record.read(places)[-1].attributes


def test_an_end_that_is_known_is_not_told_again(places: ProjectPlaces) -> None:
    publisher, one = begun(places), container(places, "a")
    publisher.created(one)
    publisher.publish(one, "start")
    publisher.died(one, 0)
    publisher.died(one, 0)
    assert words(places) == ["create", "start", "die"]


def test_what_happened_while_no_supervisor_ran_is_told_by_the_next(places: ProjectPlaces) -> None:
    first, one, two = begun(places), container(places, "a", ended=3), container(places, "b")
    for container_id in (one, two):
        first.created(container_id)
    first.publish(one, "start")
    container(places, "c")
    Path(places.container(two)).joinpath("state.json").unlink()
    begun(places)
    events = event_record.read(places)[3:]
    assert sorted((event.action, event.attributes["name"]) for event in events) == [
        ("create", "c"),
        ("destroy", "b"),
        ("die", "a"),
    ]
    before = words(places)
    begun(places)
    assert words(places) == before


def test_containers_older_than_the_record_are_not_told_as_new(places: ProjectPlaces) -> None:
    container(places, "a", ended=0)
    begun(places)
    assert words(places) == []


def test_a_rename_goes_on_under_the_new_name(places: ProjectPlaces) -> None:
    publisher, one = begun(places), container(places, "a")
    publisher.created(one)
    publisher.renamed(one, "b")
    publisher.publish_named("b", "pause")
    renamed, paused = event_record.read(places)[1:]
    assert (renamed.attributes["oldName"], renamed.attributes["name"], paused.attributes["name"]) == ("a", "b", "b")


def test_the_record_is_bounded_and_counts_on(places: ProjectPlaces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 1000)
    publisher, one = begun(places), container(places, "a")
    publisher.created(one)
    for _ in range(20):
        publisher.publish(one, "pause")
    numbers = [event.number for event in event_record.read(places)]
    assert numbers == list(range(numbers[0], 22))
    assert sum(path.stat().st_size for path in Path(places.run).iterdir()) < 3000


def test_a_torn_line_costs_itself_alone(places: ProjectPlaces) -> None:
    publisher, one = begun(places), container(places, "a")
    publisher.created(one)
    with open(event_record.path(places), "ab") as file:
        file.write(b'{"kind":"Contai')
    begun(places).publish(one, "pause")
    assert words(places) == ["create", "pause"]
