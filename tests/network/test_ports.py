"""Published ports over files and real sockets of the loopback; the firewall is one that notes what it is asked."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import pytest
from pycompose.network import netlink
from pycompose.network.errors import NetworkError, PortTaken
from pycompose.network.nft.rules import PortRules
from pycompose.network.ports import Ports, port_rules
from pycompose.network.records import Records, boot_id
from pycompose.network.spec import Backend, BoundPort, PortRecord, Publication
from pycompose.network.tasks import Tasks

LOCAL = "127.0.0.1"
A, B = Backend("a", "10.0.0.2"), Backend("b", "10.0.0.3")


class NotingFirewall:
    """In place of the kernel's table: where each port leads."""

    socket = None

    def __init__(self) -> None:
        self.leads: dict[tuple[str, int], tuple[str, ...]] = {}
        self.refuses = False

    def publish(self, ports: Sequence[PortRules]) -> None:
        if self.refuses:
            raise OSError(1, "Operation not permitted")
        self.leads |= {(port.protocol, port.port): port.backends for port in ports}

    def unpublish(self, port: PortRules) -> None:
        del self.leads[port.protocol, port.port]


class Stand:
    """The ports of a project over a folder that others use too."""

    def __init__(self, root: str) -> None:
        self.root, self.firewall, self.opened = root, NotingFirewall(), list[Ports]()
        self.records = Records(root)

    def project(self, name: str) -> Ports:
        ports = Ports(name, Records(self.root), self.firewall, Tasks())  # type: ignore[arg-type]
        self.opened.append(ports)
        return ports

    def close(self) -> None:
        for ports in self.opened:
            for held in ports._held.values():
                for sock in held:
                    sock.close()


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    made = Stand(str(tmp_path))
    yield made
    made.close()


def free(protocol: str = "tcp") -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM) as sock:
        sock.bind((LOCAL, 0))
        return int(sock.getsockname()[1])


def wanted(first: int, last: int | None = None, protocol: str = "tcp", group: str = "p/web") -> Publication:
    return Publication(group, LOCAL, first, first if last is None else last, protocol, 80)  # type: ignore[arg-type]


