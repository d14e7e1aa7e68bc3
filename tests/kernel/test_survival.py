"""SIGKILL to several of a project's processes at once, as the kernel does it when memory or a control group ends.

As long as one of keeper, supervisor and fd store lives, the others are back by themselves, and with them restart
policies, health checks and names; when all are gone, the next command that needs one of them brings them back.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pycompose.runtime.keeper import messages

from .conftest import Machine
from .service_tools import until
from .test_recovery import peer

HELPERS = {"keeper": "keeper.sock", "supervisor": "control.sock", "store": "store.sock"}
FILE = """
services:
  web:
    image: host
    command: ["sleep", "1000"]
    init: true
    restart: always
    healthcheck: {test: "test ! -e /sick", interval: 0.2s, retries: 1}
  tool:
    image: host
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
"""
SUBSETS = [chosen for count in (1, 2, 3) for chosen in itertools.combinations(HELPERS, count)]


@pytest.fixture
def project(host: Machine, tmp_path: Path) -> Iterator[Machine]:
    file = tmp_path / "compose.yaml"
    file.write_text(FILE)
    compose(host, tmp_path, "up", "-d", "--wait")
    yield host
    compose(host, tmp_path, "down", "-t", "0")


def compose(machine: Machine, folder: Path, *command: str) -> str:
    return machine.pycompose("-p", "p", "-f", str(folder / "compose.yaml"), *command).stdout.strip()


def helper(machine: Machine, name: str) -> int:
    """The pid of one that listens; the store's is its own word, for its socket was made by the keeper."""
    if name != "store":
        return peer(machine, HELPERS[name])
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(f"/proc/{machine.pid}/root{machine.run_folder}/p/{HELPERS[name]}")
        messages.send(connection, messages.GiveBack())
        while True:
            message, descriptors = messages.receive(connection)
            messages.close_all(descriptors)
            if isinstance(message, messages.GivenBack):
                return message.pid


def kill(machine: Machine, victims: tuple[str, ...]) -> None:
    """All at once: none of them sees another die."""
    with ExitStack() as held:
        handles = []
        for victim in victims:
            handles.append(os.pidfd_open(helper(machine, victim)))
            held.callback(os.close, handles[-1])
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for handle in handles:
                signal.pidfd_send_signal(handle, number)


def eventually(condition: str, probe: Callable[[], object]) -> None:
    until(probe, condition=condition, despite=(OSError, ValueError))


def alive(machine: Machine) -> bool:
    return all(helper(machine, name) > 0 for name in HELPERS)


def first_process(machine: Machine, tmp_path: Path, service: str) -> int:
    identity = compose(machine, tmp_path, "ps", "-q", service)
    path = Path(f"/proc/{machine.pid}/root{machine.state}/projects/p/containers/{identity}/process.json")
    return int(json.loads(path.read_text())["pid"])


@pytest.mark.parametrize("victims", SUBSETS, ids="+".join)
def test_whoever_dies_is_back_and_keeps_watch(project: Machine, tmp_path: Path, victims: tuple[str, ...]) -> None:
    containers = compose(project, tmp_path, "ps", "-q")
    kill(project, victims)
    if len(victims) == len(HELPERS):
        assert compose(project, tmp_path, "exec", "-T", "tool", "echo", "there") == "there"
    eventually("all helpers are back", lambda: alive(project))
    assert compose(project, tmp_path, "ps", "-q") == containers
    assert project.pycompose("-p", "p", "exec", "-T", "tool", "getent", "hosts", "web").stdout.split()[1] == "web"
    before = first_process(project, tmp_path, "web")
    os.kill(before, signal.SIGKILL)
    eventually("the restart policy acts", lambda: first_process(project, tmp_path, "web") != before)
    compose(project, tmp_path, "exec", "-T", "web", "touch", "/sick")
    eventually("health is probed", lambda: "unhealthy" in compose(project, tmp_path, "ps", "web"))
    kill(project, tuple(HELPERS))
    assert compose(project, tmp_path, "logs") == ""


NEEDING = [
    "exec -T tool true",
    "pause tool",
    "kill -s USR1 web",
    "stop -t 0 tool",
    "restart -t 0 tool",
    "start tool",
    "up -d",
    "scale tool=2",
    "rm -sf tool",
    "top",
    "ps",
    "logs",
    "stats --no-stream",
    "events --since 1h --until 0s",
    "create",
    "down -t 0",
]


@pytest.mark.parametrize("command", NEEDING)
def test_every_command_works_when_all_helpers_are_gone(project: Machine, tmp_path: Path, command: str) -> None:
    kill(project, tuple(HELPERS))
    done = project.pycompose("-p", "p", "-f", str(tmp_path / "compose.yaml"), *command.split(), check=False)
    assert done.returncode == 0, done.stderr


def test_helpers_are_counted_in_a_group_of_their_own_and_leave_none(host: Machine, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(FILE)
    compose(host, tmp_path, "up", "-d")
    group = f"/{host.environment['PYCOMPOSE_CGROUP']}/p/helpers"
    for name in HELPERS:
        lines = Path(f"/proc/{helper(host, name)}/cgroup").read_text().splitlines()
        groups = {line.split(":", 2)[2] for line in lines if line.split(":")[1] != "name=systemd"}
        assert groups == {group}, name
    compose(host, tmp_path, "down", "-t", "0")
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{host.environment['PYCOMPOSE_CGROUP']}"))


def test_without_control_groups_what_runs_can_be_killed(host: Machine, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(FILE.replace('["sleep", "1000"]', '["sh", "-c", "trap : TERM; sleep 1000"]'))
    host.run("umount", "-R", "/sys/fs/cgroup")
    compose(host, tmp_path, "up", "-d")
    compose(host, tmp_path, "kill", "tool")
    eventually("it is dead", lambda: "tool" not in compose(host, tmp_path, "ps"))
    compose(host, tmp_path, "start", "tool")
    compose(host, tmp_path, "down", "-t", "0")
