"""Which subnet a network gets and which address an endpoint gets. Pure: what is taken arrives as arguments."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network

from .errors import AddressError
from .spec import Pool

# Docker's default pools (moby daemon/libnetwork/ipamutils): 172.17/16 … 172.31/16, then 192.168.0.0/16 in /20s.
POOLS = tuple(IPv4Network(f"172.{n}.0.0/16") for n in range(17, 32)) + tuple(
    IPv4Network("192.168.0.0/16").subnets(new_prefix=20)
)


def choose_subnet(taken: Iterable[str]) -> str:
    """The first pool that overlaps no subnet of `taken` (routes of the host and other networks)."""
    used = [n for n in (ip_network(t, strict=False) for t in taken) if n.prefixlen]
    for pool in POOLS:
        if not any(n.version == 4 and pool.overlaps(n) for n in used):
            return str(pool)
    raise AddressError("no free subnet is left for a network", hint="name one under ipam.config.subnet")


def gateway_of(pool: Pool, subnet: str) -> str:
    """The asked gateway, or the first address of the subnet."""
    net = ip_network(subnet)
    gateway = ip_address(pool.gateway) if pool.gateway else net[1]
    if gateway not in net:
        raise AddressError(f"gateway {gateway} is not in subnet {subnet}")
    return str(gateway)


def choose_address(subnet: str, taken: Collection[str], *, wanted: str | None = None, range_: str | None = None) -> str:
    """An address of `subnet` that is not in `taken`; `wanted` exactly, when given. Without prefix length."""
    net = ip_network(subnet)
    if wanted is not None:
        if ip_address(wanted) not in net:
            raise AddressError(f"address {wanted} is not in subnet {subnet}")
        if wanted in taken:
            raise AddressError(f"address {wanted} is already in use")
        return wanted
    candidates: Iterator[object] = iter(ip_network(range_) if range_ else net.hosts())
    for address in candidates:
        text = str(address)
        if text not in taken and address not in (net.network_address, net.broadcast_address):
            return text
    raise AddressError(f"subnet {subnet} has no free address", hint="use a larger subnet")


def mac_of(address: str) -> str:
    """A locally administered MAC made from an IPv4 address (02:42:…, as Docker's), so that ARP caches stay right."""
    return "02:42:" + ":".join(f"{b:02x}" for b in IPv4Address(address).packed)


def link_name(prefix: str, *parts: str) -> str:
    """A link's name from what it stands for: stable, and no longer than IFNAMSIZ - 1."""
    return prefix + hashlib.sha256("\0".join(parts).encode()).hexdigest()[: 15 - len(prefix)]