def taken(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind((LOCAL, port))
        except OSError:
            return True
        return False


def test_a_port_is_reserved_on_the_host_until_it_is_unpublished(stand: Stand) -> None:
    ports, port = stand.project("p"), free()
    published = ports.publish(wanted(port))
    assert published == BoundPort(wanted(port), LOCAL, port)
    assert taken(port)
    assert ports.all("p/web") == [published]
    ports.unpublish(published)
    assert not taken(port)
    assert ports.all() == []
    assert stand.firewall.leads in ({}, {("tcp", port): ()}), "without a network there is no table"


def test_a_publication_that_is_asked_again_keeps_its_port(stand: Stand) -> None:
    ports = stand.project("p")
    ephemeral = ports.publish(wanted(0))
    assert ephemeral.port > 0
    assert ports.publish(wanted(0)) == ephemeral
    assert ports.all() == [ephemeral]


def test_the_first_free_port_of_a_range_is_taken_and_a_full_range_is_an_error(stand: Stand) -> None:
    with socket.socket() as other:
        other.bind((LOCAL, 0))
        other.listen(1)
        first = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {first}/tcp of {LOCAL} is in use .by process "):
            stand.project("p").publish(wanted(first))
        assert stand.records.ports() == [], "nothing half made"
        try:
            published = stand.project("p").publish(wanted(first, first + 20))
        except NetworkError:
            pytest.skip("twenty ports in a row are in use")
        assert first < published.port <= first + 20


def test_a_port_of_another_project_is_told_by_service_and_project(stand: Stand) -> None:
    port = free()
    stand.project("p").publish(wanted(port))
    with pytest.raises(PortTaken) as caught:
        stand.project("q").publish(wanted(port, group="q/api"))
    assert caught.value.holder == 'service "web" of project "p"'


def test_a_firewall_that_refuses_leaves_no_port(stand: Stand) -> None:
    port = free()
    stand.firewall.refuses = True
    with pytest.raises(NetworkError, match="cannot be published: Operation not permitted") as caught:
        stand.project("p").publish(wanted(port))
    assert caught.value.hint == "this needs root"
    assert not taken(port)
    assert stand.records.ports() == []


def test_every_port_of_a_group_leads_to_its_backends_and_no_other_groups(stand: Stand) -> None:
    ports = stand.project("p")
    web, tls, api = [ports.publish(wanted(0, group=group)) for group in ("p/web", "p/web2", "p/api")]
    ports.set_backends("p/web", [A, B])
    assert stand.firewall.leads == {
        ("tcp", web.port): ("10.0.0.2", "10.0.0.3"),
        **dict.fromkeys([("tcp", tls.port), ("tcp", api.port)], ()),
    }
    assert ports.backends("p/web") == [A, B]
    assert ports.backends("p/api") == []


def test_who_has_left_is_a_backend_no_more_and_other_projects_ports_stay(stand: Stand) -> None:
    mine, theirs = stand.project("p"), stand.project("q")
    mine.publish(wanted(0))
    theirs.publish(wanted(0, group="q/web"))
    mine.set_backends("p/web", [A, B])
    theirs.set_backends("q/web", [A])
    mine.without({A.address})
    assert mine.backends("p/web") == [B]
    assert mine.backends("q/web") == [A]


def test_flows_of_datagrams_to_a_backend_that_has_left_are_forgotten_and_no_others(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[tuple[str, int, int]] = []
    monkeypatch.setattr(netlink, "forget_connections", lambda _, *flow: forgotten.append(flow))
    ports = stand.project("p")
    published = ports.publish(wanted(0, protocol="udp"))
    ports.publish(wanted(0))
    ports.set_backends("p/web", [A, B])
    assert forgotten == []
    ports.set_backends("p/web", [B])
    assert forgotten == [(A.address, 17, published.port)]


def test_ports_of_an_earlier_process_are_held_again_with_their_backends(stand: Stand) -> None:
    before, port = stand.project("p"), free()
    published = before.publish(wanted(port))
    before.set_backends("p/web", [A])
    stand.close()
    assert not taken(port)
    after = stand.project("p")
    after.hold_again()
    assert taken(port)
    assert after.publish(wanted(port)) == published
    assert after.backends("p/web") == [A]


def test_ports_of_another_project_are_not_held(stand: Stand) -> None:
    stand.project("q").publish(wanted(port := free()))
    stand.close()
    stand.project("p").hold_again()
    assert not taken(port)


def test_only_ones_own_ports_of_an_earlier_boot_are_forgotten(stand: Stand) -> None:
    old, other, current = (BoundPort(wanted(port), LOCAL, port) for port in (81, 82, 83))
    stand.records.keep_port(PortRecord(old, "p", "earlier"))
    stand.records.keep_port(PortRecord(other, "q", "earlier"))
    stand.records.keep_port(PortRecord(current, "p", boot_id()))
    stand.project("p").forget_old()
    assert {record.published for record in stand.records.ports()} == {other, current}


@pytest.mark.parametrize(
    ("host_ip", "ruled"), [(None, None), ("", None), ("0.0.0.0", None), (LOCAL, LOCAL), ("::1", False), ("::", False)]
)
def test_the_firewall_has_ports_of_ipv4_alone_and_any_address_is_none(
    host_ip: str | None, ruled: str | Literal[False] | None
) -> None:
    publication = Publication("p/web", host_ip, 80, 80, "tcp", 8000)
    rules = port_rules(PortRecord(BoundPort(publication, host_ip or "0.0.0.0", 80), "p", "boot", (A, B)))
    if ruled is False:
        assert rules is None
    else:
        assert rules == PortRules(ruled, 80, "tcp", 8000, ("10.0.0.2", "10.0.0.3"))
