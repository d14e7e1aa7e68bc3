"""Projects by blocking calls, without a supervisor: which project it is, and what it is pinned to."""

from __future__ import annotations

import os
from pathlib import Path

import pycompose
import pytest
from pycompose import Project

FILE = """
services:
  web: {image: host, command: sleep 300, environment: {WHO: "${WHO:-nobody}"}, depends_on: [db]}
  db: {image: host}
  debug: {image: host, profiles: [debug]}
"""


@pytest.fixture
def folder(places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "Some Shop"
    folder.mkdir()
    (folder / "compose.yaml").write_text(FILE)
    monkeypatch.chdir(folder)
    return folder


def test_a_project_is_the_one_that_a_command_here_would_be_about(folder: Path) -> None:
    project = Project.load()
    assert (project.name, project.directory) == ("someshop", str(folder))
    assert project.files == (str(folder / "compose.yaml"),)
    assert (list(project), len(project), "web" in project) == (["web", "db"], 2, True)
    assert (project.containers, project.ps("web")) == ([], [])


def test_a_project_stays_the_same_wherever_the_process_goes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.load("compose.yaml", env={"WHO": "me"})
    monkeypatch.chdir("/")
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "other")
    monkeypatch.setenv("WHO", "somebody else")
    assert [step.id for step in project.plan("db").steps] == [
        "create network someshop_default",
        "create someshop-db-1",
        "start someshop-db-1",
    ]
    assert project.description.services["web"].environment == {"WHO": "me"}
    assert pycompose.Project.load(folder / "compose.yaml", name="x").name == "x"


def test_what_the_file_says_counts_at_the_next_call(folder: Path) -> None:
    project = Project.load()
    (folder / "compose.yaml").write_text(FILE + "  later: {image: host}\n")
    assert "create someshop-later-1" in [step.id for step in project.plan().steps]


def test_a_profile_and_its_services(folder: Path) -> None:
    assert Project.load(profiles=["debug"]).services == ("web", "db", "debug")
    assert Project.load()["debug"].containers == []


def test_a_file_may_be_a_text_or_data(places: Path, tmp_path: Path) -> None:
    text = Project.from_text("services: {a: {image: host, volumes: ['./x:/x']}}", name="t", directory=tmp_path)
    data = Project.from_dict(
        {"services": {"a": {"image": "host", "volumes": ["./x:/x"]}}}, name="t", directory=tmp_path
    )
    assert text.description.services == data.description.services
    assert (text.name, text.services, text.directory) == ("t", ("a",), str(tmp_path))
    assert text.plan() == data.plan()


def test_errors_are_those_of_the_command_line_with_place_and_hint(folder: Path) -> None:
    (folder / "compose.yaml").write_text("services:\n  web: {image: host, comand: x}\n")
    with pytest.raises(pycompose.FileError) as raised:
        Project.load()
    place = raised.value.place
    assert place is not None
    assert (place.path, place.line) == (str(folder / "compose.yaml"), 2)
    assert "command" in raised.value.problems[0].hint
    assert raised.value.problems[0].position == place


def test_names_that_are_not_there(folder: Path) -> None:
    project = Project.load()
    with pytest.raises(pycompose.NoSuchService, match="no such service: wbe") as raised:
        project["wbe"]
    assert raised.value.hint == 'did you mean "web"?'
    with pytest.raises(pycompose.NoSuchService):
        project.ps("wbe")
    with pytest.raises(pycompose.NoSuchService):
        project.logs(["wbe"])
    with pytest.raises(pycompose.ContainerGone):
        project.container("someshop-web-1")
    with pytest.raises(pycompose.NoSuchProject):
        Project.named("nobody")
    with pytest.raises(pycompose.PycomposeError, match="is not running"):
        project["web"].exec(["true"])


def test_the_process_is_as_it_was(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (os.getcwd(), dict(os.environ), sorted(os.listdir("/proc/self/fd")))
    Project.load().plan()
    assert (os.getcwd(), dict(os.environ), sorted(os.listdir("/proc/self/fd"))) == before
    assert capsys.readouterr() == ("", "")


def test_a_file_is_told_in_canonical_form_and_drawn(folder: Path) -> None:
    project = Project.load()
    assert project.config()["services"]["web"]["depends_on"]["db"]["condition"] == "service_started"
    assert project.config_yaml().startswith("name: someshop\n")
    assert "web" in project.graph()
    assert project.graph("db", form="mermaid").splitlines() == ["flowchart TD", '    n0["db"]']
    assert '"name": "someshop"' in project.graph(form="json")
