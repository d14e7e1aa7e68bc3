"""A service of a provider beside containers: its variables are inside, and it comes and goes with the project.

A provider here is a script that waits where a test says so, on a pipe: no test counts on time.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Machine
from .service_tools import Described, until

SCRIPT = """#!/bin/sh
here=$(dirname "$0")
[ "$2" = metadata ] && { echo '{"description": "d", "stop": {}}'; exit; }
echo "$3 $4" >> "$here/calls"
[ -e "$here/broken" ] && { echo '{"type": "error", "message": "no credit"}'; exit 1; }
echo '{"type": "setenv", "message": "URL='$(cat "$here/url")'"}'
"""
FILE = """
services:
  db: {provider: {type: cloud}}
  web: {image: host, init: true, command: sleep 600, depends_on: [db]}
"""


def test_a_provider_runs_with_the_project(host: Machine, tmp_path: Path) -> None:
    (tmp_path / "cloud").write_text(SCRIPT)
    (tmp_path / "cloud").chmod(0o755)
    project = Described(host, tmp_path / "compose.yaml")
    project.describe(FILE.replace("type: cloud", f"type: {tmp_path}/cloud"))

    def calls() -> list[str]:
        lines = (tmp_path / "calls").read_text().splitlines()
        (tmp_path / "calls").write_text("")
        return lines

    try:
        (tmp_path / "url").write_text("one")
        assert "Service db Created" in project("up", "-d").stderr
        assert project.inside("web", "echo $DB_URL") == "one"
        assert list(project.ps()) == ["web-1"]
        first = project("ps", "-q").stdout
        project("up", "-d")
        project("scale", "web=1")
        assert project("ps", "-q").stdout == first
        assert calls() == ["up db"] * 3
        (tmp_path / "url").write_text("two")
        assert "provider up db  (provider " in project("--dry-run", "up", "-d").stdout
        project("up", "-d", "--no-deps", "web")
        assert (project("ps", "-q").stdout, calls()) == (first, [])
        project("up", "-d")
        assert project.inside("web", "echo $DB_URL") == "two"
        (tmp_path / "broken").touch()
        failed = project("up", "-d", check=False)
        assert (failed.returncode, "no credit" in failed.stderr) == (1, True)
        (tmp_path / "broken").unlink()
        project("stop", "-t", "0", "web")
        project("stop", "-t", "0")
        project("start")
        assert project.inside("web", "echo $DB_URL") == "two"
        project("logs")
        project("down", "-t", "0")
        assert calls() == ["up db", "up db", "stop db", "down db"]
        assert project("ls", "-aq").stdout == ""
    finally:
        project("down", "-v", "-t", "0", check=False)


ORDERED = """#!/bin/sh
here=$(dirname "$0"); name=$4
[ "$2" = metadata ] && { echo '{"description": "d", "stop": {}}'; exit; }
echo "$3 $name" >> "$here/calls"
[ -p "$here/wait-$name" ] && { echo $$ > "$here/pid-$name"; read -r line < "$here/wait-$name"; }
[ -e "$here/fails-$name" ] && { echo "why" >&2; exit 3; }
echo '{"type": "info", "message": "half of '$name'"}'
echo '{"type": "setenv", "message": "URL='$(cat "$here/url" 2>/dev/null)'"}'
"""
GRAPH = """
services:
  db:
    image: host
    init: true
    command: ["sh", "-c", "until [ -e HERE/healthy ]; do sleep 0.05; done; touch /tmp/up; exec sleep 600"]
    volumes: ["HERE:HERE"]
    healthcheck: {test: [CMD, test, -e, /tmp/up], interval: 0.1s, retries: 10000}
  cloud: {provider: {type: HERE/cloud}, depends_on: {db: {condition: service_healthy}}}
  mail: {provider: {type: HERE/cloud}}
  web: {image: host, init: true, command: sleep 600, depends_on: [cloud, mail]}
  front: {image: host, init: true, command: sleep 600, depends_on: [web]}
  other: {image: host, init: true, command: sleep 600}
