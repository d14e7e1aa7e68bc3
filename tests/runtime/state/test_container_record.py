"""Records of containers: what is read of them at every moment of a life."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pycompose.runtime.places import Places, ProjectPlaces
from pycompose.runtime.state import container_record, usage
from pycompose.runtime.state.container_record import read_container, read_containers
from pycompose.runtime.state.usage import Uses


@pytest.fixture
def roots(tmp_path: Path) -> Places:
    return Places(str(tmp_path / "state"), str(tmp_path / "run"))


@pytest.fixture
def places(roots: Places) -> ProjectPlaces:
    return roots.project("p")


def folder(places: ProjectPlaces, container_id: str = "a") -> str:
    path = places.container(container_id)
    os.makedirs(path)
    container_record.write(f"{path}/state.json", {"name": f"name-{container_id}", "created": 5.0, "image": "i"})
    return path


def this_process() -> dict[str, object]:
    start = container_record.start_time(os.getpid())
    return {"pid": os.getpid(), "start_time": start, "boot_id": container_record.boot_id(), "started": 6.0}


def status(places: ProjectPlaces) -> tuple[str, int, int | None]:
    state = read_container(places, "a")
    assert state
    return state.status, state.pid, state.exit_code


def test_a_container_goes_from_created_to_running_paused_and_exited(places: ProjectPlaces) -> None:
    path = folder(places)
    assert status(places) == ("created", 0, None)
    container_record.reserve(f"{path}/exit.json")
    container_record.write(f"{path}/process.json", this_process(), flush=False)
    assert status(places) == ("running", os.getpid(), None)
    state = container_record.read(f"{path}/state.json")
    container_record.write(f"{path}/state.json", state | {"paused": this_process()["start_time"]})
    assert status(places) == ("paused", os.getpid(), None)
    container_record.write_reserved(f"{path}/exit.json", {"code": 3, "oom_killed": True, "finished": 7.0})
    assert status(places) == ("exited", 0, 3)
    record = read_container(places, "a")
    assert record
    assert (record.name, record.created, record.started, record.finished) == ("name-a", 5.0, 6.0, 7.0)
    assert (record.oom_killed, record.image) == (True, "i")


@pytest.mark.parametrize("other", [{"boot_id": "before"}, {"start_time": 1}, {"pid": 2**22 + 1}])
def test_a_process_of_another_boot_or_another_life_does_not_run(
    places: ProjectPlaces, other: dict[str, object]
) -> None:
    container_record.write(f"{folder(places)}/process.json", this_process() | other)
    assert status(places) == ("exited", 0, None)


def test_what_has_no_record_or_a_broken_one_is_no_container(places: ProjectPlaces) -> None:
    assert read_containers(places) == []
    assert read_container(places, "a") is None
    Path(folder(places), "state.json").write_text("{")
    assert read_containers(places) == []
    folder(places, "c")
    folder(places, "b")
    assert [state.id for state in read_containers(places)] == ["b", "c"]


def test_what_containers_use_is_known_of_all_projects(roots: Places, places: ProjectPlaces) -> None:
    uses = Uses("i:1", "sha256:1", ("sha256:2",), ("data",))
    usage.write(folder(places), uses)
    folder(roots.project("q"), "b")
    Path(folder(roots.project("q"), "c"), usage.FILE).write_text('{"image": 1}')
    everyone = [(one.project, one.container, one.uses) for one in usage.everyone(roots)]
    assert everyone == [("p", "name-a", uses), ("q", "name-b", Uses()), ("q", "name-c", Uses())]
