"""What a name means to who asks. Pure: bytes of a query in, bytes of an answer (or None: ask upstream) out. RFC 1035."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import IPv4Address

from ..spec import Endpoint

A, AAAA, PTR, ANY = 1, 28, 12, 255
NXDOMAIN, SERVFAIL = 3, 2
TTL = 0  # addresses move with restarts; a resolver must not keep them


def question(query: bytes) -> tuple[str, int, int] | None:
    """(name in lower case, type, where the question ends); None when it is not one question."""
    if len(query) < 17 or query[2] & 0x80 or struct.unpack_from(">H", query, 4)[0] != 1:
        return None
    labels, at = [], 12
    while query[at : at + 1] and (length := query[at]):
        if length > 63 or at + 1 + length >= len(query):
            return None
        labels.append(query[at + 1 : at + 1 + length].decode("ascii", "replace").lower())
        at += 1 + length
    if at + 5 > len(query):
        return None
    return ".".join(labels), struct.unpack_from(">H", query, at + 1)[0], at + 5


def reply(query: bytes, end: int, code: int, answers: Iterable[tuple[int, bytes]] = ()) -> bytes:
    """An authoritative-looking answer to the question that ends at `end`."""
    records = b"".join(struct.pack(">HHHIH", 0xC00C, kind, 1, TTL, len(d)) + d for kind, d in answers)
    count = sum(1 for _ in answers) if not isinstance(answers, tuple | list) else len(answers)
    flags = 0x8080 | (struct.unpack_from(">H", query, 2)[0] & 0x0100) | code
    return query[:2] + struct.pack(">HHHHH", flags, 1, count, 0, 0) + query[12:end] + records


class Zone:
    """All endpoints by network; who asks sees the networks that it is on."""

    def __init__(self) -> None:
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        self._internal: dict[str, bool] = {}
        self._turn = 0

    def add_network(self, name: str, internal: bool) -> None:
        self._internal[name] = internal

    def add(self, endpoint: Endpoint) -> None:
        self._endpoints[endpoint.network, endpoint.owner] = endpoint

    def remove(self, owner: str) -> None:
        for key in [k for k in self._endpoints if k[1] == owner]:
            del self._endpoints[key]

    def forwards(self, owner: str) -> bool:
        """Whether the owner is on any network that leads outside."""
        return any(not self._internal.get(network, False) for network, who in self._endpoints if who == owner)

    def addresses(self, owner: str, name: str) -> list[str]:
        networks = {network for network, who in self._endpoints if who == owner}
        return [
            address.partition("/")[0]
            for (network, _), e in self._endpoints.items()
            if network in networks and name in (n.lower() for n in e.names)
            for address in e.addresses
            if ":" not in address
        ]

    def answer(self, owner: str, query: bytes) -> bytes | None:
        """The answer, or None when the name is not ours and upstream may be asked."""
        asked = question(query)
        if asked is None:
            return None
        name, kind, end = asked
        found = self.addresses(owner, name)
        if found:
            self._turn += 1
            at = self._turn % len(found)
            turned = found[at:] + found[:at]
            if kind in (A, ANY):
                return reply(query, end, 0, [(A, IPv4Address(a).packed) for a in turned])
            return reply(query, end, 0)  # NODATA: the name exists, this type does not
        if kind == PTR and name.endswith(".in-addr.arpa"):
            address = ".".join(reversed(name.split(".")[:4]))
            networks = {network for network, who in self._endpoints if who == owner}
            for (network, _), e in self._endpoints.items():
                if network in networks and e.names and any(a.partition("/")[0] == address for a in e.addresses):
                    data = b"".join(bytes([len(p)]) + p.encode() for p in f"{e.names[0]}.{network}".split("."))
                    return reply(query, end, 0, [(PTR, data + b"\0")])
        return None if self.forwards(owner) else reply(query, end, NXDOMAIN)
