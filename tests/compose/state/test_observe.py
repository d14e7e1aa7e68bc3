"""The reader of what exists: whatever records say, or do not say, it answers; one answer for every command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pycompose.compose.model.errors import NoSuchService
from pycompose.compose.model.observed import Label, ObservedContainer, PublishedPort
from pycompose.compose.state import lookup
from pycompose.compose.state.observe import OWN, SUPERVISION, arguments, containers, observe
from pycompose.errors import PycomposeError
from pycompose.runtime.places import Places, ProjectPlaces
from pycompose.runtime.spec import Bundle, FolderRoot, Process, Spec, to_json
from pycompose.runtime.state.volumes import Volumes


@pytest.fixture
def project(places: Path) -> ProjectPlaces:
    return Places.default().project("x")


def write(path: str, tree: Any) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(tree if isinstance(tree, str) else json.dumps(tree))


def record(project: ProjectPlaces, name: str, number: str = "1", *, own: Any = None, **labels: str) -> str:
    """A container's record; its folder."""
    folder = project.container(f"{name}{number}".encode().hex().ljust(64, "0")[:64])
    marks = {Label.SERVICE: name, Label.NUMBER: number, OWN: own if isinstance(own, str) else json.dumps(own or {})}
    write(
        f"{folder}/state.json",
        {"name": f"x-{name}-{number}", "created": 5.0, "image": "i", "annotations": {**marks, **labels}},
    )
    return folder


def exited(folder: str, code: int) -> None:
    write(f"{folder}/exit.json", {"code": code, "finished": 9.0})


def test_services_come_by_name_replicas_by_number_and_one_off_ones_last(project: ProjectPlaces) -> None:
    for name, number in (("web", "10"), ("web", "2"), ("db", "1")):
        record(project, name, number)
    record(project, "api", "1", **{Label.ONEOFF: "True"})
    assert [c.name for c in containers(project)] == ["x-db-1", "x-web-2", "x-web-10", "x-api-1"]


@pytest.mark.parametrize("own", ["", "{", "[]", "7", '"text"', '{"networks": 1}'])
def test_an_odd_annotation_is_not_known_and_no_error(project: ProjectPlaces, own: str) -> None:
    record(project, "web", own=own)
    (container,) = containers(project)
    assert (container.service, container.image, container.networks, container.restart.condition) == (
        "web",
        "i",
        (),
        "no",
    )


@pytest.mark.parametrize("number", ["", "one", "-1", "1.5"])
def test_an_odd_number_is_none(project: ProjectPlaces, number: str) -> None:
    record(project, "web", number)
    assert containers(project)[0].number == 0


def test_a_container_that_waits_for_its_back_off_is_restarting(project: ProjectPlaces) -> None:
    folder = record(project, "web")
    exited(folder, 1)
    write(
        f"{folder}/{SUPERVISION}", {"restarting": True, "restarts": 2, "health": "unhealthy", "of a later version": 1}
    )
    (container,) = containers(project)
    assert (container.status, container.exit_code, container.supervision.restarts) == ("restarting", 1, 2)
    assert container.health == ""
    write(f"{folder}/{SUPERVISION}", "{half a rec")
    assert containers(project)[0].status == "exited"


def test_every_command_reads_the_same_containers(project: ProjectPlaces) -> None:
    own = {
        "image": "redis:7",
        "command": ["redis-server"],
        "networks": ["x_default"],
        "healthcheck": {"test": ["CMD", "a"]},
    }
    exited(record(project, "db", own=own), 3)
    record(project, "web")
    assert observe(project).containers == tuple(containers(project, ports=True, addresses=True))
    db = containers(project)[0]
    assert db.healthcheck is not None
    assert (db.healthcheck.test, db.image, db.exit_code) == (("CMD", "a"), "redis:7", 3)


def test_a_published_port_has_the_address_that_it_is_published_at(
    project: ProjectPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pycompose.compose.state import observe as reader

    folder = f"{Places.default().networks}/.published"
    publication = {"group": "x/web", "host_ip": None, "target": 80, "protocol": "tcp"}
    write(f"{folder}/b.json", {"publication": publication, "host_ip": "127.0.0.2", "port": 8080})
    write(
        f"{folder}/a.json", {"published": {"publication": publication | {"target": 79}, "host_ip": "::1", "port": 81}}
    )
    write(f"{folder}/c.json", {"publication": publication | {"group": "y/web"}, "host_ip": "127.0.0.2", "port": 82})
    write(f"{folder}/d.json", "nothing of JSON")
    assert reader._published(Places.default(), "x") == {
        "web": (PublishedPort("::1", 81, 79, "tcp"), PublishedPort("127.0.0.2", 8080, 80, "tcp"))
    }


def test_the_arguments_are_the_bundles_or_what_the_file_said(project: ProjectPlaces) -> None:
    folder = record(project, "web", own={"command": ["serve"]})
    (container,) = containers(project)
    assert arguments(project, container) == ("serve",)
    write(f"{folder}/bundle.json", {"spec": {"process": {"env": ['"args":["no"]'], "args": ["sh", "-c", "serve"]}}})
    assert arguments(project, container) == ("sh", "-c", "serve")
    bundle = Bundle(Spec(Process(("a b", '"]', "é\\"), env=("A=1",))), FolderRoot("/"))
    write(f"{folder}/bundle.json", to_json(bundle))
    assert arguments(project, container) == ("a b", '"]', "é\\")
    write(f"{folder}/bundle.json", {"spec": {}})
    assert arguments(project, container) == ("serve",)


def replica(number: int, status: Any = "running", service: str = "web") -> ObservedContainer:
    return ObservedContainer(f"{number}", f"x-{service}-{number}", service, number, status)


def test_one_of_a_service_is_the_first_that_runs_or_the_one_of_that_number() -> None:
    found = [replica(1, "exited"), replica(2), replica(3)]
    assert lookup.one_of(found, "web").number == 2
    assert lookup.one_of(found, "web", 3).number == 3
    assert lookup.one_of(found, "web", 1, running=False).number == 1
    for index, service, text in (
        (4, "web", "is not running container #4"),
        (1, "web", "is not running"),
        (0, "db", "is not running"),
    ):
        with pytest.raises(PycomposeError, match=text):
            lookup.one_of(found, service, index)
    with pytest.raises(PycomposeError, match="is paused"):
        lookup.one_of([replica(1, "paused")], "web")


def test_a_service_that_is_not_there_has_one_spelling_and_a_suggestion() -> None:
    with pytest.raises(NoSuchService) as error:
        lookup.of_services([replica(1)], ("wbe",))
    assert (error.value.message, error.value.hint) == ("no such service: wbe", 'did you mean "web"?')
    assert NoSuchService("zzz", ["web", "db"]).hint == "services are: db, web"
    assert NoSuchService("zzz").hint == ""


def test_a_volume_that_is_being_removed_is_none(project: ProjectPlaces) -> None:
    """Whoever removed it may have been killed meanwhile; it is out of sight, and goes with the project."""
    volumes = Volumes(Places.default())
    for name in ("x_data", ".gone-1", ".new-1"):
        write(f"{Places.default().volumes}/{name}/volume.json", {"labels": {Label.PROJECT: "x", Label.VOLUME: "data"}})
    assert [volume.name for volume in observe(project).volumes] == ["x_data"]
    volumes.sweep()
    assert sorted(path.name for path in Path(Places.default().volumes).iterdir()) == [".lock", "x_data"]
