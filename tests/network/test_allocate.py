"""Allocation for new networks, from a host that is a value: subnets, gateways, MTU, names of links."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pycompose.network.allocate import HostState, allocated
from pycompose.network.errors import AddressError, NetworkError
from pycompose.network.spec import NetworkSpec, Pool

HOST = HostState((("172.17.0.0/16", 'network "other"'), ("10.0.0.0/8", "a route of this host")), 1400, True, "boot")
SPEC = NetworkSpec("p_default", "p")


def test_a_network_without_pools_gets_the_first_subnet_that_nobody_has() -> None:
    record = allocated(SPEC, "/root", HOST, 5.0)
    assert record.subnets == ("172.18.0.0/16",)
    assert record.gateways == ("172.18.0.1",)
    assert (record.created, record.boot_id) == (5.0, "boot")


def test_the_uplinks_mtu_is_taken_unless_another_is_asked() -> None:
    assert allocated(SPEC, "/root", HOST, 0).mtu == 1400
    assert allocated(replace(SPEC, mtu=9000), "/root", HOST, 0).mtu == 9000


def test_a_pool_is_taken_with_its_gateway_range_and_reserved_addresses() -> None:
    pool = Pool("192.0.2.0/24", "192.0.2.128/25", "192.0.2.254", ("192.0.2.130",))
    record = allocated(replace(SPEC, pools=(pool,)), "/root", HOST, 0)
    assert (record.subnets, record.gateways) == (("192.0.2.0/24",), ("192.0.2.254",))
    assert (record.ip_range, record.reserved) == ("192.0.2.128/25", ("192.0.2.130",))


def test_a_pool_that_overlaps_names_whose_subnet_it_overlaps() -> None:
    with pytest.raises(AddressError, match=r"overlaps 10\.0\.0\.0/8 of a route of this host"):
        allocated(replace(SPEC, pools=(Pool("10.3.0.0/16"),)), "/root", HOST, 0)


def test_ipv6_gets_a_private_subnet_that_is_the_same_each_time_and_the_ipv4_one_leads() -> None:
    spec = replace(SPEC, ipv6=True)
    record = allocated(spec, "/root", HOST, 0)
    assert record == allocated(spec, "/root", HOST, 0)
    assert record.subnets[0] == "172.18.0.0/16"
    assert record.subnets[1].startswith("fd")
    assert record.gateways[1] == record.subnets[1].replace("/64", "1")
    assert record.subnets[1] != allocated(replace(spec, name="p_back"), "/root", HOST, 0).subnets[1]
    assert record.subnets[1] != allocated(spec, "/another", HOST, 0).subnets[1]


def test_a_pool_of_ipv6_is_taken_whatever_the_order_of_pools() -> None:
    pools = (Pool("2001:db8::/64", gateway="2001:db8::9"), Pool("192.0.2.0/24"))
    for given in (pools, pools[::-1]):
        record = allocated(replace(SPEC, ipv6=True, pools=given), "/root", HOST, 0)
        assert record.subnets == ("192.0.2.0/24", "2001:db8::/64")
        assert record.gateways == ("192.0.2.1", "2001:db8::9")


def test_ipv6_on_a_host_without_it_is_refused_with_what_to_do() -> None:
    with pytest.raises(NetworkError, match="this host has no IPv6") as caught:
        allocated(replace(SPEC, ipv6=True), "/root", replace(HOST, ipv6=False), 0)
    assert caught.value.hint == "leave enable_ipv6 out"
    assert allocated(SPEC, "/root", replace(HOST, ipv6=False), 0).subnets == ("172.18.0.0/16",)


def test_the_links_name_is_the_asked_one_or_made_from_root_and_network() -> None:
    assert allocated(replace(SPEC, bridge="br-mine"), "/root", HOST, 0).bridge == "br-mine"
    names = {allocated(SPEC, root, HOST, 0).bridge for root in ("/root", "/root", "/another")}
    assert len(names) == 2
    assert all(name.startswith("br-") and len(name) <= 15 for name in names)


def test_what_the_spec_says_of_isolation_and_labels_is_kept() -> None:
    spec = replace(SPEC, internal=True, masquerade=False, labels={"a": "b"})
    record = allocated(spec, "/root", HOST, 0)
    assert (record.internal, record.masquerade, dict(record.labels)) == (True, False, {"a": "b"})
