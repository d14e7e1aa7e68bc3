"""Projects of one machine beside each other: names of containers, and what one takes of another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Machine
from .service_tools import Described, until


class Project(Described):
    """A project with a name of its own."""

    __slots__ = ()

    def __call__(self, *arguments: str, check: bool = True, timeout: float = 60):  # type: ignore[no-untyped-def]
        done = self.machine.pycompose("-f", str(self.file), *arguments, check=check, timeout=timeout)
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done


@pytest.fixture
def projects(host: Machine, tmp_path: Path) -> Iterator[tuple[Project, Project]]:
    both = Project(host, tmp_path / "one.yaml"), Project(host, tmp_path / "two.yaml")
    yield both
    for one in reversed(both):
        if one.file.exists():
            one("down", "-v", "-t", "0", "--remove-orphans")


def shares(one: Project, two: Project) -> bool:
    """Whether the joiner runs in the network namespace that the donor has now."""
    space = "readlink /proc/self/ns/net"
    inside = two.inside("joiner", space, check=False)
    return bool(inside) and inside == one.inside("donor", space)


NAMED = "name: {}\nservices: {{a: {{image: host, command: sleep 600, init: true, container_name: mine{}}}}}\n"


def test_a_container_name_is_one_containers_on_the_machine(projects: tuple[Project, Project]) -> None:
    one, two = projects
    one.describe(NAMED.format("one", ""))
    two.describe(NAMED.format("two", ""))
    one("up", "-d")
    refused = two("up", "-d", check=False)
    assert refused.returncode == 1
    assert 'container name "mine" is already in use by container' in refused.stderr
    assert 'of project "one"' in refused.stderr
    assert two("ps", "-aq").stdout == ""
    one.describe(NAMED.format("one", ", environment: {NEW: value}"))
    one("up", "-d")
    assert two("up", "-d", check=False).returncode == 1, "a container made anew keeps its name"
    one("stop", "-t", "0")
    assert two("up", "-d", check=False).returncode == 1
    one.describe(NAMED.format("one", "2"))
    one("up", "-d")
    two("up", "-d")
    assert json.loads(two("ps", "--format", "json").stdout)["Name"] == "mine"
    two("down", "-t", "0")
    one.describe(NAMED.format("one", ""))
    one("up", "-d")


def test_a_container_of_another_project_lends_its_namespaces_and_volumes(projects: tuple[Project, Project]) -> None:
    one, two = projects
    one.describe("""
name: one
services:
  donor:
    image: host
    container_name: donor
    init: true
    ipc: shareable
    volumes: [data:/data]
    command: sh -c 'echo here > /data/file; touch /dev/shm/mark; exec sleep 600'
volumes: {data: }
""")
    two.describe("""
name: two
services:
  joiner:
    image: host
    init: true
    network_mode: container:donor
    pid: container:donor
    ipc: container:donor
    volumes_from: ["container:donor:ro"]
    command: sleep 600
""")
    missing = two("up", "-d", check=False)
    assert missing.returncode == 1
    assert 'no container "donor" on this machine' in missing.stderr
    one("up", "-d")
    two("up", "-d")
    spaces = "for kind in net pid ipc; do readlink /proc/self/ns/$kind; done; cat /data/file; ls /dev/shm; hostname -I"
    assert two.inside("joiner", spaces) == one.inside("donor", spaces)
    assert two.inside("joiner", "touch /data/other 2>/dev/null || echo refused") == "refused"
    for command in (("restart", "-t", "0"), ("kill",)):
        one(*command)
        one("start")
        until(lambda: shares(one, two), condition="the joiner has joined the donor's namespaces anew")
    recreated = one("up", "-d", "--force-recreate", "-t", "0")
    assert "Container two-joiner-1 Recreated" in recreated.stderr
    assert shares(one, two)
    before = two("ps", "-q").stdout
    two("up", "-d", "-t", "0")
    assert two("ps", "-q").stdout == before
    one("rm", "-sf")
    one("create")
    assert not shares(one, two)
    one("start")
    assert shares(one, two)
    one("down", "-t", "0")
    one("up", "-d")
    assert shares(one, two)
    two("stop", "-t", "0")
    one("stop", "-t", "0")
    stopped = two("start", check=False)
    assert stopped.returncode == 1
    assert "does not run" in stopped.stderr


DONOR = """
name: one
services: {donor: {image: host, container_name: donor, init: true, command: sleep 600, restart: always}}
"""
JOINER = """
name: two
services:
  joiner: {image: host, init: true, network_mode: container:donor, command: sleep 600, stop_grace_period: 0s}
  after: {image: host, init: true, network_mode: service:joiner, command: sleep 600, stop_grace_period: 0s}
