"""Rules of nftables for the ports of bridges: who sends what, below routing, as data. Pure.

One table of family bridge, beside the one of `rules`. A container has NET_RAW, as with Docker, and may send any frame;
here each port is held to the MAC and the addresses that its container was given:

    table bridge pycompose_…
      ports, trusted           our ends of containers' pairs; the trusted ones may speak for addresses that are nobody's
      places, places4, places6    port . MAC, port . address: what a port may speak for
      macs, known4, known6     all MACs and addresses of containers and gateways
      chain strict             its own MAC, ARP and addresses; no router advertisement, no other protocol
      chain loose              what is another's is not its to claim: MACs, ARP, neighbour discovery

`trusted` are containers that may administer their network (NET_ADMIN): routers, VPNs, virtual addresses. Every change
can be repeated. Numbers are from linux/netfilter/nf_tables.h, offsets from RFC 826 and RFC 4861.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address

from pycompose.frozen import dataclass

from . import expressions as nft
from .expressions import GOTO, Part
from .rules import ADDRESS, BRIDGE, IFNAME, PREROUTING, RAW, Message, Pair, Table, padded

ADDRESS6, ETHERNET = 8, 9  # types, as nft prints them


@dataclass(frozen=True, slots=True)
class GuardedPort:
    """A container's port, or a gateway (which has none), and what it speaks for."""

    link: str
    mac: str
    addresses: tuple[str, ...]  # without prefix length
    trusted: bool = False


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def link_local(mac: str) -> str:
    """The IPv6 address that a link gives itself (RFC 4291, appendix A)."""
    octets = _octets(mac)
    identifier = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + identifier))


def _is(kind: str, number: int) -> Part:
    return f"ether type {kind}", (nft.load(0, 12, 2), nft.compare(struct.pack(">H", number)))


def _icmpv6(words: str, number: int) -> Part:
    known = (nft.meta(16), nft.compare(b"\x3a"), nft.load(2, 0, 1), nft.compare(bytes([number])))
    return f"icmpv6 type {words}", known


def _known(words: str, base: int, at: int, length: int, name: str) -> Part:
    """A field of the frame is in a set."""
    return f"{words} @{name}", (nft.load(base, at, length), nft.lookup(name))


def _not_its_own(words: str, base: int, at: int, length: int, name: str) -> Part:
    """The port does not speak for a field of the frame."""
    return f"iifname . {words} != @{name}", (
        nft.meta(6),
        nft.load(base, at, length, 2),
        nft.lookup(name, inverted=True),
    )


FIELDS = {  # words, base (0 link, 1 network, 2 transport), offset, length
    "mac": ("ether saddr", 0, 6, 6),
    "arp mac": ("arp saddr ether", 1, 8, 6),
    "arp": ("arp saddr ip", 1, 14, 4),
    "four": ("ip saddr", 1, 12, 4),
    "six": ("ip6 saddr", 1, 8, 16),
    "advertised": ("icmpv6 taddr", 2, 8, 16),
}
IP4, ARP, IP6 = _is("ip", 0x800), _is("arp", 0x806), _is("ip6", 0x86DD)
ROUTER, REDIRECT = _icmpv6("nd-router-advert", 134), _icmpv6("nd-redirect", 137)
QUESTION, ADVERTISEMENT = _icmpv6("nd-neighbor-solicit", 135), _icmpv6("nd-neighbor-advert", 136)


class GuardTable(Table):
    """The messages for the table of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name, BRIDGE)

    def skeleton(self) -> list[Message]:
        """An empty table with all of its rules."""
        rule, named = self.rule, self.named_set

        def foreign(field: str, name: str) -> Part:
            return _not_its_own(*FIELDS[field], name)

        def known(field: str, name: str) -> Part:
            return _known(*FIELDS[field], name)

        body = [
            named("ports", 1, "ifname", [IFNAME], 16),
            named("trusted", 2, "ifname", [IFNAME], 16),
            named("places", 3, "ifname . ether_addr", [IFNAME, ETHERNET], 24),
            named("places4", 4, "ifname . ipv4_addr", [IFNAME, ADDRESS], 20),
            named("places6", 5, "ifname . ipv6_addr", [IFNAME, ADDRESS6], 32),
            named("macs", 6, "ether_addr", [ETHERNET], 6),
            named("known4", 7, "ipv4_addr", [ADDRESS], 4),
            named("known6", 8, "ipv6_addr", [ADDRESS6], 16),
            self.chain("prerouting", "filter", PREROUTING, RAW),
            self.chain("strict"),
            self.chain("loose"),
            rule("prerouting", nft.comes_from("ports"), nft.end("goto strict", GOTO, "strict")),
            rule("prerouting", nft.comes_from("trusted"), nft.end("goto loose", GOTO, "loose")),
            rule("strict", foreign("mac", "places"), nft.DROP),
            rule("strict", IP4, foreign("four", "places4"), nft.DROP),
            rule("strict", IP4, nft.ACCEPT),
            rule("strict", ARP, foreign("arp", "places4"), nft.DROP),
            rule("strict", ARP, foreign("arp mac", "places"), nft.DROP),
            rule("strict", ARP, nft.ACCEPT),
            rule("strict", IP6, foreign("six", "places6"), nft.DROP),
            rule("strict", IP6, ROUTER, nft.DROP),
            rule("strict", IP6, REDIRECT, nft.DROP),
            rule("strict", IP6, ADVERTISEMENT, foreign("advertised", "places6"), nft.DROP),
            rule("strict", IP6, nft.ACCEPT),
            rule("strict", nft.DROP),
            rule("loose", known("mac", "macs"), foreign("mac", "places"), nft.DROP),
            rule("loose", ARP, known("arp", "known4"), foreign("arp", "places4"), nft.DROP),
            rule("loose", IP6, QUESTION, known("six", "known6"), foreign("six", "places6"), nft.DROP),
            rule(
                "loose", IP6, ADVERTISEMENT, known("advertised", "known6"), foreign("advertised", "places6"), nft.DROP
            ),
        ]
        return [*self.fresh(), *body, self.chain(self.version(body))]

    @staticmethod
    def keys(port: GuardedPort) -> list[bytes]:
        """What of a port with one address stands in the keys of its elements."""
        return [padded(port.link), _octets(port.mac), ip_address(port.addresses[0]).packed]

    def _elements(self, place: GuardedPort) -> list[tuple[str, list[Pair]]]:
        """A place's elements by set."""
        link, mac = padded(place.link) if place.link else b"", _octets(place.mac)
        sets: list[tuple[str, list[Pair]]] = [("macs", [(place.mac, mac, None)])]
        if link:
            sets.append(("trusted" if place.trusted else "ports", [(f'"{place.link}"', link, None)]))
            sets.append(("places", [(f'"{place.link}" . {place.mac}', link + mac.ljust(8, b"\0"), None)]))
        for address in place.addresses:
            packed, version = ip_address(address).packed, 6 if ":" in address else 4
            sets.append((f"known{version}", [(address, packed, None)]))
            if link:
                sets.append((f"places{version}", [(f'"{place.link}" . {address}', link + packed, None)]))
        return sets

    def add(self, places: Sequence[GuardedPort]) -> list[Message]:
        return [self.elements(name, pairs) for place in places for name, pairs in self._elements(place)]

    def remove(self, places: Sequence[GuardedPort]) -> list[Message]:
        return [m for place in places for name, pairs in self._elements(place) for m in self._removed(name, pairs)]
