"""Names of endpoints, as each asker sees them: bytes of a query in, bytes of an answer, or None (ask upstream), out.

Who asks sees the networks that it is on, itself included: a name leads to all endpoints that have it there, in turned
order. A name that exists without an address of the asked kind is NODATA (no error, no answer), another NXDOMAIN or
upstream's. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from pycompose.network.spec import Endpoint

from .message import (
    AAAA,
    ANY,
    NXDOMAIN,
    PTR,
    STREAM_SIZE,
    A,
    Question,
    pointed_address,
    question,
    reply,
    wire_name,
)

REMEMBERED = 4096  # answers


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
        """The endpoint, in place of the one that its owner had on the network."""
        self.discard(endpoint.network, endpoint.owner)
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

    def discard(self, network: str, owner: str) -> None:
        """No name leads to the owner on this network any more."""
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
            orders = self._orders(owner, query, asked, stream) if asked else None
            if orders is None:
                return None
            if len(self._answers) >= REMEMBERED:
                self._answers.clear()
            turned = self._answers[key] = tuple(answer[2:] for answer in orders)
        self._turn += 1
        return query[:2] + turned[self._turn % len(turned)]

    def _orders(self, owner: str, query: bytes, asked: Question, stream: bool) -> list[bytes] | None:
        """The answer, each of its records first in turn: one order a record, at most 16. None: ask upstream."""
        size = STREAM_SIZE if stream else asked.size
        four, six = self.addresses(owner, asked.name), self.addresses(owner, asked.name, 6)
        if four or six:
            records = [(A, ip_address(a).packed) for a in four if asked.kind in (A, ANY)]
            records += [(AAAA, ip_address(a).packed) for a in six if asked.kind in (AAAA, ANY)]
            count = min(len(records), 16) or 1
            return [reply(query, asked, 0, records[n:] + records[:n], size) for n in range(count)]
        if asked.kind == PTR and (address := pointed_address(asked.name)):
            for network in self.networks_of(owner):
                endpoint = self._addresses[network].get(address)
                if endpoint and endpoint.names:
                    name = endpoint.names[min(1, len(endpoint.names) - 1)]  # the first is that of all replicas
                    return [reply(query, asked, 0, [(PTR, wire_name(f"{name}.{network}"))], size)]
        return None if self.forwards(owner) else [reply(query, asked, NXDOMAIN)]
