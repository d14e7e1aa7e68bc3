"""A container's sandbox on its networks: joined, adopted, left; the ports that its service publishes.

`join` is for containers of services and for steps of builds alike. Raises NetworkError and OSError.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import TypeVarTuple

import trio
from pycompose.compose.engine.host import HostError
from pycompose.compose.model.observed import OneOff, short_name
from pycompose.compose.model.project import Project, Service
from pycompose.compose.state import network_changes
from pycompose.compose.state.network_changes import NO_CHANGES, Connection, NetworkChanges
from pycompose.network.errors import WouldWait
from pycompose.network.networks import Networks
from pycompose.network.spec import MACHINE_BRIDGE, Backend, BoundPort, Endpoint
from pycompose.runtime.client.sandboxes import Sandbox
from pycompose.runtime.client.worker import Worker

from . import etc_files, network_spec
from .containers import Containers, HeldContainer

Arguments = TypeVarTuple("Arguments")
FindSandbox = Callable[[str], Awaitable[Sandbox]]
LARGEST = 1 << 20  # bytes of a file in a container that is changed


async def join(
    networks: Networks,
    worker: Worker,
    sandbox: Sandbox,
    project: Project,
    service: Service,
    *,
    container_id: str,
    name: str,
    hostname: str,
    etc: str | None,
    links: Sequence[tuple[str, str]] = (),
    one_off: OneOff | None = None,
    changes: NetworkChanges = NO_CHANGES,
) -> list[Endpoint]:
    """Give a container that does not run yet its networks and its resolver, and write the files in the folder `etc`.

    `links` are addresses and names of others, for /etc/hosts. Whatever happens, the sandbox's sockets are closed, or
    the resolver's.
    """
    endpoints: list[Endpoint] = []
    if network_spec.has_network(service):
        route, netfilter, udp, tcp = sandbox.sockets
        with ExitStack() as answering:  # the resolver takes over its two
            for fd in (udp, tcp):
                answering.callback(os.close, fd)
            try:
                described = network_spec.endpoints(project, service, container_id, name, one_off)
                specs = [
                    *(spec for spec in described if spec.network not in changes.left),
                    *(network_spec.further(project, service, container_id, name, one) for one in changes.connected),
                ]
                ports = (_port_of(udp), _port_of(tcp))
                endpoints = await worker.run_here(
                    networks.at_once, WouldWait, networks.attach, sandbox.netns_fd, route, netfilter, ports, specs
                )
            finally:
                os.close(route)
                os.close(netfilter)
            answering.pop_all()
        networks.resolve(container_id, udp, tcp, service.dns)
    if etc is not None:
        _write_files(etc, service, hostname, endpoints, links)
    return endpoints


def _write_files(
    folder: str, service: Service, hostname: str, endpoints: Sequence[Endpoint], links: Sequence[tuple[str, str]]
) -> None:
    addresses = [a.partition("/")[0] for endpoint in endpoints for a in endpoint.addresses]
    gateway = next((endpoint.gateway for endpoint in endpoints if endpoint.gateway), None)
    of_host = _host_text("/etc/hosts") if service.network_mode == "host" else None
    hosts = etc_files.hosts_file(addresses, hostname, service.domainname, service.extra_hosts, gateway, of_host)
    texts = {
        "hosts": etc_files.linked(hosts, links),
        "hostname": hostname + "\n",
        "resolv.conf": etc_files.resolver_file(service, _host_text("/etc/resolv.conf")),
    }
    for name, text in texts.items():
        with open(f"{folder}/{name}", "w") as file:  # written in place: the inode is mounted
            file.write(text)


def _port_of(fd: int) -> int:
    """The port that a bound socket got."""
    with socket.socket(fileno=os.dup(fd)) as bound:
        return int(bound.getsockname()[1])


def _host_text(path: str) -> str:
    """A text file of the host; "" where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _check_mode(service: Service) -> None:
    """Raises HostError for a container whose networks are not its own, in docker's words."""
    mode = service.network_mode or ""
    if mode == "host":
        raise HostError("container cannot be disconnected from host network or connected to host network")
    if mode.startswith(("service:", "container:")):
        raise HostError(
            "container sharing network namespace with another container or host cannot be connected"
            " to any other network"
        )
    if not network_spec.has_network(service):
        raise HostError(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        )


