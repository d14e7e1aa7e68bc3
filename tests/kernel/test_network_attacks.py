"""Attacks of a container on the host's network and on its neighbours, with forged frames (CVEs named). Needs root.

Containers here are bare namespaces, with no parameter set inside: what holds is held from outside of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pycompose.network.nft import guard

from . import frames
from .network_tools import RUN, Container, Stage, stage

pytestmark = pytest.mark.usefixtures("root", "ip_and_nft")
__all__ = ["stage"]
RECEIVER = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2])))
print("up", flush=True)
while True:
    data, sender = s.recvfrom(99)
    print(data.decode(), sender[0], flush=True)
"""


def mac_of(stage: Stage, pid: int, link: str) -> str:
    return str(json.loads(stage.enter(pid, "ip", "-j", "link", "show", link))[0]["address"])


def own_address(stage: Stage, pid: int, link: str) -> str:
    """The IPv6 address that a link has given itself."""
    return guard.link_local(mac_of(stage, pid, link))


def bridge_of(record: str) -> str:
    return record.split("bridge='")[1].split("'")[0]


def send(stage: Stage, of: Container, *messages: bytes, link: str = "eth0") -> None:
    stage.enter(of.pid, *RUN, "frames", link, *(message.hex() for message in messages))


@contextmanager
def receiving(stage: Stage, pid: int, address: str, port: int) -> Iterator[Any]:
    """A receiver of datagrams; called with none, it gives the next line that it printed."""
    command = ["nsenter", f"--target={pid}", "--net", sys.executable, "-c", RECEIVER, address, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "up\n"
            yield child.stdout.readline
        finally:
            child.kill()


def honest(stage: Stage, of: Container, address: str, port: int) -> None:
    """A datagram as the kernel sends it: what was forged before it has had its time."""
    family = "socket.AF_INET6" if ":" in address else "socket.AF_INET"
    program = f"import socket; socket.socket({family}, socket.SOCK_DGRAM).sendto(b'honest', ({address!r}, {port}))"
    stage.enter(of.pid, sys.executable, "-c", program)


def neighbours(stage: Stage, pid: int, *family: str) -> dict[str, str]:
    listed = json.loads(stage.enter(pid, "ip", *family, "-j", "neigh", "show"))
    return {entry["dst"]: entry.get("lladdr", "") for entry in listed}


def test_a_flood_of_questions_leaves_others_theirs_and_costs_the_supervisor_little(stage: Stage) -> None:
    a, b = stage.container("a"), stage.container("b")
    command = ["nsenter", f"--target={stage.host.pid}", "--net", *RUN, "upstream", "127.0.0.9"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as upstream:
        try:
            assert upstream.stdout is not None
            assert upstream.stdout.readline() == "up\n"
            stage.tell('setattr(n.dns, "_fixed", ("127.0.0.9",))')
            stage.tell('n.create(NetworkSpec("front", "p"))')
            (ip_a,), (ip_b,) = stage.join(a, "a", "front"), stage.join(b, "b", "front")
            for one in (a, b):  # whatever is made once
                assert stage.dns(one, "good.example") == "0 192.0.2.9"
                assert stage.dns(one, "web", 1, "tcp") == f"0 {ip_a} {ip_b}"
            before = memory(stage.pids["p"])
            _, channel = stage.start("flood", "FD", of=a)
            with channel:
                channel.settimeout(60)
                assert channel.recv(1) == b"x"
                asked = time.monotonic()
                for _ in range(3):
                    assert stage.dns(b, "good.example") == "0 192.0.2.9", "while the other's wait for answers"
                    assert stage.dns(b, "good.example", 1, "tcp") != "", "refused by that upstream, in time"
                    assert stage.dns(b, "web") == f"0 {ip_a} {ip_b}"
                    assert stage.dns(b, "web", 1, "tcp") == f"0 {ip_a} {ip_b}"
                assert time.monotonic() - asked < 10
                assert memory(stage.pids["p"]) - before < 10 << 20
                table = stage.enter(a.pid, "cat", "/proc/net/tcp").splitlines()
                served = len(os.listdir(f"/proc/{stage.pids['p']}/fd"))
                assert served < 32 + 64 + 50, "32 connections, 64 questions, and what is always open"
                assert len(table) > 60, "they were tried"
        finally:
            upstream.kill()


def memory(pid: int) -> int:
    """Bytes that are a process's own."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        lines = dict(line.split(":") for line in file if ":" in line and "-" not in line.split(":")[0])
    return sum(int(lines[name].split()[0]) << 10 for name in ("Private_Clean", "Private_Dirty"))


@pytest.mark.parametrize("ipv6", [False, True])
def test_a_router_advertisement_steers_neither_host_nor_neighbours(stage: Stage, ipv6: bool) -> None:
    """CVE-2020-13401."""
    a, b = stage.container("a"), stage.container("b")
    bridge = bridge_of(stage.tell(f'n.create(NetworkSpec("front", "p", ipv6={ipv6}))'))
    stage.join(a, "a", "front")
    stage.join(b, "b", "front")
    for sender in ("fe80::bad", own_address(stage, a.pid, "eth0")):
        send(stage, a, *[frames.router_advertisement(mac_of(stage, a.pid, "eth0"), sender)] * 3)
    for pid in (stage.host.pid, b.pid):
        assert "2001:db8:bad" not in stage.enter(pid, "ip", "-6", "address"), "no address"
        assert "default" not in stage.enter(pid, "ip", "-6", "route"), "no route"
    assert bridge in stage.enter(stage.host.pid, "ip", "link"), "it was there"


def test_the_host_forwards_for_nobody_else_when_we_switched_forwarding_on(stage: Stage) -> None:
    a = stage.container("a")
    remote, other = stage.remote(), stage.remote("up1", "198.51.100")
    host = stage.host.pid
    stage.enter(host, "sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward")
    stage.tell('n.create(NetworkSpec("front", "p"))')
    stage.join(a, "a", "front")
    assert stage.enter(host, "cat", "/proc/sys/net/ipv4/ip_forward") == "1"
    assert stage.ask("tcp", "198.51.100.2", 80, of=remote) == ["timeout"]
    assert stage.ask("tcp", "192.0.2.2", 80, of=other) == ["timeout"]
    assert stage.ask("tcp", "192.0.2.2", 80, of=a) == ["remote"]
    stage.kill_supervisor()
    stage.host.run("nft", "flush", "ruleset")
    stage.supervisor()
    stage.tell("n.recover()")
    assert stage.ask("tcp", "198.51.100.2", 80, of=remote) == ["timeout"], "also of rules that are made again"
    stage.tell('n.detach("a")')
    stage.tell('n.remove("front")')
    assert stage.enter(host, "cat", "/proc/sys/net/ipv4/ip_forward") == "0"
    assert stage.rules() == ""


def test_a_host_that_forwards_by_its_own_will_goes_on_to_do_so(stage: Stage) -> None:
    remote, _ = stage.remote(), stage.remote("up1", "198.51.100")
    stage.enter(stage.host.pid, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    stage.tell('n.create(NetworkSpec("front", "p"))')
    assert stage.ask("tcp", "198.51.100.2", 80, of=remote) == ["remote"]


def test_a_forged_source_reaches_neither_host_nor_neighbours(stage: Stage) -> None:
    a, b, c = (stage.container(name) for name in "abc")
    stage.remote()
    bridge = bridge_of(stage.tell('n.create(NetworkSpec("front", "p"))'))
    stage.tell('n.create(NetworkSpec("back", "p"))')
    (ip_a,), (ip_b,) = stage.join(a, "a", "front"), stage.join(b, "b", "front")
    (ip_c,) = stage.join(c, "c", "back")
    macs = {pid: mac_of(stage, pid, link) for pid, link in ((a.pid, "eth0"), (b.pid, "eth0"), (stage.host.pid, bridge))}
    forged = ("127.0.0.5", "192.0.2.1", "192.0.2.2", "172.17.0.1", ip_b, ip_c, "8.8.8.8", "172.17.9.9", "0.0.0.0")
    for pid, address in ((stage.host.pid, "172.17.0.1"), (b.pid, ip_b)):
        with receiving(stage, pid, address, 7000) as received:
            for source in forged:
                send(stage, a, frames.datagram(macs[pid], macs[a.pid], source, address, 7000))
            honest(stage, a, address, 7000)
            assert received() == f"honest {ip_a}\n"


def test_a_forged_ipv6_source_reaches_neither_host_nor_neighbours(stage: Stage) -> None:
    a, b = stage.container("a"), stage.container("b")
    pools = 'pools=(Pool("fd11::/64"),)'
    bridge = bridge_of(stage.tell(f'n.create(NetworkSpec("front", "p", ipv6=True, {pools}))'))
    stage.join(a, "a", "front")
    stage.join(b, "b", "front")
    macs = {pid: mac_of(stage, pid, link) for pid, link in ((a.pid, "eth0"), (b.pid, "eth0"), (stage.host.pid, bridge))}
    for pid, address in ((stage.host.pid, "fd11::1"), (b.pid, "fd11::3")):
        with receiving(stage, pid, address, 7000) as received:
            for source in ("::1", "fd11::3", "fd11::1", "fd11::99", "2001:db8::9", own_address(stage, b.pid, "eth0")):
                send(stage, a, frames.datagram6(macs[pid], macs[a.pid], source, address, 7000))
            honest(stage, a, address, 7000)
            assert received() == "honest fd11::2\n"


@pytest.mark.parametrize("trusted", [False, True])
def test_who_has_an_address_cannot_be_forged(stage: Stage, trusted: bool) -> None:
    """ARP, and IPv6's neighbour discovery; by a container that may administer its network, too."""
    a, b, c = (stage.container(name) for name in "abc")
    pools = 'pools=(Pool("fd11::/64"),)'
    bridge = bridge_of(stage.tell(f'n.create(NetworkSpec("front", "p", ipv6=True, {pools}))'))
    (ip_a, ip_b, ip_c), host = (
        [
            stage.join(one, name, "front", more=", trusted=True" * (trusted and one is a))[0]
            for one, name in zip((a, b, c), "abc", strict=True)
        ],
        stage.host.pid,
    )
    gateway = mac_of(stage, host, bridge)
    mac_a, mac_b, mac_c = (mac_of(stage, one.pid, "eth0") for one in (a, b, c))
    six = {"fd11::1": gateway, "fd11::4": mac_c}
    four = {"172.17.0.1": gateway, ip_c: mac_c}
    assert stage.ask("tcp", ip_c, 80, of=b) == ["c"]
    assert stage.ask("tcp", ip_c, 80) == ["c"]
    for pid in (b.pid, host):
        for address in six:
            stage.enter(pid, sys.executable, "-c", f"import socket; socket.socket(10, 2).sendto(b'', ('{address}', 9))")
    stage.ask("tcp", "172.17.0.1", 80, of=b)
    for victim, of, address in ((mac_b, ip_b, "fd11::3"), (gateway, "172.17.0.1", "fd11::1")):
        for claimed in four:
            send(stage, a, frames.arp_reply(victim, mac_a, (mac_a, claimed), (victim, of)))
            send(stage, a, frames.arp_reply(frames.EVERYBODY, mac_a, (mac_a, claimed), (mac_a, claimed)))
        for claimed in six:
            for sender in ("fd11::2", claimed):
                send(stage, a, frames.neighbour_advertisement(victim, mac_a, sender, address, claimed))
            send(stage, a, frames.neighbour_question(victim, mac_a, claimed, address))
    for pid in (b.pid, host):
        known = {**neighbours(stage, pid), **neighbours(stage, pid, "-6")}
        for address, mac in {**four, **six}.items():
            assert known.get(address, mac) == mac, (address, "is said to be at", known[address])
    assert stage.ask("tcp", ip_c, 80, of=b) == ["c"]
    assert stage.ask("tcp", ip_a, 80, of=b) == ["a"], "who speaks for itself is heard"


@pytest.mark.parametrize("trusted", [False, True])
def test_a_neighbours_mac_cannot_be_taken(stage: Stage, trusted: bool) -> None:
    a, b, c = (stage.container(name) for name in "abc")
    bridge = bridge_of(stage.tell('n.create(NetworkSpec("front", "p"))'))
    for one, name in ((a, "a"), (b, "b"), (c, "c")):
        stage.join(one, name, "front", more=", trusted=True" * (trusted and one is a))
    mac_a, mac_c, gateway = (
        mac_of(stage, a.pid, "eth0"),
        mac_of(stage, c.pid, "eth0"),
        mac_of(stage, stage.host.pid, bridge),
    )
    for one in (a, b, c):  # else they speak by themselves, and are learned again
        stage.enter(one.pid, "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
    for of in (a, b):
        assert stage.ask("tcp", "172.17.0.4", 80, of=of) == ["c"]

    def learned() -> dict[str, str]:
        entries = json.loads(stage.enter(stage.host.pid, "bridge", "-j", "fdb", "show", "br", bridge))
        return {entry["mac"]: entry["ifname"] for entry in entries if "permanent" not in entry["state"]}

    before = learned()
    assert before[mac_c] != before[mac_a]
    for stolen in (mac_c, gateway):
        send(stage, a, *[frames.ethernet(frames.EVERYBODY, stolen, 0x88B5, bytes(50))] * 3)
        send(
            stage, a, *[frames.arp_reply(frames.EVERYBODY, stolen, (stolen, "172.17.0.2"), (stolen, "172.17.0.2"))] * 3
        )
    assert learned() == before
    assert stage.ask("tcp", "172.17.0.4", 80, of=b) == ["c"]


def test_a_container_cannot_fill_the_bridges_memory_with_macs(stage: Stage) -> None:
    a, b = stage.container("a"), stage.container("b")
    bridge = bridge_of(stage.tell('n.create(NetworkSpec("front", "p"))'))
    stage.join(a, "a", "front")
    stage.join(b, "b", "front", more=", trusted=True")
    numbers = [f"02:99:00:00:{n >> 8:02x}:{n & 255:02x}" for n in range(5000)]
    flood = [frames.ethernet(frames.EVERYBODY, number, 0x88B5, b"") for number in numbers]

    def learned() -> int:
        return stage.enter(stage.host.pid, "bridge", "fdb", "show", "br", bridge).count("02:99:")

    send(stage, a, *flood)
    assert learned() == 0
    send(stage, b, *flood)
    assert learned() <= 4096, "from 6.7"


def test_a_container_that_administers_its_network_may_route_for_others(stage: Stage) -> None:
    """Routers, virtual addresses and VPNs in containers with NET_ADMIN work as they do with Docker."""
    a, b = stage.container("a"), stage.container("b")
    stage.tell('n.create(NetworkSpec("front", "p"))')
    stage.join(a, "a", "front", more=", trusted=True")
    (ip_b,) = stage.join(b, "b", "front")
    stage.enter(a.pid, "ip", "address", "add", "172.17.0.200/16", "dev", "eth0")
    assert stage.ask("tcp", "172.17.0.200", 80, of=b) == ["a"], "a virtual address"
    with receiving(stage, b.pid, ip_b, 7000) as received:
        mac_a, mac_b = mac_of(stage, a.pid, "eth0"), mac_of(stage, b.pid, "eth0")
        send(stage, a, frames.datagram(mac_b, mac_a, "10.8.0.2", ip_b, 7000))
        assert received() == "forged 10.8.0.2\n", "from behind it"


def test_every_link_has_the_parameters_of_its_kind(stage: Stage) -> None:
    for name, ipv6 in (("four", False), ("both", True)):
        bridge = bridge_of(stage.tell(f'n.create(NetworkSpec("{name}", "p", ipv6={ipv6}))'))
        stage.join(stage.container(name), name, name, more=f', interface="{name}"')
        wanted = {
            "ipv4/rp_filter": "1",
            "ipv4/route_localnet": "1",  # for 127.0.0.1:PORT of the host; the firewall lets no container use it
            "ipv4/accept_redirects": "0",
            "ipv4/accept_source_route": "0",
            "ipv4/arp_ignore": "1",
            "ipv4/arp_announce": "2",
            "ipv4/arp_accept": "0",
            "ipv6/accept_ra": "0",
            "ipv6/autoconf": "0",
            "ipv6/accept_redirects": "0",
            "ipv6/disable_ipv6": "0" if ipv6 else "1",
        }
        assert parameters(stage, bridge, wanted) == wanted
    ports = [
        link["ifname"]
        for link in json.loads(stage.enter(stage.host.pid, "ip", "-j", "link"))
        if link["ifname"].startswith("pc")
    ]
    assert len(ports) == 2
    for port in ports:
        wanted = {"ipv6/accept_ra": "0", "ipv6/autoconf": "0", "ipv6/disable_ipv6": "1"}
        assert parameters(stage, port, wanted) == wanted


def parameters(stage: Stage, link: str, names: Any) -> dict[str, str]:
    paths = {
        name: "/proc/sys/net/{}/conf/{}/{}".format(*name.split("/")[:1], link, name.split("/")[1]) for name in names
    }
    return {name: stage.enter(stage.host.pid, "cat", path) for name, path in paths.items()}
