"""Check of the addresses that a file gives out: pools of networks, and fixed addresses of services. Pure.

Only networks that say their subnets can be judged; the others get theirs when they are made. A fixed address that
cannot be had is in the way of its own service's containers alone.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pycompose.compose.model.project import Attachment, IpamPool
from pycompose.errors import Place

from .reading import Section, short
from .source import Map, Seq, position

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

    from .consistency import Whole

    Subnets = list[tuple[IPv4Network | IPv6Network, IPv4Address | IPv6Address | None]]  # each with its gateway


def check(whole: Whole, sections: dict[str, Section]) -> None:
    """`sections` are of the networks. Problems go to their reading."""
    subnets = {}
    for key, section in sections.items():
        if pools := whole.networks[key].ipam_pools:
            subnets[key] = _subnets(pools, section)
    taken: dict[tuple[str, str], Section] = {}
    for name, service in whole.services.items():
        if name not in whole.active:
            continue
        section = whole.sections[name]
        for attachment in service.networks:
            for version, address in ((4, attachment.ipv4_address), (6, attachment.ipv6_address)):
                if address is None:
                    continue
                at = _place(section, attachment, version)
                if unusable := _unusable(version, address, subnets.get(attachment.network)):
                    why, hint = unusable
                    message = f'ipv{version}_address "{short(address)}" of {section.name} {why}'
                    section.reading.obstacle(name, message, at, hint.format(attachment.network), "address")
                    continue
                if service.replicas > 1:
                    message = f"{section.name} has {service.replicas} replicas, which cannot all have {address}"
                    section.reading.problem(message, at, "without a fixed address each gets its own", "conflict")
                other = taken.setdefault((attachment.network, address), section)
                if other is not section:
                    message = f'{section.name} and {other.name} have the same address on network "{attachment.network}"'
                    section.reading.problem(message, at, f"both have {address}", "conflict")


def _subnets(pools: tuple[IpamPool, ...], section: Section) -> Subnets:
    """Subnets of those pools that are well-formed; the others become problems."""
    from ipaddress import ip_address, ip_network

    subnets: Subnets = []
    for number, pool in enumerate(pools):
        at = _pool(section, number)

        def wrong(key: str, value: str, why: str, hint: str = "", at: Place | None = at) -> None:
            section.reading.problem(f'{key} "{short(value)}" of {section.name} {why}', at, hint, "address")

        if pool.subnet is None:
            continue
        try:
            subnet = ip_network(pool.subnet, strict=False)
        except ValueError:
            wrong("subnet", pool.subnet, "is not ADDRESS/BITS", "such as 10.5.0.0/16")
            continue
        if ip_address(pool.subnet.partition("/")[0]) != subnet.network_address:
            wrong("subnet", pool.subnet, "has bits behind its prefix", f"it should be {subnet}")
        gateway = subnet[1] if subnet.num_addresses > 1 else None
        with contextlib.suppress(ValueError):  # said below
            gateway = ip_address(pool.gateway) if pool.gateway is not None else gateway
        subnets.append((subnet, gateway))
        for key, value in (("gateway", pool.gateway), *(("aux_address", v) for v in pool.aux_addresses.values())):
            try:
                if value is not None and ip_address(value) not in subnet:
                    wrong(key, value, f"is outside its subnet {subnet}", "change one of the two")
            except ValueError:
                wrong(key, str(value), "is no address", "such as 10.5.0.1")
        if pool.ip_range is not None:
            try:
                part = ip_network(pool.ip_range, strict=False)
            except ValueError:
                wrong("ip_range", pool.ip_range, "is not ADDRESS/BITS", "such as 10.5.1.0/24")
                continue
            if part.version != subnet.version or not part.subnet_of(subnet):  # type: ignore[arg-type]
                wrong("ip_range", pool.ip_range, f"is outside its subnet {subnet}", "change one of the two")
    return subnets


def _unusable(version: int, address: str, subnets: Subnets | None) -> tuple[str, str] | None:
    """Why no container can have the address, and what to try (`{}` is the network); None where one can."""
    from ipaddress import ip_address

    try:
        parsed = ip_address(address)
    except ValueError:
        parsed = None
    if parsed is None or parsed.version != version:
        plain, prefix, _ = address.partition("/")
        good = "such as 10.5.0.5" if version == 4 else "such as fd00::5"
        hint = f"without the prefix: {short(plain)}" if prefix else good
        return f"is no IPv{version} address", hint
    if not subnets:
        return None
    subnet, gateway = next((pair for pair in subnets if parsed in pair[0]), (None, None))
    if subnet is None:
        return "is outside its network", 'the subnets of network "{}" are ' + ", ".join(str(s) for s, _ in subnets)
    if subnet.prefixlen < subnet.max_prefixlen - 1 and parsed in (subnet[0], subnet[-1]):
        which = "first" if parsed == subnet[0] else "last"
        return f"is the {which} of {subnet}, which no host can have", f"those between are up to {subnet[-2]}"
    if parsed == gateway:
        return f"is the gateway of {subnet}", 'the host has it on network "{}"'
    return None


def _place(section: Section, attachment: Attachment, version: int) -> Place | None:
    networks = section.map.get("networks")
    one = networks.get(attachment.network) if isinstance(networks, Map) else None
    return position(one.get(f"ipv{version}_address")) if isinstance(one, Map) else section.at("networks")


def _pool(section: Section, number: int) -> Place | None:
    ipam = section.map.get("ipam")
    listed = ipam.get("config") if isinstance(ipam, Map) else None
    return position(listed[number]) if isinstance(listed, Seq) and number < len(listed) else section.origin
