"""Hooks of services: what they write, and what comes of their failing."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from .attached_tools import in_background, read_until
from .conftest import Machine
from .service_tools import Described, until


@pytest.fixture
def project(host: Machine, tmp_path: Path) -> Iterator[Described]:
    described = Described(host, tmp_path / "compose.yaml")
    yield described
    described("down", "-v", "-t", "0", "--remove-orphans", check=False)


def test_a_pre_stop_that_fails_is_the_exit_code_and_all_is_taken_down(project: Described) -> None:
    project.describe("""
services:
  web:
    image: host
    init: true
    command: sleep 600
    working_dir: /usr
    pre_stop:
      - {command: "sh -c 'echo $$PWD; echo $$WORD >&2; exit 7'", working_dir: /etc, environment: {WORD: why}}
""")
    project("up", "-d")
    done = project("down", "-t", "0", check=False)
    assert done.returncode == 7, done.stderr
    assert "web hook exited with status 7" in done.stderr
    assert "why" in done.stderr
    assert project.ps() == {}
    assert project("ls", "-aq").stdout == ""


def test_what_hooks_write_is_shown_in_an_attached_up(project: Described) -> None:
    project.describe("""
services:
  web: {image: host, init: true, command: sleep 1, post_start: [{command: echo hello}, {command: echo again}]}
""")
    lines = project("up").stdout.splitlines()
    assert [line for line in lines if "->" in line] == ["web-1 -> | hello", "web-1 -> | again"]


MIGRATING = """
services:
  web:
    image: host
    init: true
    command: sleep 600
    scale: 2
    stop_grace_period: 0s
    environment: {BASE: base}
    volumes: [data:/srv, /opt]
    pre_start:
      - command: sh -c 'echo $$BASE $$WORD $$PWD >> /srv/ran; echo kept > /opt/file; echo first; echo odd >&2'
        environment: {WORD: word}
        working_dir: /etc
      - {command: "SECOND", user: "1000:1000"}
volumes: {data: {}}
"""


def test_pre_start_runs_once_before_a_service_and_again_when_it_is_made_anew(project: Described) -> None:
    text = MIGRATING.replace("SECOND", "sh -c 'id -u; cat /srv/ran /opt/file'")
    project.describe(text)
    done = project("up", "-d")
    assert "first" not in done.stdout + done.stderr  # as docker compose shows nothing of hooks there
    assert project.states() == {"web-1": "running", "web-2": "running"}
    assert project.inside("web", "cat /srv/ran /opt/file") == "base word /etc\nkept"
    project("up", "-d")
    project("stop", "-t", "0")
    project("start")
    project("up", "-d", "--scale", "web=3")
    assert project.inside("web", "cat /srv/ran") == "base word /etc"
    project.describe(text.replace("WORD: word", "WORD: other"))
    project("up", "-d", "-t", "0")
    assert project.inside("web", "cat /srv/ran") == "base word /etc\nbase other /etc"
    project("up", "-d", "-t", "0", "--force-recreate")
    assert project.inside("web", "cat /srv/ran").splitlines()[2:] == ["base other /etc"]
    volumes = project("volumes", "-q").stdout.split()
    assert len([name for name in volumes if len(name) == 64]) <= 3


def test_what_pre_start_writes_is_shown_as_it_comes_and_the_containers_start_after(project: Described) -> None:
    project.describe("""
services:
  web:
    image: host
    init: true
    command: echo started
    pre_start:
      - {command: "sh -c 'echo one; echo two >&2; printf three'"}
      - {command: echo four}
""")
    lines = project("up").stdout.splitlines()
    shown = [line for line in lines if "|" in line]
    assert sorted(shown[:3]) == [
        "web pre_start[0] -> | one",
        "web pre_start[0] -> | three",
        "web pre_start[0] -> | two",
    ]
    assert shown[3] == "web pre_start[1] -> | four"
    assert shown[4].split() == ["web-1", "|", "started"]
    assert not [line for line in lines if "pre_start" in line and "exited" in line]


def test_a_pre_start_that_fails_leaves_the_service_created_and_its_own_container(project: Described) -> None:
    project.describe("""
services:
  web:
    image: host
    init: true
    command: sleep 600
    ports: ["8123:80"]
    volumes: [/opt]
    pre_start:
      - {command: "true"}
      - {command: "sh -c 'echo fine; echo broken >&2; exit 3'"}
      - {command: touch /never}
  after:
    image: host
    init: true
    command: sleep 600
    depends_on: [web]