@asynccontextmanager
async def _inside(container_id: str, find: FindSandbox) -> AsyncIterator[Sandbox]:
    """The sandbox of a container that runs; its descriptors are closed at the end."""
    sandbox = await find(container_id)
    try:
        yield sandbox
    finally:
        for fd in (sandbox.pidfd, sandbox.netns_fd, *sandbox.sockets):
            os.close(fd)


class ServiceNetwork:
    """The containers of a project on its networks. A service has its published ports while a container of it runs.

    A port is of a group: the service's, whose connections are spread over its healthy containers, or one container's.
    """

    def __init__(self, networks: Networks, worker: Worker, containers: Containers, project: str) -> None:
        self._networks, self._worker = networks, worker
        self._containers, self._project = containers, project
        self._published: dict[str, list[BoundPort]] = {}  # group -> its ports
        self._publishing: dict[str, trio.Lock] = {}

    async def join(self, held: HeldContainer, sandbox: Sandbox) -> None:
        """Before its program runs. What it leaves behind on failure, `leave` takes away."""
        async with held.networking:
            await self._join(held, sandbox)
            held.joined = True

    async def _join(self, held: HeldContainer, sandbox: Sandbox) -> None:
        project, service = self._containers.project_of(held), self._containers.service_of(held)
        if network_spec.has_network(service):
            await self._at_once(self._networks.detach, held.id)
        mode = service.network_mode or ""
        shares = mode.startswith(("service:", "container:"))  # then the files are the other one's
        endpoints = await join(
            self._networks,
            self._worker,
            sandbox,
            project,
            service,
            container_id=held.id,
            name=held.name,
            hostname=service.hostname or self._containers.hostname(service, held.id, held.name),
            etc=None if shares else f"{self._containers.folder(held)}/etc",
            links=self._links(service),
            one_off=held.labelled.one_off,
            changes=network_changes.read(self._containers.folder(held)),
        )
        if endpoints:
            held.address = self._first_address(endpoints)
            self._link_again(held, service)
            if held.labelled.hook is None:
                await self._publish(project, service, held)

    async def _at_once(self, change: Callable[[*Arguments], None], *arguments: *Arguments) -> None:
        """A short change, by this thread if it need not wait for anybody."""
        await self._worker.run_here(self._networks.at_once, WouldWait, change, *arguments)

    def _links(self, service: Service) -> list[tuple[str, str]]:
        """Addresses and names of the containers that a service on the machine's bridge is linked to.

        On networks of the file, DNS has these names.
        """
        if service.network_mode != MACHINE_BRIDGE:
            return []
        return [
            (other.address, " ".join(dict.fromkeys((alias, short_name(other.name, self._project), other.name))))
            for target, alias in service.links
            for other in self._containers.of_service(target)
            if other.address
        ]

    def _link_again(self, held: HeldContainer, service: Service) -> None:
        """A container that others are linked to has another address: they read it where they look."""
        if service.network_mode != MACHINE_BRIDGE:
            return
        for other in self._containers.all():
            if other.running and other is not held and (lines := self._links(self._containers.service_of(other))):
                self._rewrite_hosts(other, partial(etc_files.linked, lines=lines))

    def _rewrite_hosts(self, held: HeldContainer, change: Callable[[str], str]) -> None:
        """Change what a container that runs reads at /etc/hosts; in place, for the inode is mounted."""
        path = f"{self._containers.folder(held)}/etc/hosts"
        with open(path, "r+", encoding="utf-8", errors="surrogateescape") as file:
            if os.fstat(file.fileno()).st_size > LARGEST:  # the container's own doing
                return
            text = change(file.read())
            file.seek(0)
            file.write(text)
            file.truncate()

    async def reserve(self, held: HeldContainer) -> None:
        """Keep its fixed addresses for a container that was made, while it does not run, too."""
        places = network_spec.reservations(self._containers.project_of(held), self._containers.service_of(held))
        if places:
            await self._at_once(self._networks.reserve, held.id, places)

    async def unreserve(self, container_id: str) -> None:
        """A container is to be removed."""
        if container_id in self._networks.reserving:
            await self._at_once(self._networks.unreserve, container_id)

    async def recover(self, running: set[str], known: Callable[[str], bool]) -> None:
        """Free the places of containers that run no more; find the ports that are published."""
        ours = {n.name for n in self._networks.records() if n.project == self._project}
        for endpoint in self._networks.endpoints():
            stray = endpoint.network in ours and endpoint.project in (self._project, "")  # others' are theirs to free
            if endpoint.owner not in running and (known(endpoint.owner) or stray):
                await self._at_once(self._networks.detach, endpoint.owner)
        for owner in list(self._networks.reserving):
            if not known(owner):
                await self.unreserve(owner)
        for published in self._networks.published():
            group = published.publication.group
            if group.partition("/")[0] == self._project:
                self._published.setdefault(group, []).append(published)

    def places(self) -> dict[str, list[Endpoint]]:
        """Container id -> its endpoints, of every project: one look at the records for all that are adopted."""
        places: dict[str, list[Endpoint]] = {}
        for endpoint in self._networks.endpoints():
            places.setdefault(endpoint.owner, []).append(endpoint)
        return places

    def adopt(self, held: HeldContainer, sandbox: Sandbox, endpoints: Sequence[Endpoint]) -> None:
        """Serve a container that another process of ours started. Closes the sandbox's descriptors."""
        held.joined = True
        os.close(sandbox.pidfd)
        os.close(sandbox.netns_fd)
        if endpoints and len(sandbox.sockets) == 4:
            held.address = self._first_address(endpoints)
            route, netfilter, udp, tcp = sandbox.sockets
            os.close(route)
            try:
                self._networks.adopt(held.id, netfilter, udp, tcp, self._containers.service_of(held).dns)
            finally:
                os.close(netfilter)
        else:
            for fd in sandbox.sockets:
                os.close(fd)

    async def leave(self, held: HeldContainer) -> None:
        """A container does not run any more: its place on its networks is free."""
        held.running = False
        async with held.networking:
            held.joined = False
            await self._leave(held)

    async def _leave(self, held: HeldContainer) -> None:
        try:
            await self.serve(held, healthy=False)
        finally:
            held.address = ""
            await self._at_once(self._networks.detach, held.id)
        for group in self._groups(held):
            await self._release(group)

    async def connect(self, held: HeldContainer, connection: Connection, find: FindSandbox) -> None:
        """Put it on one network more. Raises HostError, in docker's words, and what `find` raises."""
        project, service = self._containers.project_of(held), self._containers.service_of(held)
        _check_mode(service)
        folder, network = self._containers.folder(held), connection.network
        record = next((one for one in self._networks.records() if one.name == network), None)
        if record is None:
            raise HostError(f"network {network} not found")
        if len(record.subnets) > 1 and not network_spec.has_ipv6(project, service):
            raise HostError(
                f"{held.name} was made without IPv6, which network {network} has",
                hint="name the network in the file, and `up` makes the container anew",
            )
        async with held.networking:
            before = network_changes.read(folder)
            if network in before.networks(held.labelled.networks):
                raise HostError(f"endpoint with name {held.name} already exists in network {network}")
            await self._worker.run(network_changes.write, folder, before.with_connection(connection))
            if not held.joined:
                return
            spec = network_spec.further(project, service, held.id, held.name, connection)
            addresses = self._addresses(held)
            try:
                async with _inside(held.id, find) as sandbox:
                    await self._worker.run(self._networks.connect, sandbox.netns_fd, sandbox.sockets[0], spec)
            except BaseException:
                with trio.CancelScope(shield=True):
                    await self._worker.run(network_changes.write, folder, before)
                raise
            await self._address_again(held, addresses)

    async def disconnect(self, held: HeldContainer, network: str, find: FindSandbox) -> None:
        """Take it off one network. Raises HostError, in docker's words, and what `find` raises."""
        _check_mode(self._containers.service_of(held))
        folder = self._containers.folder(held)
        async with held.networking:
            before = network_changes.read(folder)
            if network not in before.networks(held.labelled.networks):
                raise HostError(f"container {held.name} is not connected to network {network}")
            addresses = self._addresses(held)
            if held.joined:
                async with _inside(held.id, find) as sandbox:
                    await self._worker.run(self._networks.disconnect, held.id, network, sandbox.sockets[0])
            await self._worker.run(network_changes.write, folder, before.without(network))
            if held.joined:
                await self._address_again(held, addresses)

    def _addresses(self, held: HeldContainer) -> list[str]:
        """On all of its networks."""
        endpoints = [endpoint for endpoint in self._networks.endpoints() if endpoint.owner == held.id]
        return [address.partition("/")[0] for endpoint in endpoints for address in endpoint.addresses]

    async def _address_again(self, held: HeldContainer, before: Sequence[str]) -> None:
        """Published ports lead to the address that it has now, and it finds its addresses, once others, by its name."""
        service, addresses = self._containers.service_of(held), self._addresses(held)
        hostname = service.hostname or self._containers.hostname(service, held.id, held.name)
        gone = [address for address in before if address not in addresses]
        come = [address for address in addresses if address not in before]
        self._rewrite_hosts(held, lambda text: etc_files.readdressed(text, hostname, service.domainname, gone, come))
        held.address = self._first_address([one for one in self._networks.endpoints() if one.owner == held.id])
        if held.healthy:
            held.healthy = False
            await self.serve(held, healthy=True)

    async def serve(self, held: HeldContainer, *, healthy: bool) -> None:
        """Let it take part in its service's ports, or no more."""
        healthy = healthy and bool(held.address)
        if held.healthy == healthy:
            return
        held.healthy = healthy
        for group in self._groups(held):
            if self._published.get(group):
                members = [one for one in self._members(group) if one.healthy]
                backends = [Backend(one.id, one.address) for one in members]
                await self._at_once(self._networks.set_backends, group, backends)

    async def release_idle(self) -> None:
        """Close the ports of services and containers of which nothing runs."""
        for group in list(self._published):
            await self._release(group)

    def _groups(self, held: HeldContainer) -> tuple[str, ...]:
        """The group of its service, unless it is a one-off container, and its own."""
        alone = network_spec.group(self._project, held.service, held.id)
        return (alone,) if held.labelled.one_off else (network_spec.group(self._project, held.service), alone)

    def _members(self, group: str) -> list[HeldContainer]:
        _, service, *container = group.split("/")
        if not container:
            return self._containers.of_service(service)
        alone = self._containers.by_id(container[0])
        return [alone] if alone else []

    async def _publish(self, project: Project, service: Service, held: HeldContainer) -> None:
        """The ports that the service and the container have now; those of an earlier configuration are closed."""
        wanted = network_spec.publications(project, service, held.id, alone=held.labelled.one_off is not None)
        async with self._publishing.setdefault(held.service, trio.Lock()):
            for group in self._groups(held):
                asked = [publication for publication in wanted if publication.group == group]
                have = self._published.get(group, [])
                for old in [p for p in have if p.publication not in asked]:
                    have.remove(old)
                    await self._worker.run(self._networks.unpublish, old)
                for publication in asked:
                    if all(p.publication != publication for p in have):
                        have.append(await self._worker.run(self._networks.publish, publication))
                        self._published[group] = have

    async def _release(self, group: str) -> None:
        _, service, *_ = group.split("/")
        async with self._publishing.setdefault(service, trio.Lock()):
            if not any(held.running or held.address for held in self._members(group)):
                for port in self._published.pop(group, []):
                    await self._worker.run(self._networks.unpublish, port)

    def _first_address(self, endpoints: Sequence[Endpoint]) -> str:
        """The IPv4 address that published ports lead to: on the first network that leads outside, else on the first."""
        internal = {n.name for n in self._networks.records() if n.internal}
        outward_first = sorted(endpoints, key=lambda endpoint: endpoint.network in internal)
        addresses = [a.partition("/")[0] for endpoint in outward_first for a in endpoint.addresses]
        return next((a for a in addresses if ":" not in a), "")
