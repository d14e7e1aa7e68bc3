"""Choice of subnets for networks, and of addresses, MACs and link names for endpoints. Pure.

What is taken arrives as arguments; addresses are text, without prefix length unless a docstring says otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network

from .errors import AddressError
from .spec import Pool

# Docker's default pools (moby daemon/libnetwork/ipamutils): 172.17/16 … 172.31/16, then 192.168.0.0/16 in /20s.
POOLS = tuple(IPv4Network(f"172.{n}.0.0/16") for n in range(17, 32)) + tuple(
    IPv4Network("192.168.0.0/16").subnets(new_prefix=20)
)


def choose_subnet(taken: Iterable[str]) -> str:
    """The first pool that overlaps none of `taken`: routes of the host, other networks. Raises AddressError."""
    used = [subnet for subnet in (ip_network(text, strict=False) for text in taken) if subnet.prefixlen]
    for pool in POOLS:
        if not any(subnet.version == 4 and pool.overlaps(subnet) for subnet in used):
            return str(pool)
    raise AddressError("no free subnet is left for a network", hint="name one under ipam.config.subnet")


def checked_subnet(text: str, network: str, taken: Iterable[tuple[str, str]]) -> str:
    """The subnet that a user names; `taken` are subnets, each with words for whose it is. Raises AddressError."""
    try:
        subnet = ip_network(text)
    except ValueError as error:
        raise AddressError(f'network "{network}": "{text}" is not a subnet: {error}') from error
    for other, whose in taken:
        existing = ip_network(other, strict=False)
        if existing.prefixlen and existing.version == subnet.version and subnet.overlaps(existing):
            hint = "choose another under ipam.config.subnet, or leave it out: a free one is found"
            raise AddressError(f'network "{network}": subnet {subnet} overlaps {other} of {whose}', hint=hint)
    return str(subnet)


def private_subnet6(*parts: str) -> str:
    """A /64 out of fd00::/8 (RFC 4193) made from what it stands for: as good as unique, and always the same."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return str(IPv6Network((bytes([0xFD]) + digest[:7] + bytes(8), 64)))


def gateway_of(pool: Pool, subnet: str) -> str:
    """The asked gateway, or the first address of the subnet. Raises AddressError."""
    net = ip_network(subnet)
    try:
        gateway = ip_address(pool.gateway) if pool.gateway else net[1]
    except (ValueError, IndexError) as error:
        raise AddressError(f"subnet {subnet} has no room for a gateway and containers") from error
    if gateway not in net:
        raise AddressError(f"gateway {gateway} is not in subnet {subnet}")
    return str(gateway)


@lru_cache(maxsize=65536)
def _number(address: str) -> int:
    """An address as a number; remembered, for it is asked of every taken address whenever one is chosen."""
    return int(ip_address(address))


def choose_address(
    subnet: str,
    taken: Collection[str],
    *,
    wanted: str | None = None,
    range_: str | None = None,
    later: Collection[str] = (),
) -> str:
    """An address of `subnet` that is not in `taken`, out of `range_` if there is one; or `wanted` itself.

    Those of `later` are given only when nothing else is left: their links may not have gone yet. Raises AddressError.
    """
    net = ip_network(subnet)
    if wanted is not None:
        try:
            address = ip_address(wanted)
        except ValueError as error:
            raise AddressError(f'"{wanted}" is not an address') from error
        if address not in net:
            raise AddressError(f"address {wanted} is not in subnet {subnet}")
        if net.prefixlen < net.max_prefixlen - 1 and address in (net[0], net[-1]):
            which = "first" if address == net[0] else "last"
            raise AddressError(f"address {wanted} is the {which} of {subnet}, which no host can have")
        if str(address) in taken:
            raise AddressError(f"address {wanted} is already in use")
        return str(address)
    source = ip_network(range_, strict=False) if range_ else net
    kind = type(net.network_address)
    used = {_number(a) for a in taken if (":" in a) == (net.version == 6)}
    if net.prefixlen < net.max_prefixlen - 1:
        used |= {int(net.network_address), int(net.broadcast_address)}
    waiting = {_number(a) for a in later}
    first = max(int(source.network_address), int(net.network_address))
    last = min(int(source.broadcast_address), int(net.broadcast_address))
    for refused in (used | waiting, used):
        for number in range(first, min(last, first + len(refused)) + 1):
            if number not in refused:
                return str(kind(number))
    raise AddressError(f"subnet {range_ or subnet} has no free address", hint="use a larger subnet")


def address6_of(subnet6: str, subnet4: str, address4: str) -> str:
    """The IPv6 address at the same place as the IPv4 one: it is free when that is."""
    place = int(ip_address(address4)) - int(ip_network(subnet4).network_address)
    return str(ip_network(subnet6)[place])


def address4_of(subnet4: str, subnet6: str, address6: str) -> str | None:
    """The IPv4 address at the same place as the IPv6 one; None where there is no such place."""
    place = int(ip_address(address6)) - int(ip_network(subnet6).network_address)
    net = ip_network(subnet4)
    return str(net[place]) if 0 <= place < net.num_addresses else None


def mac_of(address: str) -> str:
    """A locally administered MAC made from an IPv4 address (02:42:…, as Docker's), so that ARP caches stay right."""
    return "02:42:" + ":".join(f"{b:02x}" for b in IPv4Address(address).packed)


def link_name(prefix: str, *parts: str) -> str:
    """A link's name from what it stands for: stable, and no longer than IFNAMSIZ - 1."""
    return prefix + hashlib.sha256("\0".join(parts).encode()).hexdigest()[: 15 - len(prefix)]
