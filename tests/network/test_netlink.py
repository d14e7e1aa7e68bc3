"""What is cast from a mold is what pyroute2 encodes."""

from __future__ import annotations

from typing import Any

import pytest
from pycompose.network import netlink


@pytest.mark.parametrize(("name", "peer"), [("pc0123456789abc", "eth0"), ("pcx", "lan17")])
def test_a_pair(name: str, peer: str) -> None:
    inside: list[Any] = [("IFLA_IFNAME", peer), ("IFLA_ADDRESS", "02:42:ac:11:00:02"), ("IFLA_MTU", 1400)]
    data = {"attrs": [("VETH_INFO_PEER", {"attrs": [*inside, ("IFLA_NET_NS_FD", 17)]})]}
    info = ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data)]})
    outside = [("IFLA_IFNAME", name), ("IFLA_MTU", 1400), ("IFLA_MASTER", 70000), info]
    expected = netlink._link(outside, netlink.CREATE | netlink.EXCL, up=True)
    assert netlink.new_veth(name, 70000, peer, 17, "02:42:ac:11:00:02", 1400) == expected


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
    assert netlink.new_address(3, address) == netlink._address(3, int(prefix), host, broadcast)


@pytest.mark.parametrize("gateway", ["172.17.0.1", "fd00::1"])
def test_a_default_route(gateway: str) -> None:
    assert netlink.default_route(9, gateway) == netlink._route(9, gateway)


def test_a_link_that_goes_up() -> None:
    assert netlink.link_up(12) == netlink._link([], 0, index=12, up=True)


def test_a_mold_without_its_mark_is_refused() -> None:
    with pytest.raises(ValueError, match="mark"):
        netlink.Mold(b"abc", b"d")
