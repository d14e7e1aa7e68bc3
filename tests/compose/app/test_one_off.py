"""The service that a one-off container is made as."""

from __future__ import annotations

from pathlib import Path

import pytest
from pycompose.compose.app.one_off import RunOptions, changed
from pycompose.compose.file.loader import Options, load
from pycompose.compose.model.project import BindMount, Project, Service, VolumeMount
from pycompose.compose.state import generations
from pycompose.errors import PycomposeError
from pycompose.runtime.places import ProjectPlaces

FILE = """
services:
  web:
    image: web
    command: [serve]
    entrypoint: [start]
    container_name: fixed
    ports: ["80:80"]
    restart: always
    deploy: {restart_policy: {condition: any}, resources: {limits: {memory: 10M}}}
    cap_add: [NET_ADMIN]
    cap_drop: [CHOWN]
    volumes: ["data:/data", "./own:/own"]
    environment: {A: file, B: file}
volumes: {data: {}}
"""
ID = "0123456789ab" + "0" * 52


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "compose.yaml").write_text(FILE)
    return load(Options(files=(str(tmp_path / "compose.yaml"),), project_name="p")).project


def service(project: Project, **options: object) -> Service:
    return changed(project, RunOptions("web", **options), ID, {"HERE": "here"}).services["web"]  # type: ignore[arg-type]


def test_it_has_a_name_of_its_own_and_neither_ports_nor_a_restart_policy(project: Project) -> None:
    plain = service(project)
    assert plain.container_name == "p-web-run-0123456789ab"
    assert plain.ports == ()
    assert plain.restart_policy.condition == "no"
    assert plain.resources.mem_limit == 10 << 20
    assert service(project, name="mine").container_name == "mine"
    assert len(service(project, service_ports=True).ports) == 1
    assert [p.target for p in service(project, publish=("1:2", "3-4:5-6")).ports] == [2, 5, 6]


def test_an_entrypoint_clears_the_command(project: Project) -> None:
    assert (service(project).entrypoint, service(project).command) == (("start",), ("serve",))
    assert service(project, command=("other",)).command == ("other",)
    other = service(project, entrypoint=("sh", "-c"))
    assert (other.entrypoint, other.command) == (("sh", "-c"), ())
    assert service(project, entrypoint=(), command=("x",)).command == ("x",)


def test_a_name_without_a_value_is_the_projects_or_nothing(project: Project) -> None:
    environment = service(project, environment=("A=asked", "HERE", "NOWHERE", "C=")).environment
    assert dict(environment) == {"A": "asked", "B": "file", "HERE": "here", "C": ""}


def test_capabilities_of_both_lists_are_the_last_that_was_asked(project: Project) -> None:
    both = service(project, cap_add=("CHOWN",), cap_drop=("NET_ADMIN",))
    assert (both.cap_add, both.cap_drop) == (("CHOWN",), ("NET_ADMIN",))


def test_a_mount_is_before_the_services_at_that_place(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/usr")
    other = changed(project, RunOptions("web", volumes=("./lib:/own:ro", "more:/more")), ID, {})
    mounts = {mount.target: mount for mount in other.services["web"].mounts}
    assert mounts["/own"] == BindMount("/usr/lib", "/own", True)
    assert mounts["/more"] == VolumeMount("more", "/more")
    assert (other.volumes["more"].name, other.volumes["more"].key) == ("more", "")
    with pytest.raises(PycomposeError, match="a:b:c:d"):
        changed(project, RunOptions("web", volumes=("a:b:c:d",)), ID, {})


def test_what_it_is_made_from_is_not_the_project_of_later_commands(project: Project, tmp_path: Path) -> None:
    places = ProjectPlaces("p", str(tmp_path / "state"), str(tmp_path / "run"))
    generations.keep(places, changed(project, RunOptions("web"), ID, {}), newest=False)
    assert generations.newest(places) is None
    generations.keep(places, project)
    assert generations.newest(places) == project
