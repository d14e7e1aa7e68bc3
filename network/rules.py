"""The nftables rules of this project, as data. Pure; `netlink` sends them.

One table, `pycompose`, is described whole from what exists (networks, publications with their backends) and replaced
in one transaction. Connections under way are not touched by that: conntrack keeps their translation.
Numbers are from linux/netfilter/nf_tables.h. Other people's tables are never named here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

Attribute = tuple[int, bytes | Iterable["Attribute"]]
Expression = tuple[str, tuple[Attribute, ...]]

NEW_TABLE, DELETE_TABLE, NEW_CHAIN, NEW_RULE, NEW_SET, NEW_ELEMENT = 0, 2, 3, 6, 9, 12
PREROUTING, FORWARD, OUTPUT, POSTROUTING = 0, 2, 3, 4
RAW, DNAT, FILTER, SNAT = -300, -100, 0, 100
PROTOCOLS = {"tcp": 6, "udp": 17}
TABLE = "pycompose"
EQUAL, DIFFERENT = 0, 1
IIFNAME, OIFNAME, L4PROTO = 6, 7, 16


@dataclass(frozen=True, slots=True)
class Message:
    kind: int
    attributes: tuple[Attribute, ...]
    create: bool = True


@dataclass(frozen=True, slots=True)
class BridgeRules:
    bridge: str
    subnet: str
    internal: bool
    masquerade: bool = True


@dataclass(frozen=True, slots=True)
class PortRules:
    host_ip: str | None  # None: every IPv4 address of the host
    port: int
    protocol: str
    target: int
    backends: tuple[str, ...]


def _n(value: int) -> bytes:
    return struct.pack(">I", value)


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def meta(key: int) -> Expression:
    return "meta", ((1, _n(1)), (2, _n(key)))


def compare(value: bytes, operator: int = EQUAL) -> Expression:
    return "cmp", ((1, _n(1)), (2, _n(operator)), (3, ((1, value),)))


def load(base: int, offset: int, length: int) -> Expression:
    """Bytes of the packet to register 1; base 1 is the network header, 2 the transport header."""
    return "payload", ((1, _n(1)), (2, _n(base)), (3, _n(offset)), (4, _n(length)))


def store(offset: int, length: int, checksum_at: int) -> Expression:
    """Register 1 into the transport header; the kernel mends the checksum."""
    return "payload", (
        (2, _n(2)), (3, _n(offset)), (4, _n(length)), (5, _n(1)), (6, _n(1)), (7, _n(checksum_at)),
    )  # fmt: skip


def mask(value: bytes) -> Expression:
    return "bitwise", (
        (1, _n(1)), (2, _n(1)), (3, _n(len(value))), (4, ((1, value),)), (5, ((1, bytes(len(value))),)),
    )  # fmt: skip


def immediate(register: int, value: bytes) -> Expression:
    return "immediate", ((1, _n(register)), (2, ((1, value),)))


def verdict(code: int) -> Expression:
    return "immediate", ((1, _n(0)), (2, ((2, ((1, _n(code)),)),)))


DROP, ACCEPT = verdict(0), verdict(1)
MASQUERADE: Expression = ("masq", ())


def link(key: int, name: str, operator: int = EQUAL) -> list[Expression]:
    return [meta(key), compare(name.encode().ljust(16, b"\0"), operator)]


def in_set(key: int, name: str) -> list[Expression]:
    return [meta(key), ("lookup", ((1, _text(name)), (2, _n(1))))]


def address(offset: int, subnet: str, operator: int = EQUAL) -> list[Expression]:
    """offset 12 is the source, 16 the destination."""
    net = IPv4Network(subnet)
    masked = [] if net.prefixlen == 32 else [mask(net.netmask.packed)]
    return [load(1, offset, 4), *masked, compare(net.network_address.packed, operator)]


def protocol(name: str) -> list[Expression]:
    return [meta(L4PROTO), compare(bytes([PROTOCOLS[name]]))]


def port(offset: int, number: int) -> list[Expression]:
    return [load(2, offset, 2), compare(struct.pack(">H", number))]


def to_local() -> list[Expression]:
    """fib daddr type local"""
    return [("fib", ((1, _n(1)), (2, _n(3)), (3, _n(2)))), compare(struct.pack("=I", 2))]


def translated() -> list[Expression]:
    """ct status dnat"""
    dnat = struct.pack("=I", 0x20)
    return [("ct", ((2, _n(2)), (1, _n(1)))), mask(dnat), compare(bytes(4), DIFFERENT)]


def destination(target: int) -> list[Expression]:
    """dnat to the address in register 1, port `target`"""
    nat: Expression = ("nat", ((1, _n(1)), (2, _n(2)), (3, _n(1)), (5, _n(2))))
    return [immediate(2, struct.pack(">H", target)), nat]


def rule(chain: str, expressions: Iterable[Expression]) -> Message:
    listed = tuple((1, ((1, _text(name)), (2, data))) for name, data in expressions)
    return Message(NEW_RULE, ((1, _text(TABLE)), (2, _text(chain)), (4, listed)))


def chain(name: str, kind: str, hook: int, priority: int) -> Message:
    where = ((1, _n(hook)), (2, struct.pack(">i", priority)))
    return Message(NEW_CHAIN, ((1, _text(TABLE)), (3, _text(name)), (4, where), (7, _text(kind))))


def fresh_table() -> list[Message]:
    """Made, deleted, made: deletes what was there without failing when nothing was."""
    named = ((1, _text(TABLE)),)
    return [Message(NEW_TABLE, named), Message(DELETE_TABLE, named, create=False), Message(NEW_TABLE, named)]


def no_table() -> list[Message]:
    return fresh_table()[:2]


def _elements(name: str, number: int, pairs: Iterable[tuple[bytes, bytes | None]]) -> Message:
    listed = tuple((1, ((1, ((1, key),)),) + (((2, ((1, data),)),) if data is not None else ())) for key, data in pairs)
    return Message(NEW_ELEMENT, ((1, _text(TABLE)), (2, _text(name)), (4, _n(number)), (3, listed)))


def _publish(chains: Sequence[str], published: PortRules, number: int) -> list[Message]:
    messages: list[Message] = []
    for hooked in chains:
        expressions = [*protocol(published.protocol), *port(2, published.port)]
        if published.host_ip is None:
            expressions += to_local()
        else:
            expressions += address(16, f"{published.host_ip}/32")
        packed = [IPv4Address(b).packed for b in published.backends]
        if len(packed) == 1:
            expressions.append(immediate(1, packed[0]))
        else:
            number += 1
            name = "__map%d"
            # anonymous, constant, map: u32 (of numgen, host byte order) -> IPv4 address
            messages.append(
                Message(
                    NEW_SET,
                    (
                        (1, _text(TABLE)), (2, _text(name)), (3, _n(1 | 2 | 8)), (4, _n(4)), (5, _n(4)),
                        (6, _n(7)), (7, _n(4)), (10, _n(number)),
                    ),
                )
            )  # fmt: skip
            messages.append(_elements(name, number, [(struct.pack("=I", i), b) for i, b in enumerate(packed)]))
            expressions.append(("numgen", ((1, _n(1)), (2, _n(len(packed))), (3, _n(0)))))
            expressions.append(("lookup", ((1, _text(name)), (2, _n(1)), (3, _n(1)), (4, _n(number)))))
        messages.append(rule(hooked, [*expressions, *destination(published.target)]))
    return messages


def table(bridges: Sequence[BridgeRules], ports: Sequence[PortRules]) -> list[Message]:
    """The whole table."""
    named = _text("bridges")
    messages = [
        *fresh_table(),
        Message(NEW_SET, ((1, _text(TABLE)), (2, named), (3, _n(0)), (4, _n(41)), (5, _n(16)), (10, _n(1)))),
        chain("martian", "filter", PREROUTING, RAW),
        chain("forward", "filter", FORWARD, FILTER),
        chain("prerouting", "nat", PREROUTING, DNAT),
        chain("output", "nat", OUTPUT, DNAT),
        chain("postrouting", "nat", POSTROUTING, SNAT),
    ]
    if bridges:
        messages.append(_elements("bridges", 1, [(b.bridge.encode().ljust(16, b"\0"), None) for b in bridges]))
    # route_localnet is on for the bridges, so that 127.0.0.1:<published> works; nobody else may use it (CVE-2020-8558)
    messages.append(rule("martian", [*in_set(IIFNAME, "bridges"), *address(16, "127.0.0.0/8"), DROP]))
    for b in bridges:
        messages.append(rule("forward", [*link(IIFNAME, b.bridge), *link(OIFNAME, b.bridge), ACCEPT]))
        if b.internal:
            messages.append(rule("forward", [*link(IIFNAME, b.bridge), DROP]))
            messages.append(rule("forward", [*link(OIFNAME, b.bridge), DROP]))
    messages.append(rule("forward", [*in_set(IIFNAME, "bridges"), *in_set(OIFNAME, "bridges"), DROP]))
    for b in bridges:
        inside = address(12, b.subnet)
        if b.masquerade and not b.internal:
            messages.append(rule("postrouting", [*inside, *link(OIFNAME, b.bridge, DIFFERENT), MASQUERADE]))
        # a container that calls its own network's published port: the answer must come back through the host
        messages.append(rule("postrouting", [*inside, *link(OIFNAME, b.bridge), *translated(), MASQUERADE]))
        messages.append(rule("postrouting", [*address(12, "127.0.0.0/8"), *link(OIFNAME, b.bridge), MASQUERADE]))
    for number, published in enumerate(ports):
        if published.backends:
            messages += _publish(("prerouting", "output"), published, 10 + 2 * number)
    return messages


def redirect_dns(server: str, udp: int, tcp: int) -> list[Message]:
    """Inside a container: `server`:53 means ports `udp` and `tcp`. Stateless, before conntrack looks."""
    messages = [*fresh_table(), chain("dns", "filter", OUTPUT, RAW)]
    for name, actual, checksum_at in (("udp", udp, 6), ("tcp", tcp, 16)):
        there = [*address(16, f"{server}/32"), *protocol(name), *port(2, 53)]
        back = [*address(12, f"{server}/32"), *protocol(name), *port(0, actual)]
        messages.append(rule("dns", [*there, immediate(1, struct.pack(">H", actual)), store(2, 2, checksum_at)]))
        messages.append(rule("dns", [*back, immediate(1, struct.pack(">H", 53)), store(0, 2, checksum_at)]))
    return messages
