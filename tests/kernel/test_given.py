"""What `up` keeps true: containers have the volumes, donors and definitions that the file means now."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from .conftest import Machine
from .service_tools import Described, until

WAIT = 'init: true, command: ["sleep", "1000"]'


@pytest.fixture
def host(host: Machine) -> Iterator[Machine]:
    """Without volumes at its end, too: those that are external go with no project."""
    yield host
    for name in host.pycompose("volume", "ls", "-q").stdout.split():
        host.pycompose("volume", "rm", name)


def volumes(project: Described) -> set[str]:
    return set(project.machine.pycompose("volume", "ls", "-q").stdout.split())


def together(project: Described, one: str, other: str, kind: str) -> bool:
    """Whether the processes of two services that run are in one namespace."""
    ask = f"readlink /proc/self/ns/{kind}"
    return project.inside(one, ask) == project.inside(other, ask)


# volumes


def test_a_volume_that_was_switched_is_mounted_whether_the_container_runs_or_not(project: Described) -> None:
    file = f"""
services:
  db: {{image: host, {WAIT}, volumes: ["data:/data/"]}}
volumes: {{data: {{name: NAME, external: true}}}}
"""
    for name in ("one", "two", "three"):
        project.machine.pycompose("volume", "create", name)
    project.describe(file.replace("NAME", "one"))
    project("up", "-d")
    project.inside("db", "echo first >/data/which")
    project.describe(file.replace("NAME", "two"))
    assert "Recreat" in project("up", "-d").stderr
    assert project.inside("db", "cat /data/which || echo none", check=False) == "none"
    project("stop", "-t", "0")
    project.describe(file.replace("NAME", "one"))
    project("up", "-d")
    assert project.inside("db", "cat /data/which") == "first"
    assert "Recreat" not in project("up", "-d").stderr


def test_a_volume_that_is_defined_otherwise_is_made_anew_only_on_request(project: Described) -> None:
    file = f"""
services:
  db: {{image: host, {WAIT}, volumes: ["data:/data", "/cache"]}}
  backup: {{image: host, {WAIT}, volumes: ["data:/from:ro"]}}
volumes: {{data: {{labels: {{version: "1"}}}}}}
"""
    project.describe(file)
    project("up", "-d")
    project.inside("db", "echo data >/data/file; echo cache >/cache/file")
    project.describe(file.replace('"1"', '"2"'))
    done = project("up", "-d")
    assert "is kept" in done.stderr
    assert project.inside("backup", "cat /from/file") == "data"
    done = project.machine.pycompose("-p", "p", "-f", str(project.file), "up", "-d", input="n\n")
    assert "Make it anew" in done.stderr
    assert project.inside("backup", "cat /from/file") == "data"
    project("up", "-d", "-y", "db")
    assert project.inside("backup", "ls /from") == ""
    assert project.inside("db", "cat /cache/file") == "cache"
    project.inside("db", "echo new >/data/file")
    assert project.inside("backup", "cat /from/file") == "new"
    assert "kept" not in project("up", "-d").stderr


def test_anonymous_volumes_of_what_is_replaced_are_inherited_or_removed(project: Described) -> None:
    file = f"""
services:
  data: {{image: host, {WAIT}, volumes: ["/one", "/two"]}}
  user: {{image: host, {WAIT}, volumes_from: [data], volumes: ["/three"]}}
"""
    project.describe(file)
    project("up", "-d")
    project.inside("data", "echo kept >/one/file")
    before = volumes(project)
    assert len(before) == 3
    project("up", "-d", "--force-recreate")
    assert volumes(project) == before
    assert project.inside("user", "cat /one/file") == "kept"
    project.describe(file.replace(', "/two"', ""))
    project("up", "-d")
    assert len(volumes(project)) == 2
    assert volumes(project) < before
    assert project.inside("user", "cat /one/file") == "kept"
    renewed = volumes(project)
    project("up", "-d", "-V", "--force-recreate")
    assert len(volumes(project)) == 2
    assert not volumes(project) & renewed
    assert project.inside("user", "ls /one") == ""


def test_an_image_that_is_mounted_and_changed_is_mounted_anew(project: Described) -> None:
    def imported(text: str) -> None:
        folder = project.file.with_name("tree")
        folder.mkdir(exist_ok=True)
        (folder / "file").write_text(text)
        archive = str(project.file.with_name("tree.tar"))
        subprocess.run(["tar", "-C", str(folder), "-cf", archive, "file"], check=True)
        project.machine.pycompose("image", "import", "files", archive)

    project.describe(f"services: {{a: {{image: host, {WAIT}, volumes: [{{type: image, source: files, target: /f}}]}}}}")
    imported("one")
    project("up", "-d")
    assert project.inside("a", "cat /f/file") == "one"
    assert "Recreat" not in project("up", "-d").stderr
    imported("two")
    project("up", "-d")
    assert project.inside("a", "cat /f/file") == "two"


# donors of namespaces and volumes


JOINED = f"""
services:
  x: {{image: host, {WAIT}, stop_grace_period: 0s, volumes: ["/shared"]}}
  net: {{image: host, {WAIT}, stop_grace_period: 0s, network_mode: "service:x"}}
  pid: {{image: host, {WAIT}, stop_grace_period: 0s, pid: "service:x", ipc: "service:x"}}
  files: {{image: host, {WAIT}, stop_grace_period: 0s, volumes_from: [x]}}
  far: {{image: host, {WAIT}, stop_grace_period: 0s, ipc: "service:net"}}
