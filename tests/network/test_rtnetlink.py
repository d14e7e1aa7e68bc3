"""Messages of links, addresses and routes are what pyroute2 encodes, byte by byte; answers are read as it does."""

from __future__ import annotations

import socket
import struct
from typing import Any

import pytest
from pycompose.network import rtnetlink
from pycompose.network.rtnetlink import ACK, CREATE, DUMP, EXCL, REQUEST, Link, Route
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.rtmsg import rtmsg  # type: ignore[import-untyped]

MAC = "02:42:ac:11:00:02"


def encoded(message: Any, kind: int, flags: int) -> bytes:
    message["header"]["type"], message["header"]["flags"] = kind, flags | REQUEST
    message.encode()
    return bytes(message.data) + bytes(-len(message.data) % 4)


def link(
    attributes: list[Any], flags: int, *, index: int = 0, up: bool = False, kind: int = rtnetlink.NEWLINK
) -> bytes:
    message = ifinfmsg()
    message["index"] = index
    if up:
        message["flags"] = message["change"] = rtnetlink.UP
    message["attrs"] = attributes
    return encoded(message, kind, flags)


def test_a_bridge() -> None:
    limit = {"attrs": [("IFLA_BR_AGEING_TIME", 4096)]}  # pyroute2 does not know the one that is meant: 49, not 4
    info = ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", limit)]})
    attributes = [("IFLA_IFNAME", "br-0123"), ("IFLA_MTU", 1400), ("IFLA_ADDRESS", MAC), info]
    expected = link(attributes, ACK | CREATE | EXCL)
    before, after = (struct.pack("=HHI", 8, number, 4096) for number in (4, 49))
    assert expected.count(before) == 1
    assert rtnetlink.new_bridge("br-0123", 1400, MAC) == expected.replace(before, after)


@pytest.mark.parametrize(("name", "peer"), [("pc0123456789abc", "eth0"), ("pcx", "lan17")])
def test_a_pair(name: str, peer: str) -> None:
    inside: list[Any] = [("IFLA_IFNAME", peer), ("IFLA_ADDRESS", MAC), ("IFLA_MTU", 1400), ("IFLA_NET_NS_FD", 17)]
    data = {"attrs": [("VETH_INFO_PEER", {"attrs": inside})]}
    info = ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data)]})
    outside = [("IFLA_IFNAME", name), ("IFLA_MTU", 1400), ("IFLA_MASTER", 70000), info]
    expected = link(outside, ACK | CREATE | EXCL)
    assert rtnetlink.new_veth(name, 70000, peer, 17, MAC, 1400) == expected


def test_a_port_that_sends_back() -> None:
    data = {"attrs": [("IFLA_BRPORT_MODE", 1)]}
    slave = [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", data)]
    assert rtnetlink.hairpin("pc1") == link([("IFLA_IFNAME", "pc1"), ("IFLA_LINKINFO", {"attrs": slave})], ACK)


def test_changes_of_a_link() -> None:
    assert rtnetlink.set_master(7, 9) == link([("IFLA_MASTER", 9)], ACK, index=7)
    assert rtnetlink.link_up(12) == link([], ACK, index=12, up=True)
    assert rtnetlink.link_up(name="pc1") == link([("IFLA_IFNAME", "pc1")], ACK, up=True)
    assert rtnetlink.delete_link("pc1") == link([("IFLA_IFNAME", "pc1")], ACK, kind=rtnetlink.DELLINK)


def test_questions() -> None:
    assert rtnetlink.get_link("eth0") == link([("IFLA_IFNAME", "eth0")], 0, kind=rtnetlink.GETLINK)
    assert rtnetlink.get_link(index=3) == link([], 0, index=3, kind=rtnetlink.GETLINK)
    dump = rtmsg()
    dump["family"] = socket.AF_INET
    assert rtnetlink.get_routes() == encoded(dump, rtnetlink.GETROUTE, DUMP)


@pytest.mark.parametrize(
    ("address", "broadcast"),
    [
        ("172.17.0.2/16", "172.17.255.255"),
        ("10.0.0.5/29", "10.0.0.7"),
        ("10.9.8.6/31", ""),
        ("10.9.8.7/32", ""),
        ("fd00::5/64", ""),
    ],
)
def test_an_address(address: str, broadcast: str) -> None:
    host, _, prefix = address.partition("/")
    message = ifaddrmsg()
    message["family"] = socket.AF_INET6 if ":" in host else socket.AF_INET
    message["prefixlen"], message["index"] = int(prefix), 3
    message["flags"] = rtnetlink.NODAD if ":" in host else 0
    message["attrs"] = [("IFA_LOCAL", host), ("IFA_ADDRESS", host)]
    message["attrs"] += [("IFA_BROADCAST", broadcast)] if broadcast else []
    assert rtnetlink.new_address(3, address) == encoded(message, rtnetlink.NEWADDR, ACK | CREATE | EXCL)


@pytest.mark.parametrize("gateway", ["172.17.0.1", "fd00::1"])
def test_a_default_route(gateway: str) -> None:
    message = rtmsg()
    message["family"] = socket.AF_INET6 if ":" in gateway else socket.AF_INET
    message["table"], message["proto"], message["scope"], message["type"] = 254, 3, 0, 1
    message["attrs"] = [("RTA_GATEWAY", gateway), ("RTA_OIF", 9)]
    assert rtnetlink.default_route(9, gateway) == encoded(message, rtnetlink.NEWROUTE, ACK | CREATE | EXCL)


def payload(message: Any, kind: int) -> bytes:
    return encoded(message, kind, 0)[16:]


def test_a_link_is_read_from_an_answer() -> None:
    answer = ifinfmsg()
    answer["index"] = 5
    answer["attrs"] = [("IFLA_IFNAME", "br-x"), ("IFLA_TXQLEN", 1000), ("IFLA_MTU", 9000)]
    assert rtnetlink.as_link(payload(answer, rtnetlink.NEWLINK)) == Link(5, "br-x", 9000)


def test_routes_are_read_from_answers() -> None:
    route = rtmsg()
    route["family"], route["dst_len"] = socket.AF_INET, 16
    route["attrs"] = [("RTA_TABLE", 254), ("RTA_DST", "10.3.0.0"), ("RTA_PRIORITY", 100), ("RTA_OIF", 4)]
    assert rtnetlink.as_route(payload(route, rtnetlink.NEWROUTE)) == Route("10.3.0.0/16", 4, 100)
    default = rtmsg()
    default["family"] = socket.AF_INET
    default["attrs"] = [("RTA_GATEWAY", "10.3.0.1"), ("RTA_OIF", 4)]
    assert rtnetlink.as_route(payload(default, rtnetlink.NEWROUTE)) == Route("", 4, 0)


def test_an_answer_that_is_cut_off_ends() -> None:
    header = bytes(12)
    assert rtnetlink.as_route(header + struct.pack("=HH", 0, 1)) == Route("", 0, 0)