"""


def test_every_start_of_a_donor_restarts_the_joiners_of_other_projects(projects: tuple[Project, Project]) -> None:
    one, two = projects
    one.describe(DONOR)
    two.describe(JOINER)
    one("up", "-d")
    two("up", "-d")
    assert shares(one, two)

    def joined() -> bool:
        mine = two.inside("after", "readlink /proc/self/ns/net", check=False)
        return shares(one, two) and mine == two.inside("joiner", "readlink /proc/self/ns/net")

    one.inside("donor", "kill -KILL 1", check=False)
    one("kill", "-s", "INT")  # its policy starts it again
    until(joined, condition="a donor that comes back by its policy")
    one("restart", "-t", "0")
    until(joined, condition="a donor that is restarted")
    one("stop", "-t", "0")
    two("restart", check=False)
    one("start")
    two("start")
    until(joined, condition="both are started")
    listed = json.loads(two("ps", "--format", "json", "joiner").stdout)
    two("stop", "-t", "0", "joiner")
    one("restart", "-t", "0")
    assert two("ps", "-q", "joiner").stdout == "", "one that was stopped stays so"
    assert listed["Name"] == "two-joiner-1"


def test_what_has_volumes_of_a_container_that_is_made_anew_has_those_of_the_new_one(
    projects: tuple[Project, Project],
) -> None:
    one, two = projects
    one.describe(DONOR.replace("restart: always", "volumes: [/data]"))
    two.describe("""
name: two
services:
  joiner: {image: host, init: true, volumes_from: ["container:donor"], command: sleep 600, stop_grace_period: 0s}
  apart: {image: host, init: true, command: sleep 600}
""")
    one("up", "-d")
    two("up", "-d")
    before = two("ps", "-q", "apart").stdout
    one.inside("donor", "echo old > /data/file")
    assert two.inside("joiner", "cat /data/file") == "old"
    one("up", "-d", "--force-recreate", "-t", "0")
    assert two.inside("joiner", "cat /data/file") == "old"
    one("up", "-d", "--force-recreate", "-V", "-t", "0")
    assert two.inside("joiner", "ls /data") == ""
    assert two("ps", "-q", "apart").stdout == before
    two("stop", "-t", "0", "joiner")
    one("up", "-d", "--force-recreate", "-t", "0")
    assert two("ps", "-q", "joiner").stdout == "", "one that was stopped stays so"


def test_joiners_that_cannot_be_made_anew_are_named(projects: tuple[Project, Project], tmp_path: Path) -> None:
    one, two = projects
    secret = tmp_path / "secret"
    secret.write_text("x")
    one.describe(DONOR)
    two.describe(JOINER.replace("joiner: {", "joiner: {secrets: [s], ") + f"secrets: {{s: {{file: {secret}}}}}\n")
    one("up", "-d")
    two("up", "-d")
    secret.unlink()
    done = one("up", "-d", "--force-recreate", "-t", "0")
    assert "warning" in done.stderr
    assert "containers of project two share with what was made anew, and still have the old" in done.stderr
    assert json.loads(two("ps", "--format", "json", "joiner").stdout)["State"] == "running"


def test_a_changed_volume_that_another_project_has_is_refused_before_anything_stops(
    projects: tuple[Project, Project],
) -> None:
    one, two = projects
    text = "name: one\nservices: {{a: {{image: host, command: sleep 600, init: true, volumes: [data:/data]}}}}\n"
    text += "volumes: {{data: {{labels: {{version: '{}'}}}}}}\n"
    one.describe(text.format(1))
    two.describe(
        "name: two\nservices: {a: {image: host, command: sleep 600, init: true, volumes: [data:/data]}}\n"
        "volumes: {data: {external: true, name: one_data}}\n"
    )
    one("up", "-d")
    two("up", "-d")
    one.inside("a", "echo kept > /data/file")
    before = one("ps", "-q").stdout
    one.describe(text.format(2))
    for check in (["-y"], ["-y", "--force-recreate"]):
        refused = one("up", "-d", *check, check=False)
        assert refused.returncode == 1
        assert 'volume "one_data" cannot be made anew' in refused.stderr
        assert "two-a-1 (project two)" in refused.stderr
    assert one("ps", "-q").stdout == before
    assert one.inside("a", "cat /data/file") == "kept"
    two("down", "-t", "0")
    one("up", "-d", "-y", "-t", "0")
    assert one.inside("a", "ls /data") == ""
