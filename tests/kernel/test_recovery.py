"""Any of the three processes may be killed at any moment: what runs goes on, and who is missing is there again."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from pycompose.compose.control import protocol
from pycompose.compose.control.protocol import Ping

from .conftest import Machine
from .service_tools import until

WEB = """
import http.server, os, socket
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["HOSTNAME"].encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("", 80), Answer).serve_forever()
"""
FILE = f"""
services:
  web:
    image: host
    command: ["python3", "-c", {json.dumps(WEB)}]
    stop_signal: SIGKILL
    ports: ["8080:80"]
    restart: always
  asker:
    image: host
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
"""


def peer(host: Machine, name: str, project: str = "p") -> int:
    """The process that answers on a socket of a project: its supervisor, or its keeper."""
    path = f"/proc/{host.pid}/root{host.run_folder}/{project}/{name}"
    if name == "control.sock":
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(path)
            sock.sendall(protocol.encode(Ping()))
            with sock.makefile() as lines:
                return int(json.loads(lines.readline())["pid"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(path)
        return int(struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])


def await_another(host: Machine, name: str, before: int, project: str = "p") -> None:
    """Wait for a process other than `before` to listen."""
    until(lambda: peer(host, name, project) != before, condition=f"another on {name}", despite=(OSError, ValueError))


def answers(host: Machine, count: int = 8) -> Counter[str]:
    """Who answers on the published port, and how often."""
    urls = ["http://127.0.0.1:8080/"] * count
    done = host.run(
        "curl",
        "-sS",
        "--max-time",
        "5",
        "--retry",
        "20",
        "--retry-all-errors",
        "--retry-delay",
        "1",
        "-w",
        "\\n",
        *urls,
    )
    return Counter(done.stdout.split())


def resolved(host: Machine, *names: str) -> str:
    program = (
        "import socket, sys; "
        "print(*sorted({a[4][0] for n in sys.argv[1:] for a in socket.getaddrinfo(n, 80, socket.AF_INET)}))"
    )
    return host.pycompose("-p", "p", "exec", "-T", "asker", "python3", "-c", program, *names).stdout.strip()


@pytest.fixture
def project(host: Machine, tmp_path: Path) -> Iterator[Machine]:
    file = tmp_path / "compose.yaml"
    file.write_text(FILE)
    host.pycompose("-p", "p", "-f", str(file), "up", "-d", "--scale", "web=2")
    yield host
    host.pycompose("-p", "p", "down", "-t", "0")


def test_a_killed_supervisor_is_replaced_and_ports_and_names_go_on(project: Machine) -> None:
    assert len(answers(project)) == 2
    before = resolved(project, "web")
    assert len(before.split()) == 2
    old = peer(project, "control.sock")
    os.kill(old, signal.SIGKILL)
    await_another(project, "control.sock", old)
    assert len(answers(project)) == 2
    assert resolved(project, "web") == before
    project.pycompose("-p", "p", "scale", "web=3")
    assert len(answers(project, 12)) == 3
    assert len(resolved(project, "web").split()) == 3


def test_a_killed_keeper_is_replaced_and_containers_go_on(project: Machine) -> None:
    pids = project.pycompose("-p", "p", "ps", "-q").stdout
    old = peer(project, "keeper.sock")
    os.kill(old, signal.SIGKILL)
    await_another(project, "keeper.sock", old)
    assert project.pycompose("-p", "p", "ps", "-q").stdout == pids
    assert len(answers(project)) == 2
    assert len(resolved(project, "web").split()) == 2
    project.pycompose("-p", "p", "scale", "web=1")
    assert len(answers(project)) == 1


def test_both_killed_at_once_come_back_with_the_next_command(project: Machine) -> None:
    for name in ("keeper.sock", "control.sock"):
        os.kill(peer(project, name), signal.SIGKILL)
    assert "web" in project.pycompose("-p", "p", "ps").stdout
    project.pycompose("-p", "p", "scale", "web=3")
    assert len(answers(project, 12)) == 3
    assert len(resolved(project, "web").split()) == 3


def test_a_killed_process_with_restart_always_comes_back(project: Machine) -> None:
    listed = project.pycompose(
        "-p", "p", "exec", "-T", "--index", "1", "web", "python3", "-c", "print(open('/etc/hostname').read())"
    )
    name = listed.stdout.strip()
    assert name in answers(project)
    project.pycompose("-p", "p", "kill", "-s", "TERM", "web")
    until(lambda: len(answers(project)) >= 2)


def test_starts_leave_no_descriptor_in_the_supervisor(project: Machine) -> None:
    supervisor = peer(project, "control.sock")

    def opened() -> int:
        return len(os.listdir(f"/proc/{supervisor}/fd"))

    project.pycompose("-p", "p", "restart", "-t", "0", "web")
    before = opened()
    for _ in range(2):
        project.pycompose("-p", "p", "restart", "-t", "0", "web")
    assert peer(project, "control.sock") == supervisor
    assert opened() <= before + 1, "but for the connection of this moment"
