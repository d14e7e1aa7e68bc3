"""Rules of nftables for networks and published ports, as data in the header's names and in nft's own words. Pure.

One table of family inet holds everything. Its rules never change: networks and ports stand in sets and maps, so each
is a few elements and, for a port, one short chain and a map of its own:

    table inet pycompose_…
      bridges, same, internal                    which links are ours, and what is allowed to them
      closed                                     protocols that the host forwards because we switched it on
      subnets, masquerading                      the same as addresses: postrouting does not know where from
      published, published_at                    ports that a group has, with or without an address
      anywhere, somewhere                        the same ports -> goto the chain of the port
      chain tcp_8080, map to_tcp_8080            numgen -> one of the replicas

What reaches the host itself on a published port found no replica, and is refused at once (chain input). Every change
can be repeated: adding what is there is no error, and what is deleted is added before. Other people's tables are
never named. Numbers are from linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network
from typing import TypeAlias

from pycompose.frozen import dataclass

from . import expressions as nft
from .expressions import GOTO, JUMP, PROTOCOLS, Attribute, Part, Value

Pair: TypeAlias = (
    "tuple[str, bytes, Value | None]"  # an element: in words (none: it ends an interval), its key, its data
)
INET, IPV4, BRIDGE = 1, 2, 7
PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)
RAW, DNAT, FILTER, SNAT = -300, -100, 0, 100
IFNAME, ADDRESS, PROTOCOL, SERVICE, INTEGER, VERDICT = 41, 7, 12, 13, 4, 0xFFFFFF00  # types, as nft prints them
FAMILY = 2
HOST_ORDER = struct.pack("=BBI", 0, 4, 1)  # NFTNL_UDATA_SET_KEYBYTEORDER
INTERVAL_END = 1  # NFT_SET_ELEM_INTERVAL_END
SET_INTERVAL, SET_MAP = 4, 8  # NFT_SET_*


class Kind(IntEnum):
    NEW_TABLE = 0
    DELETE_TABLE = 2
    NEW_CHAIN = 3
    GET_CHAIN = 4
    DELETE_CHAIN = 5
    NEW_RULE = 6
    DELETE_RULE = 8
    NEW_SET = 9
    DELETE_SET = 11
    NEW_ELEMENT = 12
    DELETE_ELEMENT = 14


@dataclass(frozen=True, slots=True)
class Message:
    """One nftables message of a batch."""

    kind: Kind
    attributes: tuple[Attribute, ...]
    text: str  # the same as a command of `nft`
    create: bool = True


@dataclass(frozen=True, slots=True)
class BridgeRules:
    """A network, as the rules know it."""

    bridge: str
    subnet: str  # the IPv4 one
    internal: bool
    masquerade: bool = True


@dataclass(frozen=True, slots=True)
class PortRules:
    """A published port, as the rules know it."""

    host_ip: str | None  # None: every IPv4 address of the host
    port: int
    protocol: str
    target: int
    backends: tuple[str, ...]

    @property
    def chain(self) -> str:
        return f"{self.protocol}_{self.port}" + (f"_{self.host_ip}" if self.host_ip else "")


def table_name(root: str) -> str:
    """The table's name for one folder of networks: two of them on one machine do not meet."""
    return "pycompose_" + sha256(root.encode()).hexdigest()[:8]


def padded(name: str) -> bytes:
    """A link's name as a set's key: IFNAMSIZ bytes."""
    return name.encode().ljust(16, b"\0")


def _port_key(protocol: str, port: int, host_ip: str | None = None) -> bytes:
    """A port as a set's key, in which every part of a concatenation is padded to 32 bits."""
    key = struct.pack(">Bxxx Hxx", PROTOCOLS[protocol], port)
    return IPv4Address(host_ip).packed + key if host_ip else key


