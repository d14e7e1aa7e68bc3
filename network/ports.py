"""Published ports: the group that has each, the backends that it leads to, the listening sockets that hold it.

A port is a file, a few elements of the firewall, and sockets that hold it and relay what is not IPv4 (`relay`).
Only this project's ports are held, changed or closed.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from . import netlink, relay
from .errors import NetworkError, PortTaken, translated
from .nft.expressions import PROTOCOLS
from .nft.rules import PortRules
from .nft.table import Firewall
from .records import Records, boot_id
from .spec import Backend, BoundPort, PortRecord, Publication
from .tasks import Tasks

LISTED = 16  # ports of a range whose holders are looked for


def port_rules(port: PortRecord) -> PortRules | None:
    """A port as the firewall knows it; None for one that only the relay serves."""
    publication = port.published.publication
    if publication.host_ip and ":" in publication.host_ip:
        return None
    host_ip = None if publication.host_ip in (None, "", "0.0.0.0") else publication.host_ip
    backends = tuple(b.address for b in port.backends)
    return PortRules(host_ip, port.published.port, publication.protocol, publication.target, backends)


class Ports:
    """The ports of `project`, among those of all projects."""

    def __init__(self, project: str, records: Records, firewall: Firewall, tasks: Tasks) -> None:
        self.project = project
        self._records, self._firewall, self._tasks = records, firewall, tasks
        self._held: dict[BoundPort, list[socket.socket]] = {}
        self._backends: dict[BoundPort, tuple[str, ...]] = {}

    def publish(self, publication: Publication) -> BoundPort:
        """Reserve the first free port of the range, or keep the one that it has. Raises PortTaken."""
        p = publication
        for published in self._held:
            if published.publication == p:
                return published
        with self._records.changing(), translated(f"port {p.first}/{p.protocol} cannot be published"):
            for port in range(p.first, p.last + 1):
                sockets = relay.hold(p.host_ip, port, p.protocol)
                if sockets:
                    break
            else:
                raise self._taken(p)
            published = BoundPort(p, p.host_ip or "0.0.0.0", sockets[0].getsockname()[1])
            try:
                self.lead([PortRecord(published, self.project, boot_id())])
            except BaseException:
                for sock in sockets:
                    sock.close()
                self._records.forget_port(published)
                raise
        self._held[published] = sockets
        self.relay(published)
        return published

    def _taken(self, p: Publication) -> PortTaken:
        """No port that was asked for is free."""
        if p.first == p.last:
            return PortTaken(p.host_ip or "0.0.0.0", f"{p.first}", p.protocol, self._holder(p.first, p))
        holders = {self._holder(port, p) for port in range(p.first, p.last + 1)[:LISTED]}
        count = p.last - p.first + 1
        hint = f"each container takes one: the range has room for {count}; use a larger one, or fewer replicas"
        listed = ", ".join(sorted(filter(None, holders)))
        return PortTaken(p.host_ip or "0.0.0.0", f"{p.first}-{p.last}", p.protocol, listed, hint)

    def _holder(self, number: int, p: Publication) -> str:
        """Who has a port of the host, in words."""
        for port in self._records.ports():
            if (port.published.port, port.published.publication.protocol) == (number, p.protocol):
                project, service, *_ = (*port.published.publication.group.split("/"), "")
                if port.project and port.boot_id == boot_id():
                    return f'service "{service}" of project "{project}"'
        return relay.holder_of(p.host_ip, number, p.protocol)

    def relay(self, published: BoundPort) -> None:
        """Serve what the firewall does not: IPv6, and the host's own connections, while there is a nursery."""
        sockets = self._held.get(published)
        if self._tasks.nursery is not None and sockets:
            backends = partial(self._backends.get, published, ())
            self._tasks.on_loop(self._tasks.start, published, relay.relay, published, sockets, backends)

    def unpublish(self, published: BoundPort) -> None:
        """Close the port, and take its rules away."""
        sockets = self._held.pop(published, [])
        self._backends.pop(published, None)
        # before the sockets are closed: a cancelled task does not wait for them any more
        self._tasks.on_loop(self._tasks.stop, published)
        for sock in sockets:
            sock.close()
        with self._records.changing(), translated("a port cannot be unpublished"):
            port = self._records.port(published)
            self._records.forget_port(published)
            if port and (rules := port_rules(port)) and self._records.current():
                self._firewall.unpublish(rules)

    def all(self, group: str | None = None) -> list[BoundPort]:
        """The ports that the group has, or any group of any project: this process's, or an earlier one's."""
        ports = [p.published for p in self._records.ports()]
        return [p for p in ports if group is None or p.publication.group == group]

    def backends(self, group: str) -> list[Backend]:
        """Where the group's connections go."""
        backends = (p.backends for p in self._records.ports() if p.published.publication.group == group)
        return list(next(backends, ()))

    def set_backends(self, group: str, backends: Sequence[Backend]) -> None:
        """Where the connections to the group's published ports go from now on."""
        wanted = tuple(backends)
        with self._records.changing(), translated("published ports cannot be changed"):
            changed = [
                replace(port, backends=wanted)
                for port in self._records.ports()
                if port.published.publication.group == group and port.backends != wanted
            ]
            self.lead(changed)

    def lead(self, ports: Sequence[PortRecord]) -> None:
        """Write the ports, change the firewall, and end flows of datagrams to who is a backend no more.

        The lock is held.
        """
        before = {port.published: self._records.port(port.published) for port in ports}
        for port in ports:
            self._records.keep_port(port)
            self._backends[port.published] = tuple(b.address for b in port.backends)
        ruled = [(port, rules) for port in ports if (rules := port_rules(port))]
        self._firewall.publish([rules for _, rules in ruled])
        for port, rules in ruled:
            old = before[port.published]
            if old and rules.protocol == "udp":
                for address in {b.address for b in old.backends} - set(rules.backends):
                    netlink.forget_connections(self._firewall.socket, address, PROTOCOLS["udp"], rules.port)

    def without(self, addresses: set[str]) -> None:
        """Lead none of the project's ports to these addresses any more. The lock is held."""
        for port in self._records.ports():
            left = tuple(b for b in port.backends if b.address not in addresses)
            if left != port.backends and port.project == self.project:
                self.lead([replace(port, backends=left)])

    def start(self) -> None:
        """Relay the ports that are held: there is a nursery now."""
        for published in self._held:
            self.relay(published)

    def forget_old(self) -> None:
        """Forget the project's ports of an earlier boot. The lock is held."""
        boot = boot_id()
        for port in self._records.ports():
            if port.project == self.project and port.boot_id != boot:
                self._records.forget_port(port.published)

    def hold_again(self) -> None:
        """Hold the ports that an earlier process held.

        One that another program took meanwhile stays published over IPv4.
        """
        for port in self._records.ports():
            if port.project == self.project and port.published not in self._held:
                publication = port.published.publication
                with contextlib.suppress(NetworkError):
                    self._held[port.published] = relay.hold(
                        publication.host_ip, port.published.port, publication.protocol
                    )
                self._backends[port.published] = tuple(b.address for b in port.backends)
                self.relay(port.published)
