"""`x-pycompose`: what of it is acted on, and how a mistake in it is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from pycompose.compose.file.loader import Options, load
from pycompose.compose.model.errors import FileError
from pycompose.compose.model.project import Project


def project(folder: Path, text: str) -> Project:
    path = folder / "compose.yaml"
    path.write_text(text)
    return load(Options(files=(str(path),), project_name="p", environ={})).project


FILE = """\
x-pycompose: {{host: {{show: [{top}]}}}}
services:
  one: {{image: host, x-pycompose: {{host: {{show: [/srv/a/, //srv/b/../c]}}}}}}
  two: {{image: host}}
"""


def test_paths_of_the_service_and_of_the_file_are_shown(tmp_path: Path) -> None:
    services = project(tmp_path, FILE.format(top="/etc/shadow")).services
    assert services["one"].host_show == ("/srv/a", "/srv/c", "/etc/shadow")
    assert services["two"].host_show == ("/etc/shadow",)


def test_a_change_of_what_is_shown_makes_containers_anew(tmp_path: Path) -> None:
    before, after = (project(tmp_path, FILE.format(top=top)).services for top in ("/etc/shadow", "/etc/gshadow"))
    plain = project(tmp_path, "services: {two: {image: host}}").services
    assert len({before["two"].config_hash, after["two"].config_hash, plain["two"].config_hash}) == 3


def test_a_service_or_the_file_has_replicas_know_themselves(tmp_path: Path) -> None:
    asked = "x-pycompose: {replica_identity: true}"
    by_service = project(tmp_path, f"services: {{one: {{image: host, {asked}}}, two: {{image: host}}}}").services
    assert (by_service["one"].replica_identity, by_service["two"].replica_identity) == (True, False)
    by_file = project(tmp_path, f"{asked}\nservices: {{two: {{image: host}}}}").services
    assert by_file["two"].replica_identity
    assert by_file["two"].config_hash != by_service["two"].config_hash


def test_other_keys_and_files_without_it_are_left_alone(tmp_path: Path) -> None:
    services = project(tmp_path, "x-pycompose: {later: 1}\nservices: {one: {image: host}}").services
    assert services["one"].host_show == ()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            "{host: {show: [/srv, data]}}",
            '5:30: "data" in "show" of "host" of "x-pycompose" of service "one" is not an',
        ),
        (
            "{host: {show: data}}",
            '5:23: "data" in "show" of "host" of "x-pycompose" of service "one" is not an absolute',
        ),
        ("{host: {show: {a: b}}}", '5:23: "show" of "host" of "x-pycompose" of service "one" must be a list of text'),
        ("{host: {shows: [/srv]}}", '5:17: "host" of "x-pycompose" of service "one" has no attribute "shows"'),
        ("{host: [show]}", '5:16: "host" of "x-pycompose" of service "one" must be a mapping'),
        ("{restart: always}", '5:19: "restart" of "x-pycompose" of service "one" cannot be "always"'),
        ("show", '5:9: "x-pycompose" of service "one" must be a mapping'),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, section: str, message: str) -> None:
    with pytest.raises(FileError) as caught:
        project(tmp_path, f"services:\n  one:\n    image: host\n    x-pycompose:\n        {section}\n")
    (problem,) = caught.value.problems
    assert message in str(problem)


def test_a_restart_for_health_is_asked_for_of_a_service_or_of_all(tmp_path: Path) -> None:
    text = "x-pycompose: {top}\nservices:\n  one: {{image: host, x-pycompose: {one}}}\n  two: {{image: host}}\n"
    none = project(tmp_path, text.format(top="{}", one="{}")).services
    some = project(tmp_path, text.format(top="{}", one="{restart: unhealthy}")).services
    every = project(tmp_path, text.format(top="{restart: unhealthy}", one="{}")).services
    asked = [[s.restart_policy.unhealthy for s in services.values()] for services in (none, some, every)]
    assert asked == [[False, False], [True, False], [True, True]]
    for name in ("one", "two"):
        assert none[name].config_hash != every[name].config_hash
    assert none["one"].config_hash != some["one"].config_hash
    assert none["two"].config_hash == some["two"].config_hash
