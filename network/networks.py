"""Networks of one project on this machine: creation, endpoints, DNS, published ports, recovery. The front door.

State is files (`records`), links (`bridge`), one nft table (`nft.table`) and listening sockets (`relay`); the first
is the truth, and the others are made from it again where they are missing. One Networks is one project's, and several
may work in the same folder at once. `run` must run for what needs a task: relaying to published ports, and DNS.

Rules: whatever changes something is a plain function and waits for the folder's lock, which another project may hold:
a process that serves tasks calls it in one worker thread of its own. Tasks and the zone that they answer from belong
to the loop (`Tasks.on_loop`), `resolve`, `adopt`, `refresh` too. `attach`, `detach`, `reserve`, `unreserve` and
`set_backends` may be called on the loop, `at_once`, while the worker does nothing: a change of threads costs more than
they do.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_network

import trio

from . import addresses, bridge, netlink
from .allocate import lay_out
from .dns.resolver import Resolver
from .dns.zone import Zone
from .errors import AddressError, NetworkError, NoSuchNetwork, translated
from .nft.guard import GuardedPort, link_local
from .nft.rules import IPV4, BridgeRules, Table
from .nft.table import Firewall, FirewallState
from .ports import Ports, port_rules
from .records import Records, boot_id
from .spec import (
    DNS_ADDRESS,
    MACHINE_BRIDGE,
    Backend,
    BoundPort,
    Endpoint,
    EndpointSpec,
    NetworkRecord,
    NetworkSpec,
    Publication,
)
from .tasks import Tasks

SETTLED = 20_000_000  # nanoseconds: two changes of a folder within a tick of its clock look like one
LINGER = 2.0  # seconds for which a released address is not given again, if there are others: its link may live yet
_MARKS = (0x5A5A, 0x6B6B)


def _bridge_rules(network: NetworkRecord) -> BridgeRules:
    return BridgeRules(network.bridge, network.subnets[0], network.internal, network.masquerade)


def _gateway_place(network: NetworkRecord) -> GuardedPort:
    return GuardedPort("", addresses.mac_of(network.gateways[0]), network.gateways)


def _place(endpoint: Endpoint) -> GuardedPort:
    plain = endpoint.plain
    if len(plain) > 1:
        plain = (*plain, link_local(endpoint.mac_address))
    return GuardedPort(endpoint.link, endpoint.mac_address, plain, endpoint.trusted)


class Networks:
    """The networks of `project`, among those of all projects in the folder `root`."""

    def __init__(self, root: str, project: str = "") -> None:
        self.root, self.project = root, project
        self.zone = Zone()
        self.dns = Resolver(self.zone, refresh=self.refresh)
        self._records = Records(root)
        self._firewall = Firewall(root, self._everything)
        self._tasks = Tasks()
        self._ports = Ports(project, self._records, self._firewall, self._tasks)
        self._leases: dict[str, dict[str, tuple[int, int]]] = {}  # network -> address -> inode and time of its lease
        self._stamps: dict[str, int] = {}
        self._released: dict[tuple[str, str], tuple[float, str]] = {}  # network, address -> when, and the old link
        self._left: list[Endpoint] = []  # released: the firewall forgets them with its next change
        self.reserving: dict[str, set[str]] = {}  # owners of this project with addresses that are kept: the networks
        self._redirect: netlink.Template | None = None
        self._links = 0
        self._recovered = False
        self._undetached: dict[str, list[Endpoint]] = {}  # owner -> addresses that could not be given back yet

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Relay published ports and answer DNS until cancelled."""
        async with trio.open_nursery() as nursery:
            self._tasks.open(nursery)
            self._ports.start()
            task_status.started()
            self._warm()
            try:
                await trio.sleep_forever()
            finally:
                self._tasks.close()

    def at_once(self) -> contextlib.AbstractContextManager[None]:
        """In the body nobody is waited for: WouldWait is raised where another process has the folder's lock."""
        return self._records.at_once()

    # --- networks

    def create(self, spec: NetworkSpec) -> NetworkRecord:
        """Make the bridge and its rules, or return what exists. Raises NetworkError."""
        with self._records.changing():
            existing = self._records.network(spec.name)
            if existing and spec.name != MACHINE_BRIDGE:
                return self._ready(existing)
            if "/" in spec.name or spec.name.startswith(".") or spec.name in ("", MACHINE_BRIDGE):
                raise NetworkError(f'"{spec.name}" cannot be the name of a network')
            if not spec.ipv4:
                raise NetworkError(f'network "{spec.name}": a network without IPv4 is not supported')
            return self._make(spec)

    def _make(self, spec: NetworkSpec) -> NetworkRecord:
        """A network that is not there yet. The lock is held."""
        network = lay_out(spec, self.root, self._records.networks())
        self._records.keep_network(network)
        try:
            return self._ready(network)
        except BaseException:
            self._records.forget_network(spec.name)
            with contextlib.suppress(OSError):
                bridge.remove(network.bridge)
            raise

    def remove(self, name: str) -> None:
        """Remove the network, if it is there. Raises NetworkError when containers are on it."""
        for owner in tuple(self._undetached):
            self.detach(owner)
        with self._records.changing(), translated(f'network "{name}" cannot be removed'):
            network = self._records.network(name)
            if network is None:
                return
            leases = self._records.leases(name)
            if leases:
                containers = ", ".join(sorted({e.names[1] if len(e.names) > 1 else e.owner[:12] for e in leases}))
                raise NetworkError(f'network "{name}" still has containers: {containers}')
            self._unmake(network)

    def _unmake(self, network: NetworkRecord) -> None:
        """Take a network away on which nobody is. The lock is held."""
        self._records.forget_network(network.name)
        self._tasks.on_loop(self._forget, network.name)
        bridge.remove(network.bridge)
        self._forwarding()
        places = self._gone()
        if self._records.current():
            self._firewall.remove_network(_bridge_rules(network), _gateway_place(network), places)
        else:
            self._firewall.remove()

    def _forget(self, name: str) -> None:
        """The network has no names any more. On the loop."""
        self.zone.remove_network(name)
        self._leases.pop(name, None)
        self._stamps.pop(name, None)

    def records(self) -> list[NetworkRecord]:
        """The networks of all projects."""
        return self._records.networks()

    def endpoints(self) -> list[Endpoint]:
        """The endpoints of all projects."""
        return [e for n in self._records.networks() for e in self._records.leases(n.name)]

    def _ready(self, network: NetworkRecord) -> NetworkRecord:
        """Make what is missing of the network: its bridge, its rules. After a reboot all is, and no lease holds."""
        with translated(f'network "{network.name}" cannot be made'):
            boot = boot_id()
            if network.boot_id != boot:
                for address in self._records.leased(network.name):
                    self._records.forget_lease(network.name, address)
                network = replace(network, boot_id=boot)
                self._records.keep_network(network)
            # the rules name links that are not there yet: nothing is open for a moment
            self._firewall.add_network(_bridge_rules(network), _gateway_place(network), closed=self._closed())
            bridge.make(network, self._records.leases(network.name) if not bridge.index_of(network.bridge) else ())
            self._forwarding()
            self._tasks.on_loop(self.zone.add_network, network.name, network.internal)
            return network

    def _everything(self) -> FirewallState:
        boot, networks = boot_id(), self._records.current()
        ports = [port_rules(p) for p in self._records.ports() if p.boot_id == boot]
        places = [_place(endpoint) for network in networks for endpoint in self._records.leases(network.name)]
        return FirewallState(
            tuple(map(_bridge_rules, networks)),
            tuple(p for p in ports if p),
            (*map(_gateway_place, networks), *places),
            self._closed(),
        )

    def _closed(self) -> bool:
        """Whether the host forwards for our bridges alone: it did not before there was one."""
        before = self._records.forwarding_before()
        return (bridge.read_switch(bridge.FORWARD) if before is None else before) == "0"

    def _forwarding(self) -> None:
        """Switch ip_forward on while there is a network, and then back to what it was."""
        before = self._records.forwarding_before()
        if self._records.current():
            if before is None:
                self._records.keep_forwarding(bridge.read_switch(bridge.FORWARD))
            if bridge.read_switch(bridge.FORWARD) != "1":
                bridge.set_switch(bridge.FORWARD, "1")
        elif before is not None:
            bridge.set_switch(bridge.FORWARD, before)
            self._records.keep_forwarding(None)

    # --- endpoints

    def attach(
        self,
        netns_fd: int,
        route_socket: int | socket.socket,
        netfilter_socket: int | socket.socket | None,
        dns_ports: tuple[int, int] | None,
        specs: Sequence[EndpointSpec],
        *,
        has_route: bool = False,
    ) -> list[Endpoint]:
        """Join a namespace to networks; `dns_ports` are those of its udp and tcp sockets on 127.0.0.11.

        All or nothing. `has_route`: it has a default route. Raises NetworkError.
        """
        joined: list[tuple[Endpoint, NetworkRecord]] = []
        with self._records.changing(), translated("cannot join the networks"):
            try:
                for number, spec in enumerate(specs):
                    network = self._records.network(spec.network)
                    if network is None and spec.network == MACHINE_BRIDGE:
                        network = self._make(NetworkSpec(MACHINE_BRIDGE, ""))
                    if network is None:
                        raise NoSuchNetwork(spec.network)
                    if bridge.index_of(network.bridge) is None or network.boot_id != boot_id():
                        network = self._ready(network)
                    joined.append((self._lease(network, spec, number), network))
                routed = [(not spec.default_route, n) for n, spec in enumerate(specs) if joined[n][0].gateway]
                gateway = joined[min(routed)[1]][0] if routed and not has_route else None
                self._firewall.change_places([_place(endpoint) for endpoint, _ in joined], self._gone())
                with _borrowed(route_socket) as inside:
                    bridge.join(netns_fd, inside, joined, gateway)
                if netfilter_socket is not None and dns_ports is not None:
                    self._redirect_dns(netfilter_socket, dns_ports)
            except BaseException:
                self._release([endpoint for endpoint, _ in joined])
                raise
        self._tasks.on_loop(self._name, joined)
        return [endpoint for endpoint, _ in joined]

    def connect(self, netns_fd: int, route_socket: int, spec: EndpointSpec) -> None:
        """Join a namespace that is on networks to one more. Its default route stays. Raises NetworkError."""
        present = [endpoint for endpoint in self.endpoints() if endpoint.owner == spec.owner]
        taken = {endpoint.interface for endpoint in present}
        free = next(name for number in itertools.count() if (name := f"eth{number}") not in taken)
        has_route = any(endpoint.gateway for endpoint in present)
        self.attach(netns_fd, route_socket, None, None, [replace(spec, interface=free)], has_route=has_route)

    def disconnect(self, owner: str, network: str, route_socket: int) -> None:
        """Take a namespace that lives on off a network; a default route goes by another one. Raises NetworkError."""
        with self._records.changing(), translated(f'cannot leave the network "{network}"'):
            endpoint = next((one for one in self._records.leases(network) if one.owner == owner), None)
            if endpoint is None:
                return
            bridge.remove(endpoint.link)
            self._tasks.on_loop(self.zone.discard, network, owner)
            self._ports.without({endpoint.address})
            self._release([endpoint])
            further = next((one for one in self.endpoints() if one.owner == owner and one.gateway), None)
            if endpoint.gateway and further is not None:
                with _borrowed(route_socket) as inside:
                    bridge.route_through(inside, further)

    def _lease(self, network: NetworkRecord, spec: EndpointSpec, number: int) -> Endpoint:
        """Write down the addresses that an endpoint gets. The lock is held. Raises AddressError."""
        taken = {*self._records.leased(network.name), *network.gateways, *network.reserved}
        if spec.ipv4_address is None:
            taken |= self._kept(network, spec)
        now = time.monotonic()
        self._released = {k: v for k, v in self._released.items() if v[0] > now - LINGER}
        later = [address for name, address in self._released if name == network.name]
        subnet = network.subnets[0]
        address = addresses.choose_address(
            subnet, taken, wanted=spec.ipv4_address, range_=network.ip_range, later=later
        )
        released = self._released.pop((network.name, address), None)
        if released:
            bridge.remove(released[1])
        leased_addresses = [f"{address}/{ip_network(subnet).prefixlen}"]
        if len(network.subnets) > 1:
            six = network.subnets[1]
            used = {a for e in self._records.leases(network.name) for a in e.plain} | set(network.gateways)
            if spec.ipv6_address:
                chosen = addresses.choose_address(six, used, wanted=spec.ipv6_address)
            else:
                chosen = addresses.address6_of(six, subnet, address)
                if chosen in (used := used | self._asked_for(network, spec)):  # beside an IPv4 one that the file fixes
                    chosen = addresses.choose_address(six, used)
            leased_addresses.append(f"{chosen}/{ip_network(six).prefixlen}")
        elif spec.ipv6_address:
            raise AddressError(f'network "{network.name}" has no IPv6 for {spec.ipv6_address}', hint="set enable_ipv6")
        self._links += 1
        endpoint = Endpoint(
            network.name,
            spec.owner,
            spec.interface or f"eth{number}",
            tuple(leased_addresses),
            spec.mac_address or addresses.mac_of(address),
            None if network.internal else network.gateways[0],
            spec.names,
            self.project,
            addresses.link_name("pc", self.root, spec.owner, network.name, str(os.getpid()), str(self._links)),
            spec.trusted,
        )
        self._records.keep_lease(endpoint)
        return endpoint

    def _kept(self, network: NetworkRecord, spec: EndpointSpec) -> set[str]:
        """IPv4 addresses that others have asked for, or whose IPv6 ones they have."""
        kept = self._asked_for(network, spec)
        four = {address for address in kept if ":" not in address}
        if len(network.subnets) > 1:
            six = (addresses.address4_of(network.subnets[0], network.subnets[1], a) for a in kept - four)
            four.update(filter(None, six))
        return four

    def _asked_for(self, network: NetworkRecord, spec: EndpointSpec) -> set[str]:
        """Addresses that are others', now or later: those of the file, and of containers that do not run."""
        reserved = self._records.reserved(network.name)
        return {*spec.avoided, *(address for address, (owner, _) in reserved.items() if owner != spec.owner)}

    def reserve(self, owner: str, places: Sequence[tuple[str, str]]) -> None:
        """Keep addresses, each of a network, for an owner until `unreserve`, whether it runs or not."""
        with self._records.changing(), translated("addresses cannot be reserved"):
            for network, address in places:
                if self._records.network(network) is not None:
                    self._records.reserve(network, address, owner, self.project)
                    self.reserving.setdefault(owner, set()).add(network)

    def unreserve(self, owner: str) -> None:
        """The owner is no more: its addresses are anybody's."""
        with self._records.changing(), translated("addresses cannot be given back"):
            for network in self.reserving.pop(owner, ()):
                self._records.unreserve(network, owner)

    def _name(self, joined: Sequence[tuple[Endpoint, NetworkRecord]]) -> None:
        """Names lead to these endpoints from now on. On the loop."""
        for endpoint, network in joined:
            self.zone.add_network(endpoint.network, network.internal)
            self.zone.add(endpoint)

    def _release(self, endpoints: Sequence[Endpoint]) -> None:
        """These have no place any more; the machine's bridge goes with its last. The lock is held."""
        for endpoint in endpoints:
            self._records.forget_lease(endpoint.network, endpoint.address)
            self._released[endpoint.network, endpoint.address] = time.monotonic(), endpoint.link
            self._left.append(endpoint)
        if any(endpoint.network == MACHINE_BRIDGE for endpoint in endpoints):
            machine_wide = self._records.network(MACHINE_BRIDGE)
            if machine_wide is not None and not self._records.leased(MACHINE_BRIDGE):
                self._unmake(machine_wide)

    def _gone(self) -> list[GuardedPort]:
        """Places that are free: those of released endpoints whose addresses nobody has again. The lock is held."""
        left, self._left = self._left, []
        return [_place(endpoint) for endpoint in left if self._records.is_free(endpoint)]

    def detach(self, owner: str) -> None:
        """Forget the owner's addresses and answer it no more; its links die with its namespace."""
        endpoints = self._tasks.on_loop(self.zone.endpoints_of, owner) or self._undetached.get(owner, [])
        if not self._recovered:  # since then the zone has all of this project
            endpoints = endpoints or [e for e in self.endpoints() if e.owner == owner]
        if not endpoints:
            self._tasks.on_loop(self._tasks.stop, owner)
            return
        try:
            with self._records.changing(), translated("published ports cannot be changed"):
                self._tasks.on_loop(self._unname, owner)
                self._ports.without({endpoint.address for endpoint in endpoints})
                self._release(endpoints)
        except BaseException:
            self._undetached[owner] = list(endpoints)
            raise
        self._undetached.pop(owner, None)

    def _unname(self, owner: str) -> None:
        """Answer an owner no more, and nobody with it. On the loop."""
        self._tasks.stop(owner)
        self.zone.remove(owner)

    # --- DNS

    def resolve(self, owner: str, udp_fd: int, tcp_fd: int, upstreams: Sequence[str] = ()) -> None:
        """Answer these two sockets from now on, until `detach`. Takes both descriptors over.

        What is not of the owner's networks is asked from `upstreams`; without any, from the host's.
        """
        self._tasks.start(owner, self.dns.serve, udp_fd, tcp_fd, owner, tuple(upstreams))

    def adopt(
        self,
        owner: str,
        netfilter_socket: int | socket.socket,
        udp_fd: int,
        tcp_fd: int,
        upstreams: Sequence[str] = (),
    ) -> None:
        """Serve a container that runs already, with these (the same, or new) DNS sockets of its namespace.

        Takes udp and tcp over, borrows netfilter. May be repeated. Raises NetworkError.
        """
        ports = []
        for fd in (udp_fd, tcp_fd):
            with _borrowed(fd) as sock:
                ports.append(sock.getsockname()[1])
        with translated("the container's DNS cannot be redirected"):
            self._redirect_dns(netfilter_socket, (ports[0], ports[1]))
        self.resolve(owner, udp_fd, tcp_fd, upstreams)

    def _warm(self) -> netlink.Template:
        """Encode what every container's start needs before there is one."""
        if self._redirect is None:
            table = Table("pycompose", IPV4)
            marks = [number.to_bytes(2, "big") for number in _MARKS]
            self._redirect = netlink.Template(table.redirect_dns(DNS_ADDRESS, *_MARKS), IPV4, marks)
            self._firewall.warm()
        return self._redirect

    def _redirect_dns(self, netfilter_socket: int | socket.socket, ports: tuple[int, int]) -> None:
        with _borrowed(netfilter_socket) as sock:
            netlink.apply_rules(sock, self._warm().filled([port.to_bytes(2, "big") for port in ports]))

    def refresh(self, owner: str) -> None:
        """Read what other processes changed on the owner's networks: a folder tells that by its time. On the loop."""
        for network in self.zone.networks_of(owner):
            try:
                stamp = os.stat(self._records.lease_folder(network)).st_mtime_ns
            except OSError:
                continue
            if stamp != self._stamps.get(network) or stamp > time.time_ns() - SETTLED:
                self._stamps[network] = stamp
                self._reread(network)

    def _reread(self, network: str) -> None:
        before = self._leases.setdefault(network, {})
        now: dict[str, tuple[int, int]] = {}
        with contextlib.suppress(OSError), os.scandir(self._records.lease_folder(network)) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    with contextlib.suppress(OSError):
                        status = entry.stat()
                        now[entry.name] = status.st_ino, status.st_mtime_ns
        if now == before:
            return
        record = self._records.network(network)
        self.zone.add_network(network, bool(record and record.internal))
        named = {e.address: e for e in self.zone.endpoints_on(network)}
        for address in named.keys() - now.keys():
            self.zone.discard(network, named[address].owner)
        for address, state in now.items():
            if before.get(address) != state and (endpoint := self._records.lease(network, address)):
                self.zone.add(endpoint)
        self._leases[network] = now

    # --- published ports

    def publish(self, publication: Publication) -> BoundPort:
        """Reserve the first free port of the range, or keep the one that it has. Raises PortTaken."""
        return self._ports.publish(publication)

    def unpublish(self, published: BoundPort) -> None:
        """Close the port, and take its rules away."""
        self._ports.unpublish(published)

    def set_backends(self, group: str, backends: Sequence[Backend]) -> None:
        """Where the connections to the group's published ports go from now on; without any, they are refused."""
        self._ports.set_backends(group, backends)

    def published(self, group: str | None = None) -> list[BoundPort]:
        """The ports that the group has, or any group of any project: this process's, or an earlier one's."""
        return self._ports.all(group)

    def backends(self, group: str) -> list[Backend]:
        """Where the group's connections go."""
        return self._ports.backends(group)

    # --- after a restart

    def recover(self) -> list[NetworkRecord]:
        """Read what there is, and make what is missing: after a restart of the caller, or of the machine.

        This project's published ports are held again. One that another program took meanwhile stays published over
        IPv4, where the firewall comes first.
        """
        boot = boot_id()
        with self._records.changing():
            for network in self._records.networks():
                if network.project == self.project or network.boot_id == boot:
                    self._ready(network)
            self._ports.forget_old()
            if self._records.current():
                with translated("the firewall's table cannot be made"):
                    self._firewall.ensure()
        records = self.records()
        for network in records:
            for owner, project in self._records.reserved(network.name).values():
                if project == self.project:
                    self.reserving.setdefault(owner, set()).add(network.name)
        self._tasks.on_loop(self._reread_all, records)
        self._ports.hold_again()
        self._recovered = True
        return records

    def _reread_all(self, records: Iterable[NetworkRecord]) -> None:
        for network in records:
            self.zone.add_network(network.name, network.internal)
            self._reread(network.name)


def _borrowed(lender: int | socket.socket) -> socket.socket:
    fd = lender if isinstance(lender, int) else lender.fileno()
    return socket.socket(fileno=os.dup(fd))
