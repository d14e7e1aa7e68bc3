"""A lock that anybody on the machine holds, or slow storage, stops no project's DNS."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .conftest import Machine
from .service_tools import Described

HELD = 4.0  # seconds
QUICK = 0.05  # seconds that an answer may take; one in twenty ten times as long, where the machine is busy
FILE = """
services:
  asker:
    image: host
    command: sleep infinity
    init: true
  web:
    image: host
    command: sleep infinity
    init: true
    volumes: [data:/data]
    configs: [slow]
volumes: {data: {}}
configs: {slow: {file: ./slow}}
"""
ASKER = """
import socket, time
query = bytes.fromhex("0707010000010000000000000561736b65720000010001")
times = []
end = time.monotonic() + %f
while time.monotonic() < end:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        began = time.monotonic()
        sock.sendto(query, ("127.0.0.11", 53))
        answer = sock.recv(512)
        times.append(time.monotonic() - began)
        assert answer[3] & 15 == 0 and answer[7] == 1, answer
    time.sleep(0.01)
times.sort()
print(max(times[len(times) * 19 // 20], times[-1] / 10))
"""


@pytest.fixture
def project(host: Machine, tmp_path: Path) -> Iterator[Described]:
    described = Described(host, tmp_path / "compose.yaml")
    described.describe(FILE)
    (tmp_path / "slow").write_text("content")
    described("up", "-d")
    yield described
    described("down", "-v", "-t", "0")


@contextmanager
def locked(machine: Machine, path: str) -> Iterator[None]:
    """Another process holds the lock of this file for a while."""
    script = f"exec 9>>{path}; flock -x 9; echo held; exec sleep {HELD}"
    with subprocess.Popen(machine.entering("bash", "-c", script), stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
        holder.wait()


def worst_answer(project: Described, seconds: float) -> subprocess.Popen[str]:
    """A process in the asker that asks for names all the time."""
    command = ("-p", "p", "exec", "-T", "asker", "python3", "-c", ASKER % seconds)
    return subprocess.Popen(
        project.machine.entering_pycompose(*command),
        env=dict(project.machine.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("lock", ["networks/.lock", "images/lock", "volumes/.lock"])
def test_a_lock_of_anybody_stops_no_answer(project: Described, lock: str) -> None:
    with locked(project.machine, f"{project.machine.state}/{lock}"):
        asking = worst_answer(project, HELD - 1)
        project("scale", "web=4", timeout=60)
        out, _ = asking.communicate(timeout=60)
    assert asking.returncode == 0
    assert float(out) < QUICK


def test_a_pipe_that_nobody_writes_is_told_and_stops_no_answer(project: Described, tmp_path: Path) -> None:
    (tmp_path / "slow").unlink()
    os.mkfifo(tmp_path / "slow")
    asking = worst_answer(project, 2)
    restarted = project("restart", "-t", "0", "web", check=False)
    out, _ = asking.communicate(timeout=60)
    assert restarted.returncode == 1
    assert "is no regular file" in restarted.stderr
    assert asking.returncode == 0
    assert float(out) < QUICK
