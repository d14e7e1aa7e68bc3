"""Networks, ports and host names of a service: short forms made long. Pure."""

from __future__ import annotations

import re
from types import MappingProxyType

from pycompose.compose.model.project import Attachment, Port

from .merge import named
from .reading import Section, extended, short
from .source import Map, Seq, Text

ATTACHMENT = (
    "aliases",
    "ipv4_address",
    "ipv6_address",
    "mac_address",
    "interface_name",
    "priority",
    "gw_priority",
    "driver_opts",
)
GOOD_PORT = 'such as "8080:80", "127.0.0.1:8080:80/tcp", "8000-8010:8000-8010"'
PROTOCOLS = ("tcp", "udp", "sctp")  # the last cannot be published here, which a plan tells
PORTS = 200_000  # of a project: ranges are written faster than they are opened
IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}\Z")
IPV6 = re.compile(r"[0-9a-fA-F:]+(?:\.[0-9.]+)?\Z")
RANGE = re.compile(r"[0-9]{1,5}(?:-[0-9]{1,5})?\Z")


def networks(section: Section) -> tuple[Attachment, ...]:
    section.check_once("networks")
    tree = named(section.map.get("networks"), "networks")
    if tree is None:
        return ()
    if not isinstance(tree, Map):
        section.wrong("networks", "a list or a mapping of networks")
        return ()
    attachments = []
    section.check_names("networks")
    for name, entry in tree.items():
        what, at = f'network "{name}" of {section.name}', tree.keys_at.get(name)
        one = Section(section.reading, entry, what, at, (section, f"networks.{name}"))
        kept = one.check_keys(ATTACHMENT, ("link_local_ips",))
        kept.pop("link_local_ips", None)
        attachments.append(
            Attachment(
                network=name,
                aliases=one.texts("aliases"),
                ipv4_address=one.text("ipv4_address"),
                ipv6_address=one.text("ipv6_address"),
                mac_address=one.text("mac_address"),
                interface_name=one.text("interface_name"),
                link_local_ips=one.texts("link_local_ips"),
                priority=one.integer("priority") or 0,
                gw_priority=one.integer("gw_priority") or 0,
                driver_opts=MappingProxyType(one.pairs("driver_opts")),
                extensions=extended(kept),
            )
        )
    return tuple(attachments)


def port_range(value: str, kind: str = "containerPort") -> tuple[int, int]:
    """`8000` or `8000-8010`. Raises ValueError, in docker compose's words."""
    if not RANGE.match(value):
        raise ValueError(f"Invalid {kind}: {short(value)}")
    first, _, last = value.partition("-")
    span = int(first), int(last or first)
    for number in span:
        if number > 65535:
            raise ValueError(f"Invalid {kind}: {value}")
    if span[1] < span[0]:
        raise ValueError(f"Invalid {kind}: {value}: the range ends before it begins")
    return span


def _is_address(ip: str) -> bool:
    """An address, as far as its form goes."""
    return bool(IPV4.match(ip) or (IPV6.match(ip) and ("::" in ip or ip.count(":") == 7)))


def parse_port(value: str) -> tuple[Port, ...]:
    """`[[IP:]HOST[-HOST]:]CONTAINER[-CONTAINER][/PROTOCOL]`. Raises ValueError."""
    rest, _, protocol = value.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise ValueError(f"Invalid proto: {short(protocol)}")
    before, _, container = rest.rpartition(":")
    ip, _, host = before.rpartition(":")
    ip = ip.removeprefix("[").removesuffix("]")
    if ip and not _is_address(ip):
        raise ValueError(f"Invalid ip address: {short(ip)}")
    first, last = port_range(container)
    if last == 0:
        raise ValueError("no container has a port 0")
    published = port_range(host, "hostPort") if host else None
    count = last - first + 1
    address = ip or None
    if count == 1:
        return (Port(first, None if published == (0, 0) else published, address, protocol),)  # type: ignore[arg-type]
    if published is None:
        return tuple(Port(first + i, None, address, protocol) for i in range(count))  # type: ignore[arg-type]
    if published[1] - published[0] + 1 != count:
        raise ValueError(f"Invalid ranges specified for container and host Ports: {container} and {host}")
    return tuple(Port(first + i, (published[0] + i,) * 2, address, protocol) for i in range(count))  # type: ignore[arg-type]