class Table:
    """The messages for one table, by its name and family."""

    def __init__(self, name: str, family: int = INET) -> None:
        self.name = name
        self.family = family
        self._words = f"{ {INET: 'inet', IPV4: 'ip', BRIDGE: 'bridge'}[family] } {name}"

    def _message(self, kind: Kind, what: str, *attributes: Attribute, words: str = "") -> Message:
        verb = "add" if kind in (Kind.NEW_CHAIN, Kind.NEW_RULE, Kind.NEW_SET, Kind.NEW_ELEMENT) else "delete"
        text = f"{verb} {what} {self._words} {words}".rstrip()
        return Message(kind, attributes, text, verb == "add")

    def rule(self, chain: str, *parts: Part) -> Message:
        """A rule at the end of a chain."""
        listed = tuple(
            (("NFTA_EXPR_NAME", name), ("NFTA_EXPR_DATA", data))
            for _, expressions in parts
            for name, data in expressions
        )
        return self._message(
            Kind.NEW_RULE,
            "rule",
            ("NFTA_RULE_TABLE", self.name),
            ("NFTA_RULE_CHAIN", chain),
            ("NFTA_RULE_EXPRESSIONS", listed),
            words=f"{chain} {' '.join(words for words, _ in parts)}",
        )

    def chain(self, name: str, kind: str = "", hook: int = 0, priority: int = 0) -> Message:
        """A chain; with a kind, one that the kernel enters at `hook`."""
        attributes: list[Attribute] = [("NFTA_CHAIN_TABLE", self.name), ("NFTA_CHAIN_NAME", name)]
        words = name
        if kind:
            where = (("NFTA_HOOK_HOOKNUM", hook), ("NFTA_HOOK_PRIORITY", priority))
            attributes += [("NFTA_CHAIN_HOOK", where), ("NFTA_CHAIN_TYPE", kind)]
            names = ("prerouting", "input", "forward", "output", "postrouting")
            words += f" {{ type {kind} hook {names[hook]} priority {priority}; }}"
        return self._message(Kind.NEW_CHAIN, "chain", *attributes, words=words)

    def named_set(
        self, name: str, number: int, words: str, types: Sequence[int], length: int, data: int = 0
    ) -> Message:
        key = 0
        for one in types:
            key = key << 6 | one
        attributes: list[Attribute] = [
            ("NFTA_SET_TABLE", self.name),
            ("NFTA_SET_NAME", name),
            ("NFTA_SET_FLAGS", SET_MAP if data else SET_INTERVAL if ";" in words else 0),
            ("NFTA_SET_KEY_TYPE", key),
            ("NFTA_SET_KEY_LEN", length),
            ("NFTA_SET_ID", number),
        ]
        if data:
            attributes += [("NFTA_SET_DATA_TYPE", data), ("NFTA_SET_DATA_LEN", 4)]
        if types[0] in (IFNAME, INTEGER) and len(types) == 1:
            attributes.append(("NFTA_SET_USERDATA", HOST_ORDER))  # for nft alone, to print the keys
        what = "map" if data else "set"
        return self._message(Kind.NEW_SET, what, *attributes, words=f"{name} {{ type {words}; }}")

    def elements(self, name: str, pairs: Iterable[Pair], kind: Kind = Kind.NEW_ELEMENT) -> Message:
        pairs = list(pairs)
        listed: tuple[tuple[Attribute, ...], ...] = ()
        for words, key, data in pairs:
            element: tuple[Attribute, ...] = (("NFTA_SET_ELEM_KEY", nft.data(key)),)
            if not words:  # the end of the interval before
                element += (("NFTA_SET_ELEM_FLAGS", INTERVAL_END),)
            listed += ((*element, ("NFTA_SET_ELEM_DATA", data)) if data is not None else element,)
        return self._message(
            kind,
            "element",
            ("NFTA_SET_ELEM_LIST_TABLE", self.name),
            ("NFTA_SET_ELEM_LIST_SET", name),
            ("NFTA_SET_ELEM_LIST_ELEMENTS", listed),
            words=f"{name} {{ {', '.join(words for words, _, _ in pairs if words)} }}",
        )

    def _removed(self, name: str, pairs: Sequence[Pair]) -> list[Message]:
        """Elements that are added, then deleted: which does not fail when they were not there."""
        return [self.elements(name, pairs), self.elements(name, pairs, Kind.DELETE_ELEMENT)]

    def _flushed(self, chain: str, name: str) -> list[Message]:
        """No rules in the chain, no elements in the map."""
        rules = (("NFTA_RULE_TABLE", self.name), ("NFTA_RULE_CHAIN", chain))
        elements = (("NFTA_SET_ELEM_LIST_TABLE", self.name), ("NFTA_SET_ELEM_LIST_SET", name))
        return [
            Message(Kind.DELETE_RULE, rules, f"flush chain {self._words} {chain}", False),
            Message(Kind.DELETE_ELEMENT, elements, f"flush map {self._words} {name}", False),
        ]

    def fresh(self) -> list[Message]:
        """An empty table: added, deleted, added, which does not fail when none was there."""
        name = (("NFTA_TABLE_NAME", self.name),)
        add = Message(Kind.NEW_TABLE, name, f"add table {self._words}")
        return [add, Message(Kind.DELETE_TABLE, name, f"delete table {self._words}", False), add]

    def none(self) -> list[Message]:
        """No table any more."""
        return self.fresh()[:2]

    # the host's table

    def skeleton(self) -> list[Message]:
        """An empty table with all of its rules; `version` names what this is, so that another release makes it anew."""
        rule, chain, named = self.rule, self.chain, self.named_set
        refused = nft.end("goto refuse", GOTO, "refuse")
        body = [
            named("bridges", 1, "ifname", [IFNAME], 16),
            named("closed", 10, "nf_proto", [FAMILY], 1),
            named("internal", 2, "ifname", [IFNAME], 16),
            named("same", 3, "ifname . ifname", [IFNAME, IFNAME], 32),
            named("subnets", 4, "ipv4_addr; flags interval", [ADDRESS], 4),
            named("masquerading", 9, "ipv4_addr; flags interval", [ADDRESS], 4),
            named("published", 5, "inet_proto . inet_service", [PROTOCOL, SERVICE], 8),
            named("published_at", 6, "ipv4_addr . inet_proto . inet_service", [ADDRESS, PROTOCOL, SERVICE], 12),
            named("anywhere", 7, "inet_proto . inet_service : verdict", [PROTOCOL, SERVICE], 8, VERDICT),
            named(
                "somewhere",
                8,
                "ipv4_addr . inet_proto . inet_service : verdict",
                [ADDRESS, PROTOCOL, SERVICE],
                12,
                VERDICT,
            ),
            chain("martian", "filter", PREROUTING, RAW),
            chain("input", "filter", INPUT, FILTER),
            chain("forward", "filter", FORWARD, FILTER),
            chain("prerouting", "nat", PREROUTING, DNAT),
            chain("output", "nat", OUTPUT, DNAT),
            chain("postrouting", "nat", POSTROUTING, SNAT),
            chain("refuse"),
            chain("publish"),
            # bridges have route_localnet, for 127.0.0.1:<port> of the host; containers may not use it (CVE-2020-8558)
            rule("martian", nft.V4, nft.comes_from("bridges"), nft.TO_LOOPBACK, nft.DROP),
            rule("input", nft.comes_from("bridges"), nft.SPOOFED, nft.DROP),
            rule("input", nft.NEW, nft.V4, nft.is_in(nft.PORT_AT, "published_at"), refused),
            rule(
                "input",
                nft.NEW,
                nft.V4,
                nft.TO_HOST,
                nft.is_in(nft.PORT, "published"),
                refused,
            ),
            rule("refuse", nft.TCP, nft.RESET),
            rule("refuse", nft.UNREACHABLE),
            rule("forward", nft.SAME_LINK, nft.ACCEPT),  # what is bridged comes by too, with br_netfilter
            rule("forward", nft.comes_from("bridges"), nft.SPOOFED, nft.DROP),
            rule("forward", nft.goes_to("bridges"), nft.UNDER_WAY, nft.ACCEPT),
            rule("forward", nft.comes_from("internal"), nft.DROP),
            rule("forward", nft.goes_to("internal"), nft.DROP),
            rule("forward", nft.goes_to("bridges"), nft.TRANSLATED, nft.ACCEPT),
            rule("forward", nft.goes_to("bridges"), nft.DROP),
            # between other links, where forwarding was off before there was a network
            rule("forward", nft.is_in(nft.OF_FAMILY, "closed"), nft.comes_from("bridges", inverted=True), nft.DROP),
            # translated before the kernel has looked for martians: 127.0.0.1 from outside must not be
            rule("prerouting", nft.V4, nft.NOT_FROM_LO, nft.TO_LOOPBACK, nft.BACK),
            rule("prerouting", nft.end("jump publish", JUMP, "publish")),
            rule("output", nft.end("jump publish", JUMP, "publish")),
            rule("publish", nft.V4, nft.choose(nft.PORT_AT, "somewhere")),
            rule("publish", nft.V4, nft.TO_HOST, nft.choose(nft.PORT, "anywhere")),
            # a container that calls a published port: the answer must come back through the host
            rule("postrouting", nft.V4, nft.source("subnets"), nft.goes_to("bridges"), nft.TRANSLATED, nft.MASQUERADE),
            rule(
                "postrouting", nft.V4, nft.source("masquerading"), nft.goes_to("bridges", inverted=True), nft.MASQUERADE
            ),
            rule("postrouting", nft.V4, nft.FROM_LOOPBACK, nft.goes_to("bridges"), nft.MASQUERADE),
        ]
        return [*self.fresh(), *body, chain(self.version(body))]

    def version(self, body: Sequence[Message] = ()) -> str:
        """The name of an empty chain that tells one release's rules from another's."""
        listed = body or self.skeleton()[3:-1]
        return "version_" + sha256("\n".join(m.text for m in listed).encode()).hexdigest()[:8]

    def _of_network(self, network: BridgeRules) -> list[tuple[str, list[Pair]]]:
        """A network's elements by set."""
        key, net = padded(network.bridge), IPv4Network(network.subnet)
        link: list[Pair] = [(f'"{network.bridge}"', key, None)]
        both: list[Pair] = [(f'"{network.bridge}" . "{network.bridge}"', key * 2, None)]
        after = (net.broadcast_address + 1).packed
        subnet: list[Pair] = [(network.subnet, net.network_address.packed, None), ("", after, None)]
        sets = [("bridges", link), ("same", both), ("subnets", subnet)]
        if network.internal:
            sets.append(("internal", link))
        elif network.masquerade:
            sets.append(("masquerading", subnet))
        return sets

    def add_network(self, network: BridgeRules) -> list[Message]:
        return [self.elements(name, pairs) for name, pairs in self._of_network(network)]

    def remove_network(self, network: BridgeRules) -> list[Message]:
        return [m for name, pairs in self._of_network(network) for m in self._removed(name, pairs)]

    def close(self, *, closed: bool) -> list[Message]:
        """Whether IPv4 is forwarded for our bridges alone."""
        pairs: list[Pair] = [("ipv4", bytes([IPV4]), None)]
        return [self.elements("closed", pairs)] if closed else self._removed("closed", pairs)

    def _of_port(self, port: PortRules) -> tuple[str, str, str, bytes, Value]:
        at = port.host_ip is not None
        words = f"{port.host_ip} . " * at + f"{port.protocol} . {port.port}"
        key = _port_key(port.protocol, port.port, port.host_ip)
        names = ("published_at", "somewhere") if at else ("published", "anywhere")
        return (*names, words, key, nft.verdict(GOTO, port.chain))

    def publish(self, port: PortRules) -> list[Message]:
        """The port leads to these backends from now on; without any, connections to it are refused."""
        published, where, words, key, verdict = self._of_port(port)
        name, goes = f"to_{port.chain}", f"{words} : goto {port.chain}"
        messages = [
            self.chain(port.chain),
            self.named_set(name, 1, "integer : ipv4_addr", [INTEGER], 4, ADDRESS),
            *self._flushed(port.chain, name),
            self.elements(published, [(words, key, None)]),
            self.elements(where, [(goes, key, verdict)]),
        ]
        if port.backends:
            slots = enumerate(port.backends)
            pairs = [(f"{n} : {b}", struct.pack("=I", n), nft.data(IPv4Address(b).packed)) for n, b in slots]
            count = len(port.backends)
            nat = (
                ("NFTA_NAT_TYPE", 1),
                ("NFTA_NAT_FAMILY", IPV4),
                ("NFTA_NAT_REG_ADDR_MIN", 1),
                ("NFTA_NAT_REG_PROTO_MIN", 2),
            )
            spread: Part = (
                f"dnat ip to numgen inc mod {count} map @{name}:{port.target}",
                (
                    nft.expression("numgen", ("NFTA_NG_DREG", 1), ("NFTA_NG_MODULUS", count), ("NFTA_NG_TYPE", 0)),
                    nft.lookup(name, 1),
                    nft.immediate(2, struct.pack(">H", port.target)),
                    nft.expression("nat", *nat),
                ),
            )
            # nat needs the protocol to be known
            protocol: Part = (
                f"meta l4proto {port.protocol}",
                (nft.meta(16), nft.compare(bytes([PROTOCOLS[port.protocol]]))),
            )
            messages += [self.elements(name, [pair]) for pair in pairs]
            messages.append(self.rule(port.chain, nft.V4, protocol, spread))
        return messages

    def unpublish(self, port: PortRules) -> list[Message]:
        """The port is nobody's any more."""
        published, where, words, key, verdict = self._of_port(port)
        name = f"to_{port.chain}"
        chain = (("NFTA_CHAIN_TABLE", self.name), ("NFTA_CHAIN_NAME", port.chain))
        return [
            self.chain(port.chain),
            self.named_set(name, 1, "integer : ipv4_addr", [INTEGER], 4, ADDRESS),
            *self._removed(published, [(words, key, None)]),
            *self._removed(where, [(f"{words} : goto {port.chain}", key, verdict)]),
            *self._flushed(port.chain, name),
            self._message(Kind.DELETE_SET, "map", ("NFTA_SET_TABLE", self.name), ("NFTA_SET_NAME", name), words=name),
            self._message(Kind.DELETE_CHAIN, "chain", *chain, words=port.chain),
        ]

    # the table inside a container

    def redirect_dns(self, server: str, udp: int, tcp: int) -> list[Message]:
        """`server`:53 means ports `udp` and `tcp`. Stateless, before conntrack looks; replaces what was there."""
        messages = [*self.fresh(), self.chain("dns", "filter", OUTPUT, RAW)]
        address = IPv4Address(server).packed
        for name, actual, checksum_at in (("udp", udp, 6), ("tcp", tcp, 16)):
            protocol = nft.protocol(name)
            for end, at, port, offset, before, after in (
                ("daddr", 16, "dport", 2, 53, actual),
                ("saddr", 12, "sport", 0, actual, 53),
            ):
                number = struct.pack(">H", after)
                ip: Part = (f"ip {end} {server}", (nft.load(1, at, 4), nft.compare(address)))
                asked: Part = (
                    f"{name} {port} {before}",
                    (nft.load(2, offset, 2), nft.compare(struct.pack(">H", before))),
                )
                become = (nft.immediate(1, number), nft.store(offset, 2, checksum_at))
                messages.append(self.rule("dns", ip, protocol, asked, (f"{name} {port} set {after}", become)))
        return messages
