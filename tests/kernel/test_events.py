"""Events of containers beside the commands that cause them: docker's words in docker's order, and none lost."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import SLOWER, Machine

ROUNDS = int(os.environ.get("PYCOMPOSE_TESTS_ROUNDS", "6"))
FILE = """
name: e
services:
  web: {image: host, command: sleep 1000, stop_signal: SIGKILL, labels: {colour: blue}}
"""


class Events:
    """`events --json` beside a test."""

    def __init__(self, host: Machine, *arguments: str) -> None:
        self.process = subprocess.Popen(
            host.entering_pycompose("-p", "e", "events", "--json", *arguments),
            env=dict(host.environment),
            stdout=subprocess.PIPE,
        )

    def take(self, last: str) -> list[dict[str, Any]]:
        """Events up to the first of that action."""
        events: list[dict[str, Any]] = []
        assert self.process.stdout is not None
        while not events or events[-1]["action"] != last:
            assert select.select([self.process.stdout], [], [], 10 * SLOWER)[0], [e["action"] for e in events]
            line = b""
            while not line.endswith(b"\n"):
                line += self.process.stdout.raw.read(1)  # type: ignore[attr-defined]  # nothing is read ahead
            events.append(json.loads(line))
        return events

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def file(tmp_path: Path, host: Machine) -> Iterator[str]:
    path = tmp_path / "compose.yaml"
    path.write_text(FILE)
    yield str(path)
    host.pycompose("-p", "e", "down", "-t", "0", "--remove-orphans", check=False)


@pytest.fixture
def events(host: Machine, file: str) -> Iterator[Events]:
    """Before anything of the project is there."""
    one = Events(host)
    yield one
    one.end()


def words(events: list[dict[str, Any]]) -> list[str]:
    return [event["action"] for event in events]


def test_every_command_tells_dockers_sequence(host: Machine, file: str, events: Events) -> None:
    host.pycompose("-f", file, "up", "-d")
    begun = events.take("start")
    assert words(begun) == ["create", "start"]
    assert begun[0] == {
        "action": "create",
        "attributes": {"colour": "blue", "image": "host", "name": "e-web-1"},
        "id": begun[1]["id"],
        "service": "web",
        "time": begun[0]["time"],
        "type": "container",
    }
    host.pycompose("-f", file, "restart")
    restarted = events.take("restart")
    assert words(restarted) == ["kill", "die", "stop", "start", "restart"]
    assert restarted[0]["attributes"]["signal"] == "9"
    assert restarted[1]["attributes"]["exitCode"] == "137"
    host.pycompose("-f", file, "scale", "web=2")
    assert words(events.take("start")) == ["create", "start"]
    host.pycompose("-f", file, "scale", "web=1")
    assert words(events.take("destroy")) == ["kill", "die", "stop", "destroy"]
    host.pycompose("-f", file, "pause")
    host.pycompose("-f", file, "unpause")
    assert words(events.take("unpause")) == ["pause", "unpause"]
    host.pycompose("-f", file, "kill")
    assert words(events.take("die")) == ["kill", "die"]
    host.pycompose("-f", file, "up", "-d", "--force-recreate")
    assert words(events.take("start")) == ["create", "destroy", "rename", "start"]
    host.pycompose("-f", file, "down")
    assert words(events.take("destroy")) == ["kill", "die", "stop", "destroy"]


def test_processes_inside_are_told_with_their_codes(host: Machine, file: str, events: Events) -> None:
    host.pycompose("-f", file, "up", "-d")
    events.take("start")
    done = host.pycompose("-f", file, "exec", "-T", "web", "sh", "-c", "exit 7", check=False)
    assert done.returncode == 7
    created, started, died = events.take("exec_die")
    assert (created["action"], started["action"]) == ("exec_create: sh -c exit 7", "exec_start: sh -c exit 7")
    assert died["attributes"]["exitCode"] == "7"
    assert len({event["attributes"]["execID"] for event in (created, started, died)}) == 1


def test_quick_rounds_lose_nothing(host: Machine, file: str, events: Events) -> None:
    """PYCOMPOSE_TESTS_ROUNDS of them; a supervisor is killed in the midst, and its successor goes on."""
    host.pycompose("-f", file, "up", "-d")
    events.take("start")
    for number in range(ROUNDS):
        if number == ROUNDS // 2:
            record = json.loads(host.run("cat", f"{host.run_folder}/e/supervisor.json").stdout)
            os.kill(record["pid"], signal.SIGKILL)
        host.pycompose("-f", file, "restart")
        assert words(events.take("restart")) == ["kill", "die", "stop", "start", "restart"]
        host.pycompose("-f", file, "scale", "web=2")
        assert words(events.take("start")) == ["create", "start"]
        host.pycompose("-f", file, "scale", "web=1")
        assert words(events.take("destroy")) == ["kill", "die", "stop", "destroy"]


def test_events_are_kept_and_told_since_a_time(host: Machine, file: str) -> None:
    host.pycompose("-f", file, "up", "-d")
    told = host.pycompose("-p", "e", "events", "--json", "--since", "1h", "--until", "0s").stdout
    assert [json.loads(line)["action"] for line in told.splitlines()] == ["create", "start"]
    assert host.pycompose("-p", "e", "events", "--since", "1h", "--until", "30m").stdout == ""


@pytest.mark.parametrize("command", [("events",), ("logs", "-f"), ("attach", "web"), ("up",)])
def test_an_idle_follower_sleeps(host: Machine, file: str, command: tuple[str, ...]) -> None:
    """It waits once, for as long as nothing happens: no thread of it wakes for 3 s."""
    if command != ("up",):
        host.pycompose("-f", file, "up", "-d")
    follower = subprocess.Popen(
        host.entering_pycompose("-f", file, *command),
        env=dict(host.environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            follower.wait(3 * SLOWER)  # until it has begun
        before = switches(follower.pid)
        with pytest.raises(subprocess.TimeoutExpired):
            follower.wait(3)
        assert switches(follower.pid) == before
    finally:
        follower.kill()
        follower.wait()


def switches(pid: int) -> int:
    """How often the threads of a process have waited."""
    texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return sum(int(text.partition("voluntary_ctxt_switches:")[2].split()[0]) for text in texts)
