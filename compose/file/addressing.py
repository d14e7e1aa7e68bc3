"""Check of the addresses that a file gives out: pools of networks, and fixed addresses of services. Pure.

Only networks that say their subnets can be judged; the others get theirs when they are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycompose.compose.model.project import Attachment, IpamPool
from pycompose.errors import Place

from .reading import Section, short
from .source import Map, Seq, position

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from .consistency import Whole

    Subnets = list[IPv4Network | IPv6Network]


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
                if address is None or not _fits(attachment, version, address, section, subnets.get(attachment.network)):
                    continue
                at = _place(section, attachment, version)
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
        subnets.append(subnet)
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


def _fits(attachment: Attachment, version: int, address: str, section: Section, subnets: Subnets | None) -> bool:
    from ipaddress import ip_address

    at = _place(section, attachment, version)
    try:
        parsed = ip_address(address)
    except ValueError:
        parsed = None
    if parsed is None or parsed.version != version:
        message = f'ipv{version}_address "{short(address)}" of {section.name} is no IPv{version} address'
        section.reading.problem(message, at, "such as 10.5.0.5" if version == 4 else "such as fd00::5", "address")
        return False
    if subnets and not any(parsed in subnet for subnet in subnets):
        message = f'{address} of {section.name} is in no subnet of network "{attachment.network}"'
        section.reading.problem(message, at, "its subnets are " + ", ".join(map(str, subnets)), "address")
        return False
    return True


def _place(section: Section, attachment: Attachment, version: int) -> Place | None:
    networks = section.map.get("networks")
    one = networks.get(attachment.network) if isinstance(networks, Map) else None
    return position(one.get(f"ipv{version}_address")) if isinstance(one, Map) else section.at("networks")


def _pool(section: Section, number: int) -> Place | None:
    ipam = section.map.get("ipam")
    listed = ipam.get("config") if isinstance(ipam, Map) else None
    return position(listed[number]) if isinstance(listed, Seq) and number < len(listed) else section.origin