"""


class Cloud:
    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine, self.folder = machine, folder
        (folder / "cloud").write_text(ORDERED)
        (folder / "cloud").chmod(0o755)
        self.project = Described(machine, folder / "compose.yaml")
        self.project.describe(GRAPH.replace("HERE", str(folder)))

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        return lines

    def going(self, *arguments: str) -> subprocess.Popen[str]:
        """A command that goes on."""
        return subprocess.Popen(
            self.machine.entering_pycompose("-p", "p", "-f", str(self.project.file), *arguments),
            env=dict(self.machine.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def waits(self, name: str) -> Path:
        pipe = self.folder / f"wait-{name}"
        if not pipe.exists():
            self.machine.run("mkfifo", str(pipe))
        return pipe

    def began(self, name: str) -> int:
        """The pid of a provider that waits, once it does."""
        path = self.folder / f"pid-{name}"
        pid = until(lambda: path.exists() and path.read_text().strip(), 60, f"{name} runs")
        path.unlink()
        return int(pid)


@pytest.fixture
def cloud(host: Machine, tmp_path: Path) -> Iterator[Cloud]:
    there = Cloud(host, tmp_path)
    try:
        yield there
    finally:
        for pipe in tmp_path.glob("wait-*"):
            pipe.unlink()
        there.project("down", "-v", "-t", "0", check=False)


def test_a_provider_runs_after_what_it_depends_on_and_before_what_depends_on_it(cloud: Cloud) -> None:
    project = cloud.project
    for name in ("cloud", "mail"):
        cloud.waits(name)
    going = cloud.going("up", "-d")
    try:
        cloud.began("mail")  # beside the containers
        until(lambda: project.states().get("other-1") == "running", 60, "other runs")
        assert not (cloud.folder / "pid-cloud").exists()  # db is not healthy
        assert set(project.states()) == {"db-1", "other-1", "front-1"}
        (cloud.folder / "healthy").touch()
        cloud.began("cloud")  # beside mail, which waits
        assert project.ps()["db-1"]["Health"] == "healthy"
        assert project.states()["front-1"] == "created"
        (cloud.folder / "url").write_text("one")
        for name in ("cloud", "mail"):
            cloud.waits(name).write_text("go\n")
        _, stderr = going.communicate(timeout=120)
    finally:
        going.kill()
        going.communicate()
    assert going.returncode == 0, stderr
    for line in (" Service cloud Creating", " Service cloud half of cloud", " Service cloud Created"):
        assert line in stderr.splitlines()
    assert set(project.states().values()) == {"running"}
    assert project.inside("web", "echo $CLOUD_URL $MAIL_URL") == "one one"
    assert project.inside("front", "echo ${CLOUD_URL-none}") == "none"
    assert sorted(cloud.calls()) == ["up cloud", "up mail"]
    for name in ("cloud", "mail"):
        cloud.waits(name).unlink()
    ids = {name: one["ID"] for name, one in project.ps().items()}
    project("up", "-d")
    assert {name: one["ID"] for name, one in project.ps().items()} == ids
    (cloud.folder / "url").write_text("two")
    project("up", "-d", "--wait")
    assert project.inside("web", "echo $CLOUD_URL $MAIL_URL") == "two two"
    changed = {name for name, one in project.ps().items() if one["ID"] != ids[name]}
    assert changed == {"web-1"}
    assert sorted(cloud.calls()) == ["up cloud", "up cloud", "up mail", "up mail"]  # once a command
    (cloud.folder / "url").write_text("three")
    ran = project("run", "--rm", "-T", "--no-deps", "web", "sh", "-c", "echo $CLOUD_URL")
    assert ran.stdout.strip() == "two"
    assert cloud.calls() == []
    ran = project("run", "--rm", "-T", "-e", "MAIL_URL=mine", "web", "sh", "-c", "echo $CLOUD_URL $MAIL_URL")
    assert ran.stdout.strip() == "three mine"
    assert sorted(cloud.calls()) == ["up cloud", "up mail"]
    project("stop", "-t", "0")
    assert sorted(cloud.calls()) == ["stop cloud", "stop mail"]
    project("down", "-t", "0")
    assert sorted(cloud.calls()) == ["down cloud", "down mail"]
    assert project("ls", "-aq").stdout == ""


def test_a_provider_goes_before_what_it_depends_on(cloud: Cloud) -> None:
    (cloud.folder / "healthy").touch()
    project = cloud.project
    project("up", "-d")
    for path in ("stop", "down"):
        cloud.waits("cloud")
        going = cloud.going(path, "-t", "0")
        try:
            cloud.began("cloud")
            states = project.states()
            assert states["db-1"] == "running"
            assert states.get("web-1", "exited") == "exited"
            cloud.waits("cloud").write_text("go\n")
            _, stderr = going.communicate(timeout=120)
        finally:
            going.kill()
            going.communicate()
        assert going.returncode == 0, stderr
        cloud.waits("cloud").unlink()
        project(*(("up", "-d") if path == "stop" else ("ps",)))


def test_a_provider_that_fails_leaves_its_dependents_unmade_and_the_next_up_goes_on(cloud: Cloud) -> None:
    (cloud.folder / "healthy").touch()
    (cloud.folder / "fails-cloud").touch()
    project = cloud.project
    failed = project("up", "-d", check=False)
    assert failed.returncode == 1
    assert "failed to create service provider: exit status 3" in failed.stderr
    assert "why" in failed.stderr
    assert project.states() == {"db-1": "running", "other-1": "running", "front-1": "created"}
    (cloud.folder / "fails-cloud").unlink()
    (cloud.folder / "url").write_text("one")
    project("up", "-d")
    assert project.inside("web", "echo $CLOUD_URL") == "one"
    (cloud.folder / "fails-cloud").touch()
    failed = project("down", "-t", "0", check=False)
    assert (failed.returncode, "failed to remove service provider: exit status 3" in failed.stderr) == (1, True)
    assert project.states() == {"db-1": "running"}  # what the provider needs stays with it
    (cloud.folder / "fails-cloud").unlink()
    project("down", "-t", "0")
    assert project("ls", "-aq").stdout == ""


@pytest.mark.parametrize("detached", [True, False])
def test_an_interrupt_ends_a_provider_that_runs(cloud: Cloud, detached: bool) -> None:
    (cloud.folder / "healthy").touch()
    cloud.waits("cloud")
    options = ["-d"] if detached else []
    going = cloud.going("up", *options)
    try:
        pid = cloud.began("cloud")
        cloud.waits("cloud").unlink()  # it waits all the same; one that is to stop does not
        going.send_signal(signal.SIGINT)
        _, stderr = going.communicate(timeout=120)
    finally:
        going.kill()
        going.communicate()
    assert going.returncode == 130, stderr
    assert not Path(f"/proc/{pid}").exists()
    assert "web-1" not in cloud.project.states()
    cloud.project("up", "-d")
    assert set(cloud.project.states().values()) == {"running"}


def test_a_provider_is_part_of_the_time_that_wait_gives(cloud: Cloud) -> None:
    (cloud.folder / "healthy").touch()
    cloud.waits("mail")
    failed = cloud.project("up", "-d", "--wait", "--wait-timeout", "5", check=False, timeout=120)
    assert failed.returncode == 1
    assert "application not healthy after 5s: mail not ready" in failed.stderr
    assert not Path(f"/proc/{cloud.began('mail')}").exists()


def test_an_attached_up_shows_what_other_variables_made_anew(host: Machine, tmp_path: Path) -> None:
    (tmp_path / "cloud").write_text(SCRIPT)
    (tmp_path / "cloud").chmod(0o755)
    project = Described(host, tmp_path / "compose.yaml")
    text = FILE.replace("type: cloud", f"type: {tmp_path}/cloud").replace("sleep 600", "sh -c 'echo $$DB_URL'")
    project.describe(text + "  other: {image: host, init: true, command: echo hello}\n")
    try:
        for url in ("one", "two", "two"):
            (tmp_path / "url").write_text(url)
            assert project.said() == {"web": [url], "other": ["hello"]}
        (tmp_path / "broken").touch()
        failed = project("up", check=False)
        assert (failed.returncode, "no credit" in failed.stderr) == (1, True)
        failed = project("down", "-t", "0", check=False)
        assert (failed.returncode, "no credit" in failed.stderr) == (1, True)
        assert "Network p_default Removed" in failed.stderr  # of which the provider is no user
        (tmp_path / "broken").unlink()
    finally:
        project("down", "-v", "-t", "0", check=False)