""")
    done = project("up", "-d", check=False)
    assert done.returncode == 1
    assert 'service "web" pre_start[1] exited with code 3: broken' in done.stderr
    assert "(hook container p-web-pre_start-1 retained for inspection)" in done.stderr
    assert project.states() == {"web-1": "created", "after-1": "created", "web-pre_start-1": "exited"}
    assert "pre_start" not in project("ps").stdout
    assert project("logs", "web").stdout == ""
    project("up", "-d", check=False)
    assert project.states()["web-pre_start-1"] == "exited"
    project("rm", "-f", "-v")
    assert project.ps() == {}
    project("up", "-d", check=False)
    project.describe(project.file.read_text().replace("exit 3", "exit 0"))
    project("up", "-d")
    assert project.states() == {"web-1": "running", "after-1": "running"}
    project("down", "-t", "0", "-v")
    assert project("volumes", "-q").stdout == ""


def test_down_takes_the_containers_of_hooks_along(project: Described) -> None:
    project.describe("services: {web: {image: host, init: true, command: sleep 9, pre_start: [{command: /no/such}]}}")
    done = project("up", "-d", check=False)
    assert done.returncode == 1
    assert "p-web-pre_start-0" in done.stderr
    assert "/no/such" in done.stderr
    assert project.states() == {"web-1": "created"}
    project.describe(project.file.read_text().replace("/no/such", '"false"'))
    project("up", "-d", check=False)
    assert set(project.states()) == {"web-1", "web-pre_start-0"}
    project("down")
    assert project("ls", "-aq").stdout == ""


def test_a_replica_each_has_the_hooks_that_ask_for_it(project: Described) -> None:
    project.describe(
        """
services:
  web:
    image: host
    init: true
    command: sleep 600
    scale: 2
    volumes: [/opt]
    ports: ["8123:80"]
    networks: {default: {ipv4_address: 10.123.0.9}}
    pre_start:
      - {command: "sh -c 'echo mine >> /opt/ran'", per_replica: true}
networks: {default: {ipam: {config: [{subnet: 10.123.0.0/24}]}}}
""".replace("    scale: 2\n", "")
    )
    project("up", "-d")
    assert project.inside("web", "cat /opt/ran") == "mine"
    project.describe(project.file.read_text().replace("    networks: {default: {ipv4_address: 10.123.0.9}}\n", ""))
    project("up", "-d", "-t", "0")
    project("up", "-d", "--scale", "web=2")
    for number in ("1", "2"):
        done = project("exec", "-T", "--index", number, "web", "cat", "/opt/ran")
        assert set(done.stdout.split()) == {"mine"}
    assert "8123" in project("port", "web", "80").stdout


@pytest.mark.parametrize(
    ("kind", "shown"), [("pre_start", "web pre_start[0] -> | early"), ("post_start", "web-1 -> | early")]
)
def test_what_hooks_write_is_shown_while_they_run(project: Described, kind: str, shown: str) -> None:
    project.describe(f"""
services:
  web: {{image: host, init: true, command: sleep 600, {kind}: [{{command: "sh -c 'echo early; sleep 600'"}}]}}
""")
    up = in_background(project.machine, "-p", "p", "-f", str(project.file), "up")
    read_until(up, shown)
    assert "pre_start" not in kind or project.states() == {"web-1": "created", "web-pre_start-0": "running"}
    up.terminate()
    up.communicate(timeout=60)
    assert "web-pre_start-0" not in project.states()


def test_what_pre_stop_writes_is_shown_when_an_attached_up_ends(project: Described) -> None:
    project.describe("""
services:
  web: {image: host, init: true, command: sh -c 'echo up; sleep 600', pre_stop: [{command: echo bye}]}
""")
    up = in_background(project.machine, "-p", "p", "-f", str(project.file), "up", "-t", "0")
    read_until(up, "| up")
    up.terminate()
    assert "web-1 -> | bye" in up.communicate(timeout=60)[0].splitlines()


@pytest.mark.parametrize("command", ["up", "down"])
def test_a_hook_whose_supervisor_was_killed_is_cleared_away_by_the_next_command(
    project: Described, command: str
) -> None:
    project.describe("""
services:
  web: {image: host, init: true, command: sleep 600, stop_grace_period: 0s, pre_start: [{command: sleep 5}]}
""")
    up = in_background(project.machine, "-p", "p", "-f", str(project.file), "up", "-d")
    until(lambda: project.states().get("web-pre_start-0") == "running", condition="the hook runs")
    supervisor = project.machine.run("cat", f"{project.machine.run_folder}/p/supervisor.json").stdout
    os.kill(int(json.loads(supervisor)["pid"]), signal.SIGKILL)
    assert "run the command again" in up.communicate(timeout=60)[0]
    assert project.states()["web-pre_start-0"] == "running"
    project(command, *(["-d"] if command == "up" else []))
    assert project.states() == ({"web-1": "running"} if command == "up" else {})
