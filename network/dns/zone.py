"""Names of endpoints, as each asker sees them: bytes of a query in, bytes of an answer, or None (ask upstream), out.

Who asks sees the networks that it is on, itself included: a name leads to all endpoints that have it there, in turned
order, as many as the answer has room for. A name that exists without an address of the asked kind is NODATA (no error,
no answer), another NXDOMAIN or upstream's. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from pycompose.network.spec import Endpoint

from .message import (
    AAAA,
    ANY,
    EDNS,
    NXDOMAIN,
    PLAIN_SIZE,
    PTR,
    STREAM_SIZE,
    A,
    Question,
    header,
    pointed_address,
    question,
    record,
    wire_name,
)

REMEMBERED = 65536  # bytes of answers to one asker
OBJECTS = 500  # bytes of the objects that hold one
ONE_QUESTION = b"\0\1\0\0\0\0\0\0"  # and nothing else
PLAIN = (b"\1\0" + ONE_QUESTION, b"\1\x20" + ONE_QUESTION)  # behind the id: recursion desired, by glibc and by musl


class Zone:
    """All endpoints by network; who asks sees the networks that it is on."""

    def __init__(self) -> None:
        self._internal: dict[str, bool] = {}
        self._networks: dict[str, dict[str, Endpoint]] = {}  # network -> owner -> endpoint
        self._names: dict[str, dict[str, list[Endpoint]]] = {}  # network -> name
        self._addresses: dict[str, dict[str, Endpoint]] = {}  # network -> address
        self._of: dict[str, tuple[str, ...]] = {}  # owner -> networks
        self._answers: dict[str, _Memory] = {}  # owner
        self._turn = 0

    def add_network(self, name: str, internal: bool) -> None:
        self._internal[name] = internal
        self._answers.clear()

    def add(self, endpoint: Endpoint) -> None:
        """The endpoint, in place of the one that its owner had on the network."""
        self.discard(endpoint.network, endpoint.owner)
        network, owner = endpoint.network, endpoint.owner
        self._networks.setdefault(network, {})[owner] = endpoint
        names = self._names.setdefault(network, {})
        for name in self._names_of(endpoint):
            names.setdefault(name, []).append(endpoint)
        for address in endpoint.plain:
            self._addresses.setdefault(network, {})[address] = endpoint
        self._of[owner] = (*self._of.get(owner, ()), network)
        self._answers.clear()

    @staticmethod
    def _names_of(endpoint: Endpoint) -> Iterable[str]:
        plain = dict.fromkeys(name.lower().rstrip(".") for name in endpoint.names)
        return dict.fromkeys([*plain, *(f"{name}.{endpoint.network.lower()}" for name in plain)])

    def discard(self, network: str, owner: str) -> None:
        """No name leads to the owner on this network any more."""
        endpoint = self._networks.get(network, {}).pop(owner, None)
        if endpoint is None:
            return
        for name in self._names_of(endpoint):
            self._names[network][name].remove(endpoint)
            if not self._names[network][name]:
                del self._names[network][name]
        for address in endpoint.plain:
            self._addresses[network].pop(address, None)
        self._of[owner] = tuple(n for n in self._of[owner] if n != network)
        if not self._of[owner]:
            del self._of[owner]
        self._answers.clear()

    def remove(self, owner: str) -> None:
        """No name leads to the owner any more."""
        for network in self._of.get(owner, ()):
            self.discard(network, owner)

    def remove_network(self, name: str) -> None:
        for owner in list(self._networks.get(name, ())):
            self.discard(name, owner)
        for known in (self._networks, self._names, self._addresses, self._internal):
            known.pop(name, None)

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
            address
            for network in self.networks_of(owner)
            for endpoint in self._names[network].get(name.lower(), ())
            for address in endpoint.plain
            if (":" in address) == (version == 6)
        ]

    def answer(self, owner: str, query: bytes, *, stream: bool = False) -> bytes | None:
        """The answer, or None when the name is not ours and upstream may be asked (or it is no question).

        Each of its records is first in turn; those that do not fit are cut off.
        """
        memory = self._answers.get(owner)
        if memory is not None and query[2:12] in PLAIN and not stream:  # how most ask: nothing is looked at twice
            known = memory.answers.get(query[12:].lower())
            if known is not None:
                self._turn = turn = self._turn + 1
                at = turn % known.count * known.width
                return query[:2] + known.head + query[12:] + known.records[at : at + known.fit]
        asked = question(query)
        known = self._known(owner, query, asked) if asked else None
        if asked is None or known is None:
            return None
        self._turn += 1
        at = self._turn % known.count * known.width
        fit, cut = known.fitting((STREAM_SIZE if stream else asked.size) - asked.end - len(EDNS) * asked.edns)
        head = header(known.code, fit // known.width if fit else 0, desired=query[2] & 1, cut=cut, edns=asked.edns)
        return query[:2] + head + query[12 : asked.end] + known.records[at : at + fit] + EDNS * asked.edns

    def _known(self, owner: str, query: bytes, asked: Question) -> _Answer | None:
        """What a question is answered with, remembered. None: ask upstream."""
        memory = self._answers.setdefault(owner, _Memory())
        key = query[12 : asked.end].lower()  # no length of a label is a letter; of types that are, none has an answer
        known = memory.answers.get(key)
        if known is None:
            answered = self._records(owner, asked)
            if answered is None:
                return None
            known = _Answer(*answered, PLAIN_SIZE - asked.end)
            memory.keep(key, known)
        return known

    def _records(self, owner: str, asked: Question) -> tuple[int, list[bytes]] | None:
        """The code and the records that answer a question. None: ask upstream."""
        four, six = self.addresses(owner, asked.name), self.addresses(owner, asked.name, 6)
        if four or six:
            # of a question for any kind, those of one kind are an answer (RFC 8482)
            kind = (A if four else AAAA) if asked.kind == ANY else asked.kind
            listed = {A: four, AAAA: six}.get(kind, [])
            return 0, [record(kind, ip_address(address).packed) for address in listed]
        if asked.kind == PTR and (address := pointed_address(asked.name)):
            for network in self.networks_of(owner):
                endpoint = self._addresses[network].get(address)
                if endpoint and endpoint.names:
                    name = endpoint.names[min(1, len(endpoint.names) - 1)]  # the first is that of all replicas
                    return 0, [record(PTR, wire_name(f"{name}.{network}"))]
        return None if self.forwards(owner) else (NXDOMAIN, [])


class _Answer:
    """What a question is answered with: records of one length, behind one another, twice: so each can be the first."""

    __slots__ = ("code", "count", "fit", "head", "records", "width")

    def __init__(self, code: int, records: Sequence[bytes], room: int) -> None:
        self.code, self.count = code, len(records) or 1
        self.width = len(records[0]) if records else 0
        self.records = b"".join(records) * 2
        self.fit, cut = self.fitting(room)
        self.head = header(code, self.fit // self.width if self.fit else 0, desired=1, cut=cut, edns=False)

    def fitting(self, room: int) -> tuple[int, bool]:
        """How many bytes of records go into so many, and whether that is not all of them."""
        size = self.count * self.width
        return (size, False) if size <= room else (max(room, 0) // self.width * self.width, True)


class _Memory:
    """Answers to one asker, by question: bounded in bytes, so that who asks for everything has no more."""

    __slots__ = ("answers", "size")

    def __init__(self) -> None:
        self.answers: dict[bytes, _Answer] = {}
        self.size = 0

    def keep(self, key: bytes, known: _Answer) -> None:
        size = len(key) + len(known.records) + OBJECTS
        if self.size + size > REMEMBERED:
            self.answers.clear()
            self.size = 0
        if size <= REMEMBERED:
            self.answers[key] = known
            self.size += size