"""


@pytest.mark.parametrize(
    "how",
    [
        (("rm", "-sf", "x"), ("up", "-d")),
        (("rm", "-sf", "x"), ("up", "-d", "x")),
        (("stop", "x"), ("start", "x")),
        (("kill", "x"), ("up", "-d")),
        (("kill", "x"), ("up", "-d", "--no-deps", "x")),
        (("restart", "x"), ("up", "-d")),
        (("restart", "--no-deps", "x"),),
        (("up", "-d", "--force-recreate", "x"),),
        (("up", "-d", "--scale", "x=2"), ("up", "-d")),
    ],
    ids=lambda how: "-".join(" ".join(command) for command in how),
)
def test_who_shares_with_a_service_shares_with_it_after_it_was_started_anew(
    project: Described, how: tuple[tuple[str, ...], ...]
) -> None:
    project.describe(JOINED)
    project("up", "-d")
    for command in how:
        project(*command)
    assert set(project.states().values()) == {"running"}
    assert together(project, "x", "net", "net")
    assert together(project, "x", "pid", "pid")
    assert together(project, "x", "pid", "ipc")
    assert together(project, "net", "far", "ipc")
    project("up", "-d")
    project.inside("x", "echo here >/shared/file")
    assert project.inside("files", "cat /shared/file") == "here"
    assert "Recreat" not in project("up", "-d").stderr


def test_who_shares_with_one_that_its_policy_brings_back_shares_with_it_again(project: Described) -> None:
    project.describe("""
services:
  x: {image: host, command: ["sleep", "1000"], restart: always}
  net: {image: host, command: ["sleep", "1000"], network_mode: "service:x", stop_grace_period: 0s}
  pid: {image: host, command: ["sleep", "1000"], pid: "service:x"}
  both: {image: host, command: ["sleep", "1000"], pid: "service:x", network_mode: "service:x", restart: always}
""")
    project("up", "-d")
    for _ in range(2):
        folder = Path(project.machine.state, "projects/p/containers", project.ps()["x-1"]["ID"])
        record = project.machine.run("sh", "-c", f"cat {folder}*/process.json").stdout
        os.kill(json.loads(record)["pid"], signal.SIGKILL)

        def again() -> bool:
            if set(project.states().values()) != {"running"}:
                return False
            pairs = (("net", "net"), ("pid", "pid"), ("both", "net"), ("both", "pid"))
            with suppress(AssertionError):  # one may be on its way
                return all(together(project, "x", other, kind) for other, kind in pairs)
            return False

        time.sleep(0.3)  # the end is seen, and the back-off begins
        until(again)


def test_a_donor_that_is_gone_and_not_asked_for_is_named(project: Described) -> None:
    project.describe(JOINED)
    project("up", "-d")
    project("rm", "-sf", "x")
    for arguments in (("--no-deps", "net"), ("--scale", "x=0")):
        done = project("up", "-d", *arguments, check=False)
        assert done.returncode == 1
        assert '"x"' in done.stderr
        assert "no container" in done.stderr


# replicas and conditions


def test_stale_replicas_go_first(project: Described) -> None:
    project.describe(f"services: {{web: {{image: host, {WAIT}, stop_grace_period: 0s}}}}")
    project("up", "-d", "--scale", "web=2")
    project.describe(f'services: {{web: {{image: host, {WAIT}, stop_grace_period: 0s, environment: {{A: "1"}}}}}}')
    project("up", "-d", "--no-recreate", "--scale", "web=3")
    fresh = project.ps()["web-3"]["ID"]
    project("up", "-d", "--scale", "web=1")
    assert [item["ID"] for item in project.ps().values()] == [fresh]


def test_a_completion_that_never_comes_is_told_at_once(project: Described) -> None:
    project.describe("""
services:
  web: {image: host, command: ["true"], depends_on: {job: {condition: service_completed_successfully}}}
  job: {image: host, command: ["true"], restart: always}
""")
    done = project("up", "-d", check=False, timeout=10)
    assert done.returncode == 1
    assert "never" in done.stderr
    assert until(lambda: not project.ps())
