"""The networks of this machine: made, joined, published to, removed, found again. State is files under `root`.

    <root>/<name>/network.json            one NetworkRecord (with what the rules need)
    <root>/<name>/leases/<address>        one Endpoint
    <root>/.published/<protocol>-<port>-<ip>.json   one published port with its backends
    <root>/.lock · .forward               held while anything changes · what ip_forward was before us

The firewall table is always a function of these files. Links die with their namespaces; nothing waits for that.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from ipaddress import ip_network
from typing import Any

import trio

from . import addresses, netlink, rules
from .dns.zone import Zone
from .errors import AddressError, NetworkError, PortTaken
from .spec import Backend, Endpoint, EndpointSpec, NetworkRecord, NetworkSpec, Pool, Publication, PublishedPort

DNS_ADDRESS = "127.0.0.11"
FORWARD = "/proc/sys/net/ipv4/ip_forward"
FIRST_INDEX = 100  # of links inside: above the fall-back tunnels that some kernels put into every namespace


def _write(path: str, value: Mapping[str, Any]) -> None:
    with open(path + "~", "w", encoding="utf-8") as file:
        json.dump(value, file)
    os.replace(path + "~", path)


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, encoding="utf-8") as file:
            value: dict[str, Any] = json.load(file)
            return value
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _sysctl(path: str, value: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(value)


def _endpoint(d: Mapping[str, Any]) -> Endpoint:
    return Endpoint(**{**d, "addresses": tuple(d["addresses"]), "names": tuple(d["names"])})


class Networks:
    def __init__(self, root: str) -> None:
        self.root = root
        self.zone = Zone()
        self._listening: dict[PublishedPort, list[socket.socket]] = {}
        os.makedirs(f"{root}/.published", exist_ok=True)

    # --- networks

    async def create(self, spec: NetworkSpec) -> NetworkRecord:
        """Make the bridge and its rules, or return what exists. Raises NetworkError."""
        with self._changing():
            existing = self._network(spec.name)
            if existing:
                self._ensure(existing)
                return self._record(existing)
            if "/" in spec.name or spec.name.startswith("."):
                raise NetworkError(f'"{spec.name}" cannot be the name of a network')
            pool = next((p for p in spec.pools if not p.subnet or ":" not in p.subnet), Pool())
            with netlink.open_route() as sock:
                taken = [*netlink.routes(sock), *(s for n in self._networks() for s in n["subnets"])]
                mtu = spec.mtu or netlink.uplink_mtu(sock)
            try:
                subnet = str(ip_network(pool.subnet)) if pool.subnet else addresses.choose_subnet(taken)
            except ValueError as error:
                raise AddressError(f'"{pool.subnet}" of network "{spec.name}" is not a subnet: {error}') from error
            if pool.subnet and any(ip_network(subnet).overlaps(ip_network(t)) for t in taken if "/0" not in t):
                raise AddressError(f'subnet {subnet} of network "{spec.name}" overlaps one that this host already has')
            value = {
                "name": spec.name,
                "project": spec.project,
                "bridge": spec.bridge or addresses.link_name("br-", spec.name),
                "subnets": [subnet],
                "gateways": [addresses.gateway_of(pool, subnet)],
                "internal": spec.internal,
                "mtu": mtu,
                "labels": dict(spec.labels),
                "created": time.time(),
                "boot_id": _boot_id(),
                "masquerade": spec.masquerade,
                "reserved": list(pool.reserved),
                "range": pool.ip_range,
            }
            os.makedirs(f"{self.root}/{spec.name}/leases", exist_ok=True)
            _write(f"{self.root}/{spec.name}/network.json", value)
            try:
                self._ensure(value)
            except BaseException:
                self._forget(spec.name)
                raise
            return self._record(value)

    async def remove(self, name: str) -> None:
        with self._changing():
            value = self._network(name)
            if value is None:
                return
            if os.listdir(f"{self.root}/{name}/leases"):
                raise NetworkError(f'network "{name}" still has containers')
            self._forget(name)
            with netlink.open_route() as sock, contextlib.suppress(OSError):
                netlink.transact(sock, [netlink.delete_link(value["bridge"])])
            self._apply()

    def records(self) -> list[NetworkRecord]:
        return [self._record(n) for n in self._networks()]

    def endpoints(self) -> list[Endpoint]:
        found = []
        for network in self._networks():
            folder = f"{self.root}/{network['name']}/leases"
            for address in sorted(os.listdir(folder)):
                lease = _read(f"{folder}/{address}")
                if lease:
                    found.append(_endpoint(lease))
        return found

    # --- endpoints

    async def attach(
        self,
        netns_fd: int,
        route_socket: int | socket.socket,
        netfilter_socket: int | socket.socket | None,
        dns_ports: tuple[int, int] | None,
        specs: Sequence[EndpointSpec],
    ) -> list[Endpoint]:
        """Join a namespace to networks; `dns_ports` are those of its udp and tcp sockets on 127.0.0.11."""
        done: list[Endpoint] = []
        try:
            with self._changing(), netlink.open_route() as host, _socket(route_socket) as inside:
                host_links = netlink.links(host)
                gateways: list[tuple[bool, int, str]] = []
                messages: list[netlink.Raw] = []
                for number, spec in enumerate(specs):
                    network = self._network(spec.network)
                    if network is None or network["bridge"] not in host_links:
                        raise NetworkError(f'network "{spec.network}" does not exist')
                    endpoint = self._lease(network, spec, number)
                    done.append(endpoint)
                    index = FIRST_INDEX + number
                    name = addresses.link_name("pc", spec.owner, spec.network)
                    master = host_links[network["bridge"]][0]
                    if name in host_links:
                        netlink.transact(host, [netlink.delete_link(name)])
                    veth = netlink.new_veth(
                        name, master, endpoint.interface, index, netns_fd, endpoint.mac_address, network["mtu"]
                    )
                    netlink.transact(host, [veth])
                    # veth_newlink takes the peer's index only where ours is chosen too: ask what it became
                    index = netlink.links(inside)[endpoint.interface][0]
                    address, _, prefix = endpoint.addresses[0].partition("/")
                    messages.append(netlink.new_address(index, address, int(prefix)))
                    messages.append(netlink.link_up(index))
                    if endpoint.gateway:
                        gateways.append((not spec.default_route, index, endpoint.gateway))
                if gateways:
                    _, index, gateway = min(gateways)
                    messages.append(netlink.default_route(index, gateway))
                if messages:
                    netlink.transact(inside, messages)
                if netfilter_socket is not None and dns_ports is not None:
                    with _socket(netfilter_socket) as netfilter:
                        netlink.apply_rules(netfilter, rules.redirect_dns(DNS_ADDRESS, *dns_ports))
        except OSError as error:
            await self.detach(specs[0].owner if specs else "")
            raise NetworkError(f"cannot join the networks: {error.strerror or error}") from error
        except NetworkError:
            await self.detach(specs[0].owner if specs else "")
            raise
        for endpoint in done:
            self._known(endpoint)
        return done

    async def redirect_dns(self, netfilter_socket: int | socket.socket, udp: int, tcp: int) -> None:
        """In the container of that socket, let 127.0.0.11:53 lead to these two sockets. Takes the first one over."""
        ports = [_port_of(fd) for fd in (udp, tcp)]
        try:
            with _socket(netfilter_socket) as netfilter:
                netlink.apply_rules(netfilter, rules.redirect_dns(DNS_ADDRESS, ports[0], ports[1]))
        except OSError as error:
            raise NetworkError(f"cannot redirect DNS: {error.strerror or error}") from error

    async def detach(self, owner: str) -> None:
        """Forget the owner's addresses; its links die with its namespace."""
        self.zone.remove(owner)
        with self._changing():
            for endpoint in self.endpoints():
                if endpoint.owner == owner:
                    for address in endpoint.addresses:
                        with contextlib.suppress(FileNotFoundError):
                            os.unlink(f"{self.root}/{endpoint.network}/leases/{address.partition('/')[0]}")

    # --- published ports

    async def publish(self, publication: Publication) -> PublishedPort:
        """Reserve the first free port of the range. Raises PortTaken."""
        p = publication
        with self._changing():
            for port in range(p.first, p.last + 1):
                sockets = _reserve(p.host_ip, port, p.protocol)
                if sockets:
                    taken = sockets[0].getsockname()[1]
                    published = PublishedPort(p, p.host_ip or "0.0.0.0", taken)
                    self._listening[published] = sockets
                    _write(self._published_path(published), {**asdict(published), "backends": []})
                    break
            else:
                what = f"{p.first}" if p.first == p.last else f"{p.first}-{p.last}"
                where = f"{p.host_ip}:{what}" if p.host_ip else what
                hint = f"see who has it: ss -lnp sport = :{p.first}"
                raise PortTaken(f"port {where}/{p.protocol} is already in use on this host", hint=hint)
        if p.protocol == "tcp":
            for sock in sockets:
                trio.lowlevel.spawn_system_task(self._accept, published, sock)
        return published

    def published(self) -> list[PublishedPort]:
        """Every port that any project has published."""
        return [
            PublishedPort(Publication(**value["publication"]), value["host_ip"], value["port"])
            for _, value in self._published()
        ]

    async def unpublish(self, published: PublishedPort) -> None:
        for sock in self._listening.pop(published, []):
            if trio.lowlevel.in_trio_task():
                trio.lowlevel.notify_closing(sock)
            sock.close()
        with self._changing():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._published_path(published))
            self._apply()

    async def set_backends(self, group: str, backends: Sequence[Backend]) -> None:
        """Where the connections to the group's published ports go from now on."""
        with self._changing():
            for path, value in self._published():
                if value["publication"]["group"] == group:
                    _write(path, {**value, "backends": [b.address for b in backends]})
            self._apply()

    async def recover(self) -> list[NetworkRecord]:
        """After a restart of the caller: know what is there again. After a reboot: make bridges anew, drop leases."""
        with self._changing():
            boot = _boot_id()
            for network in self._networks():
                if network["boot_id"] != boot:
                    folder = f"{self.root}/{network['name']}"
                    for address in os.listdir(f"{folder}/leases"):
                        os.unlink(f"{folder}/leases/{address}")
                    network["boot_id"] = boot
                    _write(f"{folder}/network.json", network)
                self._ensure(network, apply=False)
            if self._networks():
                self._apply()
        for endpoint in self.endpoints():
            self._known(endpoint)
        return self.records()

    # --- inside

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Several projects share the folder; what is done under the lock is short."""
        fd = os.open(f"{self.root}/.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _networks(self) -> list[dict[str, Any]]:
        names = sorted(n for n in os.listdir(self.root) if not n.startswith("."))
        return [n for n in map(self._network, names) if n]

    def _network(self, name: str) -> dict[str, Any] | None:
        return _read(f"{self.root}/{name}/network.json")

    def _record(self, n: Mapping[str, Any]) -> NetworkRecord:
        fields = {k: n[k] for k in ("name", "project", "bridge", "internal", "mtu", "labels", "created", "boot_id")}
        return NetworkRecord(subnets=tuple(n["subnets"]), gateways=tuple(n["gateways"]), **fields)

    def _forget(self, name: str) -> None:
        for path in (f"{self.root}/{name}/network.json",):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        for folder in (f"{self.root}/{name}/leases", f"{self.root}/{name}"):
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(folder)

    def _ensure(self, n: Mapping[str, Any], *, apply: bool = True) -> None:
        bridge = n["bridge"]
        try:
            with netlink.open_route() as sock:
                if bridge not in netlink.links(sock):
                    netlink.transact(sock, [netlink.new_bridge(bridge, n["mtu"])])
                    index = netlink.links(sock)[bridge][0]
                    prefix = ip_network(n["subnets"][0]).prefixlen
                    netlink.transact(
                        sock, [netlink.new_address(index, n["gateways"][0], prefix), netlink.link_up(index)]
                    )
                    _sysctl(f"/proc/sys/net/ipv4/conf/{bridge}/route_localnet", "1")
            if apply:
                self._apply()
        except OSError as error:
            raise NetworkError(f'cannot make network "{n["name"]}": {error.strerror or error}') from error

    def _apply(self) -> None:
        """Make table and ip_forward what the files say."""
        networks = self._networks()
        self._forwarding(bool(networks))
        bridges = [rules.BridgeRules(n["bridge"], n["subnets"][0], n["internal"], n["masquerade"]) for n in networks]
        ports = []
        for _, value in self._published():
            p = value["publication"]
            if not (p["host_ip"] and ":" in p["host_ip"]):
                host_ip = None if p["host_ip"] in (None, "0.0.0.0") else p["host_ip"]
                ports.append(
                    rules.PortRules(host_ip, value["port"], p["protocol"], p["target"], tuple(value["backends"]))
                )
        with netlink.open_netfilter() as sock:
            netlink.apply_rules(sock, rules.table(bridges, ports) if networks else rules.no_table())

    def _forwarding(self, needed: bool) -> None:
        kept = f"{self.root}/.forward"
        if needed and not os.path.exists(kept):
            with open(FORWARD, encoding="ascii") as file:
                before = file.read().strip()
            with open(kept, "w", encoding="ascii") as file:
                file.write(before)
        if needed:
            _sysctl(FORWARD, "1")
        elif os.path.exists(kept):
            with open(kept, encoding="ascii") as file:
                _sysctl(FORWARD, file.read())
            os.unlink(kept)

    def _lease(self, network: Mapping[str, Any], spec: EndpointSpec, number: int) -> Endpoint:
        folder = f"{self.root}/{network['name']}/leases"
        taken = {*os.listdir(folder), *network["gateways"], *network["reserved"]}
        subnet = network["subnets"][0]
        address = addresses.choose_address(subnet, taken, wanted=spec.ipv4_address, range_=network["range"])
        endpoint = Endpoint(
            network["name"],
            spec.owner,
            spec.interface or f"eth{number}",
            (f"{address}/{ip_network(subnet).prefixlen}",),
            spec.mac_address or addresses.mac_of(address),
            None if network["internal"] else network["gateways"][0],
            spec.names,
        )
        _write(f"{folder}/{address}", asdict(endpoint))
        return endpoint

    def _known(self, endpoint: Endpoint) -> None:
        network = self._network(endpoint.network)
        self.zone.add_network(endpoint.network, bool(network and network["internal"]))
        self.zone.add(endpoint)

    def _published_path(self, p: PublishedPort) -> str:
        return f"{self.root}/.published/{p.publication.protocol}-{p.port}-{p.host_ip}.json"

    def _published(self) -> list[tuple[str, dict[str, Any]]]:
        folder = f"{self.root}/.published"
        paths = [f"{folder}/{n}" for n in sorted(os.listdir(folder)) if n.endswith(".json")]
        return [(path, value) for path in paths if (value := _read(path))]

    async def _accept(self, published: PublishedPort, sock: socket.socket) -> None:
        """What the firewall does not translate: IPv6, and IPv4 while there is no backend."""
        listener = trio.socket.from_stdlib_socket(sock)
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    client, _ = await listener.accept()
                except OSError as error:
                    if error.errno == errno.EBADF:
                        return
                    await trio.sleep(0.05)
                    continue
                except trio.ClosedResourceError:
                    return
                nursery.start_soon(self._proxy, published, trio.SocketStream(client))

    async def _proxy(self, published: PublishedPort, client: trio.SocketStream) -> None:
        value = _read(self._published_path(published)) or {}
        backends = value.get("backends") or []
        with contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            async with client:
                if not backends:
                    return
                target = published.publication.target
                async with await trio.open_tcp_stream(backends[time.monotonic_ns() % len(backends)], target) as there:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(_pump, client, there)
                        nursery.start_soon(_pump, there, client)


async def _pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    with contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        async for data in source:
            await sink.send_all(data)
        await sink.send_eof()


def _socket(given: int | socket.socket) -> socket.socket:
    fd = given if isinstance(given, int) else given.fileno()
    return socket.socket(fileno=os.dup(fd))


def _port_of(fd: int) -> int:
    with socket.socket(fileno=os.dup(fd)) as made:
        return int(made.getsockname()[1])


def _reserve(host_ip: str | None, port: int, protocol: str) -> list[socket.socket]:
    """Sockets that hold the port, [] when another has it."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    made: list[socket.socket] = []
    for address in (host_ip,) if host_ip else ("0.0.0.0", "::"):
        try:
            sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        except OSError:
            continue  # no IPv6 on this host
        try:
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if ":" in address:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address, port))
            if kind == socket.SOCK_STREAM:
                sock.listen(128)
        except OSError as error:
            sock.close()
            if ":" in address and not host_ip and error.errno != errno.EADDRINUSE:
                continue
            for other in made:
                other.close()
            if error.errno == errno.EADDRINUSE:
                return []
            raise NetworkError(f"cannot listen on {address}:{port}: {error.strerror}") from error
        sock.setblocking(False)
        made.append(sock)
        port = sock.getsockname()[1]
    return made
