"""What a name means to who asks. Pure: bytes of a query in, bytes of an answer (or None: ask upstream) out.

Who asks sees the networks that it is on, itself included: a name leads to all endpoints that have it there, in turned
order. A name that exists without an address of the asked kind is NODATA (no error, no answer), another NXDOMAIN or
upstream's. RFC 1035; RFC 6891 for the size of answers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from pycompose.frozen import dataclass
from pycompose.network.spec import Endpoint

A, PTR, AAAA, OPT, ANY = 1, 12, 28, 41, 255
SERVFAIL, NXDOMAIN = 2, 3
TTL = 0  # addresses move with restarts; a resolver must not keep them
PLAIN_SIZE, LARGEST = 512, 4096  # of an answer over UDP, in bytes: without EDNS; more is never promised
REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Question:
    name: str  # lower case, without the last dot
    kind: int
    end: int  # where the question ends in the query
    size: int  # what the asker takes over UDP
    edns: bool


def question(query: bytes) -> Question | None:
    """None when it is not one question in class IN."""
    if len(query) < 17 or query[2] & 0xF8 or struct.unpack_from(">H", query, 4)[0] != 1:
        return None
    labels, at = [], 12
    while at < len(query) and (length := query[at]):
        if length > 63 or at + 1 + length >= len(query):
            return None
        labels.append(query[at + 1 : at + 1 + length].decode("latin-1").lower())
        at += 1 + length
    end = at + 5
    if end > len(query) or end - 17 > 254:
        return None
    kind, class_ = struct.unpack_from(">HH", query, at + 1)
    if class_ != 1:
        return None
    edns = len(query) >= end + 11 and query[10:12] != b"\0\0" and query[end : end + 3] == b"\0\0\x29"
    size = struct.unpack_from(">H", query, end + 3)[0] if edns else PLAIN_SIZE
    return Question(".".join(labels), kind, end, min(max(size, PLAIN_SIZE), LARGEST), edns)


def reply(
    query: bytes, asked: Question, code: int, answers: Sequence[tuple[int, bytes]] = (), size: int = 65535
) -> bytes:
    """The answer to `asked`; without any record, and marked as cut, when it is larger than `size`."""
    records = b"".join(struct.pack(">HHHIH", 0xC00C, kind, 1, TTL, len(d)) + d for kind, d in answers)
    extra = struct.pack(">BHHIH", 0, OPT, LARGEST, 0, 0) if asked.edns else b""
    flags = 0x8080 | (query[2] & 1) << 8 | code  # an answer, recursion available; recursion desired as it was
    found = len(answers)
    if asked.end + len(records) + len(extra) > size:
        records, found, flags = b"", 0, flags | 0x0200
    head = query[:2] + struct.pack(">HHHHH", flags, 1, found, 0, 1 if extra else 0)
    return head + query[12 : asked.end] + records + extra


def refusal(query: bytes) -> bytes:
    """SERVFAIL, to what may not even be a question."""
    asked = question(query)
    if asked:
        return reply(query, asked, SERVFAIL)
    return query[:2].ljust(2, b"\0") + struct.pack(">HHHHH", 0x8080 | 1, 0, 0, 0, 0)


def _pointed(name: str) -> str | None:
    """The address that a name under in-addr.arpa or ip6.arpa stands for."""
    try:
        if name.endswith(".in-addr.arpa"):
            return str(IPv4Address(".".join(reversed(name.split(".")[:-2]))))
        if name.endswith(".ip6.arpa"):
            digits = "".join(reversed(name.split(".")[:-2]))
            return str(IPv6Address(bytes.fromhex(digits)))
    except ValueError:
        return None
    return None


def _wire(name: str) -> bytes:
    return b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0"


class Zone:
    """All endpoints by network; who asks sees the networks that it is on."""

    def __init__(self) -> None:
        self._internal: dict[str, bool] = {}
        self._networks: dict[str, dict[str, Endpoint]] = {}  # network -> owner -> endpoint
        self._names: dict[str, dict[str, list[Endpoint]]] = {}  # network -> name
        self._addresses: dict[str, dict[str, Endpoint]] = {}  # network -> address
        self._of: dict[str, tuple[str, ...]] = {}  # owner -> networks
        self._answers: dict[tuple[str, int, bytes], tuple[bytes, ...]] = {}
        self._turn = 0

    def add_network(self, name: str, internal: bool) -> None:
        self._internal[name] = internal
        self._answers.clear()

    def add(self, endpoint: Endpoint) -> None:
        self._discard(endpoint.network, endpoint.owner)
        network, owner = endpoint.network, endpoint.owner
        self._networks.setdefault(network, {})[owner] = endpoint
        names = self._names.setdefault(network, {})
        for name in self._names_of(endpoint):
            names.setdefault(name, []).append(endpoint)
        for address in endpoint.addresses:
            self._addresses.setdefault(network, {})[address.partition("/")[0]] = endpoint
        self._of[owner] = (*self._of.get(owner, ()), network)
        self._answers.clear()

    @staticmethod
    def _names_of(endpoint: Endpoint) -> Iterable[str]:
        plain = dict.fromkeys(name.lower().rstrip(".") for name in endpoint.names)
        return dict.fromkeys([*plain, *(f"{name}.{endpoint.network.lower()}" for name in plain)])

    def _discard(self, network: str, owner: str) -> None:
        endpoint = self._networks.get(network, {}).pop(owner, None)
        if endpoint is None:
            return
        for name in self._names_of(endpoint):
            self._names[network][name].remove(endpoint)
            if not self._names[network][name]:
                del self._names[network][name]
        for address in endpoint.addresses:
            self._addresses[network].pop(address.partition("/")[0], None)
        self._of[owner] = tuple(n for n in self._of[owner] if n != network)
        if not self._of[owner]:
            del self._of[owner]
        self._answers.clear()

    def remove(self, owner: str) -> None:
        for network in self._of.get(owner, ()):
            self._discard(network, owner)

    def remove_network(self, name: str) -> None:
        for owner in list(self._networks.get(name, ())):
            self._discard(name, owner)
        for known in (self._networks, self._names, self._addresses, self._internal):
            known.pop(name, None)

    def discard(self, network: str, owner: str) -> None:
        self._discard(network, owner)

    def endpoints_on(self, network: str) -> list[Endpoint]:
        return list(self._networks.get(network, {}).values())

    def networks_of(self, owner: str) -> tuple[str, ...]:
        return self._of.get(owner, ())

    def endpoints_of(self, owner: str) -> list[Endpoint]:
        return [self._networks[network][owner] for network in self.networks_of(owner)]

    def forwards(self, owner: str) -> bool:
        """Whether the owner is on any network that leads outside (CVE-2024-29018)."""
        return any(not self._internal.get(network, False) for network in self.networks_of(owner))

    def addresses(self, owner: str, name: str, version: int = 4) -> list[str]:
        """What `name` means to `owner`, without prefix lengths."""
        return [
            address.partition("/")[0]
            for network in self.networks_of(owner)
            for endpoint in self._names[network].get(name.lower(), ())
            for address in endpoint.addresses
            if (":" in address) == (version == 6)
        ]

    def answer(self, owner: str, query: bytes, *, stream: bool = False) -> bytes | None:
        """The answer, or None when the name is not ours and upstream may be asked (or it is no question)."""
        key = (owner, stream, query[2:])
        turned = self._answers.get(key)
        if turned is None:
            asked = question(query)
            found = self._find(owner, query, asked, stream) if asked else None
            if found is None:
                return None
            if len(self._answers) >= REMEMBERED:
                self._answers.clear()
            turned = self._answers[key] = tuple(answer[2:] for answer in found)
        self._turn += 1
        return query[:2] + turned[self._turn % len(turned)]

    def _find(self, owner: str, query: bytes, asked: Question, stream: bool) -> list[bytes] | None:
        """Every order of the answer, at most as many as there are records."""
        size = 65535 if stream else asked.size
        four, six = self.addresses(owner, asked.name), self.addresses(owner, asked.name, 6)
        if four or six:
            records = [(A, ip_address(a).packed) for a in four if asked.kind in (A, ANY)]
            records += [(AAAA, ip_address(a).packed) for a in six if asked.kind in (AAAA, ANY)]
            orders = min(len(records), 16) or 1
            return [reply(query, asked, 0, records[n:] + records[:n], size) for n in range(orders)]
        if asked.kind == PTR and (address := _pointed(asked.name)):
            for network in self.networks_of(owner):
                endpoint = self._addresses[network].get(address)
                if endpoint and endpoint.names:
                    named = endpoint.names[min(1, len(endpoint.names) - 1)]  # the first is that of all replicas
                    return [reply(query, asked, 0, [(PTR, _wire(f"{named}.{network}"))], size)]
        return None if self.forwards(owner) else [reply(query, asked, NXDOMAIN)]
