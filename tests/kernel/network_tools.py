"""A stage for network tests: containers that are processes in namespaces of theirs, and supervisors that can be killed.

Each stands on a machine of its own (`host`); what runs inside is `network_stage.py`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Machine

STAGE = str(Path(__file__).with_name("network_stage.py"))
RUN = [sys.executable, STAGE]


class Failed(Exception):
    pass


class Container:
    def __init__(self, pid: int, fds: list[int]) -> None:
        self.pid, self.fds = pid, fds

    @property
    def dns_ports(self) -> tuple[int, int]:
        found = []
        for fd in self.fds[3:]:
            with socket.socket(fileno=os.dup(fd)) as sock:
                found.append(sock.getsockname()[1])
        return found[0], found[1]


class Stage:
    """Containers, supervisors, and a remote machine 192.0.2.2 behind an uplink with a small MTU."""

    def __init__(self, host: Machine) -> None:
        self.host = host
        self.root = f"{host.state}/networks"
        self.children: list[subprocess.Popen[bytes]] = []
        self.channels: dict[str, socket.socket] = {}
        self.pids: dict[str, int] = {}

    def start(self, *command: str, namespace: bool = False, of: Container | None = None) -> tuple[int, socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        joined = of.pid if of else self.host.pid
        inside = ["nsenter", f"--target={joined}", "--mount", "--net", "--wd=/"]
        words = [word.replace("FD", str(theirs.fileno())) for word in command]
        apart = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "-"] if namespace else []
        child = subprocess.Popen(
            [*inside, *apart, *RUN, *words], pass_fds=[theirs.fileno()], env=dict(self.host.environment)
        )
        theirs.close()
        ours.settimeout(10)
        self.children.append(child)
        return child.pid, ours

    def container(self, name: str) -> Container:
        pid, channel = self.start("container", "FD", name, namespace=True)
        with channel:
            _, fds, _, _ = socket.recv_fds(channel, 1, 5)
        return Container(pid, fds)

    def supervisor(self, project: str = "p") -> None:
        self.pids[project], self.channels[project] = self.start("supervisor", "FD", self.root, project)

    def kill_supervisor(self, project: str = "p") -> None:
        os.kill(self.pids[project], signal.SIGKILL)
        next(c for c in self.children if c.pid == self.pids[project]).wait()
        self.channels.pop(project).close()

    def tell(self, expression: str, fds: list[int] | None = None, project: str = "p") -> str:
        socket.send_fds(self.channels[project], [expression.encode()], fds or [])
        error, text = json.loads(self.channels[project].recv(1 << 16))
        if error:
            raise Failed(f"{error}: {text}")
        return str(text)

    def join(self, container: Container, owner: str, *networks: str, project: str = "p", more: str = "") -> list[str]:
        """Attach, resolve; the addresses without prefix. Names are `web` (all), the owner's, and `owner`id."""
        specs = ", ".join(f'EndpointSpec("{net}", "{owner}", ("web", "{owner}"){more})' for net in networks)
        ports = container.dns_ports
        found = self.tell(f"n.attach(fds[0], fds[1], fds[2], {ports}, [{specs}])", container.fds[:3], project=project)
        self.tell(f'n.resolve("{owner}", fds[0], fds[1])', container.fds[3:], project=project)
        return [part.split("/")[0] for part in found.split("addresses=('")[1:]]

    def ask(self, kind: str, host: str, port: int, times: int = 1, of: Container | None = None) -> list[str]:
        return self.client(kind, host, str(port), str(times), of=of).split()

    def dns(self, of: Container, name: str, kind: int = 1, *rest: str) -> str:
        return self.client("dns", name, str(kind), *rest, of=of)

    def client(self, *words: str, of: Container | None = None) -> str:
        return self.enter(of.pid if of else self.host.pid, *RUN, *words)

    def enter(self, pid: int, *command: str) -> str:
        done = subprocess.run(
            ["nsenter", f"--target={pid}", "--net", *command], capture_output=True, text=True, timeout=20
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def remote(self, link: str = "up0", net: str = "192.0.2") -> Container:
        """A machine behind the uplink `up0`, which asks 192.0.2.1; or behind another link."""
        other = self.container("remote")
        for command in (
            f"link add {link} mtu 1400 type veth peer name {link} netns {other.pid}",
            f"address add {net}.1/24 dev {link}",
            f"link set {link} up",
            *([f"route add default via {net}.2"] if link == "up0" else []),
        ):
            self.enter(self.host.pid, "ip", *command.split())
        for command in (f"address add {net}.2/24 dev {link}", f"link set {link} up", f"route add default via {net}.1"):
            self.enter(other.pid, "ip", *command.split())
        return other

    def rules(self) -> str:
        return self.host.run("nft", "list", "ruleset").stdout

    def close(self) -> None:
        for channel in self.channels.values():
            channel.close()
        for child in self.children:
            child.kill()
            child.wait()


@pytest.fixture
def stage(host: Machine) -> Iterator[Stage]:
    made = Stage(host)
    try:
        made.supervisor()
        yield made
    finally:
        made.close()
        for line in made.rules().splitlines():
            if line.startswith("table"):
                host.run("nft", "delete", *line.removesuffix("{").split())
        for link in json.loads(host.run("ip", "-j", "link").stdout):
            if link["ifname"].startswith(("br-", "pc")):
                host.run("ip", "link", "delete", link["ifname"])