def ports(section: Section) -> tuple[Port, ...]:
    """Those that publish the same are one, the last of them."""
    published: dict[object, Port] = {}
    for item in section.items("ports"):
        if isinstance(item, Text):
            try:
                entries = parse_port(item)
            except ValueError as error:
                message = f'port "{short(item)}" of {section.name} cannot be used: {error}'
                section.reading.problem(message, item.at, GOOD_PORT, "port")
                continue
        else:
            one = section.entry("ports", item, f"a port of {section.name}")
            entries = _long_port(one)
        section.reading.ports += len(entries)
        if section.reading.ports > PORTS:
            at = item.at if item is not None else section.at("ports")
            section.reading.problem(f"the services publish more than {PORTS:,} ports", at, "shorter ranges", "too-many")
            break
        for port in entries:
            published[port.host_ip, port.published, port.target, port.protocol] = port
    return tuple(published.values())


def _long_port(one: Section) -> tuple[Port, ...]:
    kept = one.check_keys(("target", "published", "host_ip", "protocol", "mode", "name", "app_protocol"))
    target, published = one.integer("target"), one.text("published")
    if target is None:
        if "target" not in one:
            one.reading.problem(
                f"{one.name} is missing a target port", one.origin, "such as {target: 80, published: 8080}", "port"
            )
        return ()
    if not 0 <= target <= 65535:
        one.wrong("target", "a port")
        return ()
    host_ip = one.text("host_ip")
    if host_ip is not None and not _is_address(host_ip):
        if host_ip and not _is_address(host_ip.removeprefix("[").removesuffix("]")):
            one.wrong("host_ip", "an address")
        else:
            one.reading.lax(f'"host_ip" of {one.name} is no address: "{host_ip}"', one.at("host_ip"))
    try:
        span = port_range(published) if published else None
    except ValueError:
        one.wrong("published", "a port or a range of ports")
        return ()
    return (
        Port(
            target,
            None if span == (0, 0) else span,
            host_ip,
            one.choice("protocol", PROTOCOLS) or "tcp",  # type: ignore[arg-type]
            one.choice("mode", ("ingress", "host")) or "ingress",
            one.text("name"),
            one.text("app_protocol"),
            extended(kept),
        ),
    )


def extra_hosts(section: Section, key: str = "extra_hosts") -> tuple[tuple[str, str], ...]:
    """Pairs of name and address: a list of `name=address` or `name:address`, or a mapping to one address or several."""
    value = section.map.get(key)
    hosts: list[tuple[str, str]] = []
    if isinstance(value, Map):
        for name, item in value.items():
            addresses = item if isinstance(item, Seq) else [item]
            if not all(isinstance(address, Text) for address in addresses):
                message = f'"{name}" in "{key}" of {section.name} must be an address'
                section.reading.problem(message, value.keys_at.get(name), "such as db: 10.0.0.5", "type")
            section.only_text(key, item)
            hosts += [(name, one) for a in addresses if isinstance(a, Text) for one in _addresses(str(a))]
        _named(hosts, section, key)
        return tuple(dict.fromkeys(hosts))
    for entry in section.texts(key):
        name, separator, address = entry.partition("=" if "=" in entry else ":")
        if not separator:
            message = f'"{key}" of {section.name}: invalid additional host, missing IP: {short(entry)}'
            section.reading.problem(message, section.at(key), 'such as "db=10.0.0.5"', "address")
        hosts += [(name, one) for one in _addresses(address)]
    _named(hosts, section, key)
    return tuple(hosts)


def _named(hosts: list[tuple[str, str]], section: Section, key: str) -> None:
    if any(not name for name, _ in hosts):
        section.reading.problem(f'a name in "{key}" of {section.name} is empty', section.at(key), "such as db=10.0.0.5")


def _addresses(text: str) -> list[str]:
    """One address, or several with commas between them; IPv6 may be in brackets."""
    return [address.strip().strip("[]") for address in text.split(",")]
