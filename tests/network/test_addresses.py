"""Subnets and addresses: pure choices."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycompose.network.addresses import (
    address6_of,
    checked_subnet,
    choose_address,
    choose_subnet,
    gateway_of,
    link_name,
    mac_of,
    private_subnet6,
)
from pycompose.network.errors import AddressError
from pycompose.network.spec import Pool


def test_the_first_pool_that_overlaps_nothing_is_taken() -> None:
    assert choose_subnet([]) == "172.17.0.0/16"
    assert choose_subnet(["0.0.0.0/0", "172.17.5.0/24", "172.18.0.0/15"]) == "172.20.0.0/16"
    assert choose_subnet(["172.16.0.0/12"]) == "192.168.0.0/20"
    with pytest.raises(AddressError, match="no free subnet"):
        choose_subnet(["172.16.0.0/12", "192.168.0.0/16"])


def test_a_subnet_that_overlaps_says_with_what() -> None:
    taken = [("10.0.0.0/8", "a route of this host through eth0"), ("fd00::/64", 'network "x"')]
    with pytest.raises(AddressError, match=r'network "n": subnet 10.1.0.0/16 overlaps 10.0.0.0/8 of a route .* eth0'):
        checked_subnet("10.1.0.0/16", "n", taken)
    with pytest.raises(AddressError, match="is not a subnet"):
        checked_subnet("10.1.0.1/16", "n", taken)
    assert checked_subnet("11.0.0.0/8", "n", taken) == "11.0.0.0/8"


def test_the_gateway_is_the_first_address_or_the_asked_one() -> None:
    assert gateway_of(Pool(), "10.0.0.0/24") == "10.0.0.1"
    assert gateway_of(Pool(gateway="10.0.0.9"), "10.0.0.0/24") == "10.0.0.9"
    with pytest.raises(AddressError, match="not in subnet"):
        gateway_of(Pool(gateway="10.0.1.9"), "10.0.0.0/24")
    with pytest.raises(AddressError, match="no room"):
        gateway_of(Pool(), "10.0.0.0/32")


@given(st.sets(st.integers(0, 31)), st.sets(st.integers(0, 31)))
def test_an_address_is_free_and_in_the_subnet_and_a_recent_one_is_the_last_choice(
    used: set[int], recent: set[int]
) -> None:
    net = ip_network("10.0.0.0/27")
    taken, later = {str(net[n]) for n in used}, {str(net[n]) for n in recent}
    usable = {str(a) for a in net.hosts()} - taken
    if not usable:
        with pytest.raises(AddressError, match="no free address"):
            choose_address(str(net), taken, later=later)
        return
    got = choose_address(str(net), taken, later=later)
    assert got in usable
    assert (got in later) == (not usable - later)
    assert ip_address(got) == min(map(ip_address, (usable - later) or usable))


def test_a_wanted_address_is_given_or_refused() -> None:
    assert choose_address("10.0.0.0/24", set(), wanted="10.0.0.77") == "10.0.0.77"
    for subnet, ends in (("10.0.0.0/27", ("10.0.0.0", "10.0.0.31")), ("fd00::/126", ("fd00::", "fd00::3"))):
        for address in ends:
            with pytest.raises(AddressError, match=f"address {address} is the (first|last) of {subnet}"):
                choose_address(subnet, set(), wanted=address)
    assert choose_address("10.0.0.0/31", set(), wanted="10.0.0.0") == "10.0.0.0", "a pair has no others (RFC 3021)"
    for wanted, why in (("10.0.1.1", "not in subnet"), ("10.0.0.2", "already in use"), ("x", "is not an address")):
        with pytest.raises(AddressError, match=why):
            choose_address("10.0.0.0/24", {"10.0.0.2"}, wanted=wanted)
    assert choose_address("10.0.0.0/24", set(), range_="10.0.0.128/25") == "10.0.0.128"


def test_what_is_made_from_something_is_always_the_same() -> None:
    assert mac_of("10.1.2.255") == "02:42:0a:01:02:ff"
    assert link_name("br-", "a", "b") == link_name("br-", "a", "b") != link_name("br-", "ab", "")
    assert len(link_name("br-", "x")) == 15
    six = ip_network(private_subnet6("root", "net"))
    assert six.prefixlen == 64
    assert six.subnet_of(ip_network("fd00::/8"))  # type: ignore[arg-type]
    assert address6_of(str(six), "10.0.0.0/24", "10.0.0.7") == str(six[7])
