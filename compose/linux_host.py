"""This machine as a host: `observe` reads what the records say; `LinuxHost` acts, over `runtime` and `network`.

Rules: nothing here decides. Every method undoes itself on failure and raises HostError; the errors of the other folders
are translated here, once. The command line uses `observe` alone, which imports neither trio nor pyroute2.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

from pycompose.runtime.places import Places, ProjectPlaces
from pycompose.runtime.record import ContainerState, read_containers

from .codec import from_json, to_json
from .host import ContainerExited, ContainerStarted, ExecResult, HostError, HostEvent
from .model import EMPTY, BindMount, Network, Project, RestartPolicy, Service, TmpfsMount, Volume, VolumeMount
from .observed import Label, Observed, ObservedContainer, ObservedNetwork, ObservedVolume, Supervision

if TYPE_CHECKING:
    import trio

    from pycompose.runtime.container import Sandbox

SUPERVISION = "supervision.json"
PRIVATE = "io.pycompose."  # annotations of ours: generation, restart, grace, networks, volumes, hash parts


def observe(places: ProjectPlaces, roots: Places | None = None) -> Observed:
    """The project's containers, networks and volumes, from files alone."""
    roots = roots or Places.default()
    networks, volumes = [], []
    for folder, name, found in ((roots.networks, "network.json", networks), (roots.volumes, "volume.json", volumes)):
        for entry in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            with suppress(OSError, ValueError), open(f"{folder}/{entry}/{name}") as file:
                tree = json.load(file)
                labels = tree.get("labels") or {}
                if labels.get(Label.PROJECT) == places.project:
                    found.append((entry, labels))
    return Observed(
        places.project,
        tuple(_container(places, state) for state in read_containers(places)),
        tuple(ObservedNetwork(n, lb.get(Label.NETWORK, n), lb.get(Label.CONFIG_HASH, "")) for n, lb in networks),
        tuple(ObservedVolume(n, lb.get(Label.VOLUME, n), lb.get(Label.CONFIG_HASH, "")) for n, lb in volumes),
    )


def _container(places: ProjectPlaces, state: ContainerState) -> ObservedContainer:
    labels = state.annotations
    supervision = Supervision()
    with suppress(OSError, ValueError), open(f"{places.container(state.id)}/{SUPERVISION}") as file:
        supervision = from_json(Supervision, file.read())
    own = json.loads(labels.get(PRIVATE + "service", "{}"))
    return ObservedContainer(
        id=state.id,
        name=state.name,
        service=labels.get(Label.SERVICE, ""),
        number=int(labels.get(Label.NUMBER, "0")),
        status="restarting" if supervision.restarting else state.status,  # type: ignore[arg-type]
        oneoff=labels.get(Label.ONEOFF, "False") == "True",
        image=own.get("image", state.image),
        image_digest=labels.get(Label.IMAGE, ""),
        command=tuple(own.get("command", ())),
        config_hash=labels.get(Label.CONFIG_HASH, ""),
        hash_parts=own.get("hash_parts", {}),
        generation=own.get("generation", ""),
        created=state.created,
        started=state.started or None,
        finished=state.finished or None,
        pid=state.pid or None,
        exit_code=state.exit_code,
        oom_killed=state.oom_killed,
        supervision=supervision,
        restart=RestartPolicy(*own.get("restart", ("no", None))),
        networks=tuple(own.get("networks", ())),
        volumes=own.get("volumes", {}),
        anonymous_volumes=tuple(own.get("anonymous", ())),
        depends_on=tuple((s, c, r) for s, c, r in own.get("depends_on", ())),
        stop_grace_period=own.get("grace"),
        stop_signal=own.get("signal"),
        labels=labels,
    )


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Errors of the other folders become HostError."""
    from pycompose.network.errors import NetworkError
    from pycompose.runtime.errors import RuntimeFailure

    try:
        yield
    except (NetworkError, RuntimeFailure, OSError, ValueError) as error:
        code = getattr(error, "exit_code", 1)
        raise HostError(f"{what}: {error}", hint=getattr(error, "hint", ""), exit_code=code or 1) from error


class LinuxHost:
    """One project on this machine. `run` must run in a nursery before anything else is asked."""

    def __init__(self, roots: Places, project: str) -> None:
        from pycompose.network.dns.server import Server
        from pycompose.network.networks import Networks
        from pycompose.runtime.container import Runtime
        from pycompose.runtime.images.store import Store
        from pycompose.runtime.volumes import Volumes

        self.roots, self.places = roots, roots.project(project)
        self.runtime = Runtime(self.places)
        self.networks = Networks(roots.networks)
        self.store, self.volumes = Store(roots), Volumes(roots)
        self._dns_server = Server
        self._listeners: list[trio.MemorySendChannel[HostEvent]] = []
        self._nursery: trio.Nursery | None = None
        self._published: dict[str, list[object]] = {}  # group -> ports
        self._backends: dict[str, dict[str, str]] = {}  # group -> container name -> address
        self._address: dict[str, str] = {}  # container name -> first address
        self._resolvers: dict[str, trio.CancelScope] = {}

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        import trio

        await self.networks.recover()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self.runtime.serve)
            task_status.started()
            async for ended in self.runtime.events():
                seen = self._by_id(ended.id)
                if seen is not None:
                    await self._left(seen)
                    await self._tell(
                        ContainerExited(seen.name, seen.service, ended.code, ended.oom_killed, time.time())
                    )

    @asynccontextmanager
    async def _events(self) -> AsyncIterator[trio.MemoryReceiveChannel[HostEvent]]:
        import trio

        sender, receiver = trio.open_memory_channel[HostEvent](10_000)
        self._listeners.append(sender)
        try:
            yield receiver
        finally:
            self._listeners.remove(sender)

    def events(self):  # type: ignore[no-untyped-def]
        return self._events()

    async def _tell(self, event: HostEvent) -> None:
        for listener in self._listeners:
            await listener.send(event)

    def observe(self) -> Observed:
        return observe(self.places, self.roots)

    def _by_id(self, container_id: str) -> ObservedContainer | None:
        return next((c for c in self.observe().containers if c.id == container_id), None)

    def _find(self, name: str) -> ObservedContainer:
        for seen in self.observe().containers:
            if seen.name == name:
                return seen
        raise HostError(f'no such container: "{name}"')

    # networks and volumes

    async def create_network(self, network: Network) -> None:
        from pycompose.network.spec import NetworkSpec, Pool

        labels = {
            **network.labels,
            Label.PROJECT: self.places.project,
            Label.NETWORK: network.key,
            Label.CONFIG_HASH: network.config_hash,
        }
        pools = tuple(
            Pool(p.subnet, p.ip_range, p.gateway, tuple(p.aux_addresses.values())) for p in network.ipam_pools
        )
        with _translated(f'network "{network.name}" cannot be made'):
            await self.networks.create(
                NetworkSpec(network.name, self.places.project, network.internal, pools=pools, labels=labels)
            )

    async def remove_network(self, name: str) -> None:
        with _translated(f'network "{name}" cannot be removed'):
            await self.networks.remove(name)

    async def create_volume(self, volume: Volume) -> None:
        labels = {
            **volume.labels,
            Label.PROJECT: self.places.project,
            Label.VOLUME: volume.key,
            Label.CONFIG_HASH: volume.config_hash,
        }
        with _translated(f'volume "{volume.name}" cannot be made'):
            self.volumes.create(volume.name, labels)

    async def remove_volume(self, name: str) -> None:
        with _translated(f'volume "{name}" cannot be removed'):
            self.volumes.remove(name)

    # containers

    async def create_container(
        self,
        project: Project,
        generation: str,
        service: str,
        name: str,
        number: int,
        *,
        inherit: str | None = None,
        replaces: str | None = None,
    ) -> None:
        from pycompose.runtime import profile
        from pycompose.runtime.inside import seccomp
        from pycompose.runtime.rootfs import root_for
        from pycompose.runtime.spec import InsideSocket

        from . import oci

        wanted = project.services[service]
        container_id = secrets.token_hex(32)
        folder = self.places.container(container_id)
        with _translated(f'container "{name}" cannot be made'):
            image = self.store.resolve(wanted.image or "")
            parts = profile.default_spec_parts(wanted.cap_add, wanted.cap_drop, wanted.privileged)
            os.makedirs(f"{folder}/etc", mode=0o755)
            try:
                mounts, volumes, anonymous = self._mounts(project, wanted, folder, image.layers, inherit)
                networked = bool(wanted.networks)
                bundle = oci.bundle(
                    project,
                    wanted,
                    container_id,
                    root_for(image, folder, self.roots),
                    oci.ImageConfig(image.env, image.cmd, image.entrypoint, image.user, image.workdir),
                    oci.Profile(
                        profile.capabilities().bounding,
                        profile.NAMES,
                        parts.masked,
                        parts.readonly,
                        parts.mounts,
                        parts.devices,
                        parts.rules,
                        parts.seccomp,
                    ),
                    mounts=mounts,
                    sockets=(
                        InsideSocket("route"),
                        InsideSocket("netfilter"),
                        InsideSocket("udp", "127.0.0.11", 0),
                        InsideSocket("tcp", "127.0.0.11", 0),
                    )
                    if networked
                    else (),
                    annotations=self._labels(project, wanted, number, generation, image.digest, volumes, anonymous),
                )
                wanted_filter = bundle.spec.linux.seccomp
                program = seccomp.compile(wanted_filter) if wanted_filter else None
                await self.runtime.create(container_id, name, bundle, wanted.image or "", program)
            except BaseException:
                import shutil

                shutil.rmtree(folder, ignore_errors=True)
                raise

    def _labels(
        self,
        project: Project,
        service: Service,
        number: int,
        generation: str,
        digest: str,
        volumes: Mapping[str, str],
        anonymous: list[str],
    ) -> dict[str, str]:
        own = {
            "generation": generation,
            "image": service.image,
            "command": list(service.command or ()),
            "hash_parts": dict(service.hash_parts),
            "restart": [service.restart.condition, service.restart.max_attempts],
            "networks": [project.networks[a.network].name for a in service.networks],
            "volumes": dict(volumes),
            "anonymous": anonymous,
            "depends_on": [[d.service, d.condition, d.restart] for d in service.depends_on],
            "grace": service.stop_grace_period,
            "signal": service.stop_signal,
        }
        return {
            **service.labels,
            Label.PROJECT: project.name,
            Label.SERVICE: service.name,
            Label.NUMBER: str(number),
            Label.ONEOFF: "False",
            Label.CONFIG_HASH: service.config_hash,
            Label.IMAGE: digest,
            Label.WORKING_DIR: project.working_dir,
            Label.CONFIG_FILES: ",".join(project.config_files),
            Label.DEPENDS_ON: ",".join(
                f"{d.service}:{d.condition}:{str(d.restart).lower()}" for d in service.depends_on
            ),
            PRIVATE + "service": json.dumps(own),
        }

    def _mounts(self, project: Project, service: Service, folder: str, layers, inherit):  # type: ignore[no-untyped-def]
        from pycompose.runtime.spec import Mount

        found: list[Mount] = []
        volumes: dict[str, str] = {}
        anonymous: list[str] = []
        before = self._find(inherit).volumes if inherit else {}
        for mount in service.mounts:
            access = "ro" if getattr(mount, "read_only", False) else "rw"
            match mount:
                case BindMount():
                    if mount.create_host_path:
                        os.makedirs(mount.source, exist_ok=True) if not os.path.exists(mount.source) else None
                    options = ("rbind", "rro" if mount.read_only else "rw", mount.propagation or "rprivate")
                    found.append(Mount(mount.target, "bind", mount.source, options))
                case VolumeMount():
                    if mount.source is None:
                        name = before.get(mount.target) or secrets.token_hex(32)
                        anonymous.append(name)
                        if not self.volumes.exists(name):
                            self.volumes.create(name, {Label.PROJECT: project.name})
                    else:
                        name = project.volumes[mount.source].name
                    volumes[mount.target] = name
                    if not mount.nocopy:
                        self.volumes.seed(name, layers, mount.target)
                    found.append(Mount(mount.target, "bind", self.volumes.path(name), ("rbind", access, "rprivate")))
                case TmpfsMount():
                    options = ["noexec", "nosuid", "nodev", *mount.options]
                    options += [f"size={mount.size}"] if mount.size else []
                    options += [f"mode={mount.mode:o}"] if mount.mode is not None else []
                    found.append(Mount(mount.target, "tmpfs", "tmpfs", tuple(options)))
                case _:
                    raise HostError(f'service "{service.name}": mounts of images are not there yet')
        for name in ("hosts", "hostname", "resolv.conf") if service.network_mode != "host" else ():
            with open(f"{folder}/etc/{name}", "w"):
                os.chmod(f"{folder}/etc/{name}", 0o644)
            found.append(Mount(f"/etc/{name}", "bind", f"{folder}/etc/{name}", ("rbind", "rw", "rprivate")))
        return tuple(found), volumes, anonymous

    def _project(self, generation: str) -> Project:
        with open(f"{self.places.generations}/{generation}.json") as file:
            return from_json(Project, file.read())

    async def start_container(self, name: str) -> None:
        seen = self._find(name)
        own = json.loads(seen.labels[PRIVATE + "service"])
        with _translated(f'container "{name}" cannot be started'):
            project = self._project(own["generation"])
            service = project.services[seen.service]

            async def prepare(sandbox: Sandbox) -> None:
                await self._join(project, service, seen, sandbox)

            with suppress(FileNotFoundError):
                os.unlink(f"{self.places.container(seen.id)}/exit.json")
            try:
                await self.runtime.start(seen.id, prepare)
            except BaseException:
                await self._left(seen)
                raise
        await self.serve(name, healthy=service.healthcheck is None)
        await self._tell(ContainerStarted(name, seen.service, time.time()))

    async def _join(self, project: Project, service: Service, seen: ObservedContainer, sandbox: Sandbox) -> None:
        from pycompose.network.spec import EndpointSpec, Publication

        hostname = service.hostname or seen.id[:12]
        lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
        nameserver = "nameserver 127.0.0.11\noptions ndots:0\n"
        if service.networks:
            route, netfilter, udp, tcp = sandbox.sockets
            ports = []
            for fd in (udp, tcp):
                with socket.socket(fileno=os.dup(fd)) as made:
                    ports.append(made.getsockname()[1])
            specs = [
                EndpointSpec(
                    project.networks[a.network].name,
                    seen.id,
                    tuple(dict.fromkeys((service.name, seen.name, hostname, seen.id[:12], *a.aliases))),
                    a.interface_name,
                    a.ipv4_address,
                    a.ipv6_address,
                    a.mac_address or service.mac_address,
                    default_route=number == 0,
                )
                for number, a in enumerate(service.networks)
            ]
            await self.networks.detach(seen.id)
            endpoints = await self.networks.attach(sandbox.netns_fd, route, netfilter, (ports[0], ports[1]), specs)
            self._address[seen.name] = endpoints[0].addresses[0].partition("/")[0]
            lines.append(f"{self._address[seen.name]}\t{hostname}")
            self._resolve(seen.id, udp, tcp)
            group = f"{project.name}/{service.name}"
            if group not in self._published:
                self._published[group] = []
                try:
                    for port in service.ports:
                        first, last = port.published or (0, 0)
                        self._published[group].append(
                            await self.networks.publish(
                                Publication(group, port.host_ip, first, last, port.protocol, port.target)
                            )
                        )
                except BaseException:
                    await self._unpublish(group)
                    raise
        for host, address in service.extra_hosts:
            lines.append(f"{address}\t{host}")
        folder = f"{self.places.container(seen.id)}/etc"
        if service.network_mode != "host":
            self._fill(f"{folder}/hosts", "\n".join(lines) + "\n")
            self._fill(f"{folder}/hostname", hostname + "\n")
            self._fill(f"{folder}/resolv.conf", nameserver if service.networks else "")

    @staticmethod
    def _fill(path: str, text: str) -> None:
        with open(path, "w") as file:  # the same inode: it is what is mounted
            file.write(text)

    def _resolve(self, owner: str, udp: int, tcp: int) -> None:
        import trio

        assert self._nursery is not None
        scope = self._resolvers[owner] = trio.CancelScope()
        server = self._dns_server(self.networks.zone)

        async def serve() -> None:
            with scope:
                await server.serve(udp, tcp, owner)

        self._nursery.start_soon(serve)

    async def _left(self, seen: ObservedContainer) -> None:
        """What its network knew of a container that is gone."""
        if scope := self._resolvers.pop(seen.id, None):
            scope.cancel()
        await self.serve(seen.name, healthy=False)
        self._address.pop(seen.name, None)
        await self.networks.detach(seen.id)

    async def _unpublish(self, group: str) -> None:
        for port in self._published.pop(group, []):
            await self.networks.unpublish(port)  # type: ignore[arg-type]

    async def serve(self, name: str, *, healthy: bool) -> None:
        from pycompose.network.spec import Backend

        with suppress(HostError):
            seen = self._find(name)
            group = f"{self.places.project}/{seen.service}"
            members = self._backends.setdefault(group, {})
            if healthy and name in self._address:
                members[name] = self._address[name]
            else:
                members.pop(name, None)
            if self._published.get(group):
                await self.networks.set_backends(group, [Backend(n, a) for n, a in members.items()])

    async def signal_container(self, name: str, signal: int) -> None:
        from pycompose.runtime.errors import NoSuchContainer

        with _translated(f'container "{name}" cannot be signalled'), suppress(NoSuchContainer):
            await self.serve(name, healthy=False)
            await self.runtime.signal(self._find(name).id, signal)

    async def kill_container(self, name: str) -> None:
        with _translated(f'container "{name}" cannot be killed'):
            seen = self._find(name)
            await self.runtime.kill(seen.id)
            await self.runtime.await_exit(seen.id)

    async def await_exit(self, name: str) -> ContainerExited:
        seen = self._find(name)
        code = await self.runtime.await_exit(seen.id)
        return ContainerExited(name, seen.service, code, False, time.time())

    async def remove_container(self, name: str, *, volumes: bool = False) -> None:
        try:
            seen = self._find(name)
        except HostError:
            return
        with _translated(f'container "{name}" cannot be removed'):
            await self._left(seen)
            await self.runtime.remove(seen.id)
            for volume in seen.anonymous_volumes if volumes else ():
                self.volumes.remove(volume)
            if not self.observe().of_service(seen.service):
                await self._unpublish(f"{self.places.project}/{seen.service}")

    async def rename_container(self, name: str, new_name: str) -> None:
        await self.runtime.rename(self._find(name).id, new_name)

    async def pause_container(self, name: str) -> None:
        await self.runtime.pause(self._find(name).id)

    async def unpause_container(self, name: str) -> None:
        await self.runtime.unpause(self._find(name).id)

    async def exec_container(
        self,
        name: str,
        command: tuple[str, ...],
        *,
        environment: Mapping[str, str] = EMPTY,
        user: str | None = None,
        working_dir: str | None = None,
        privileged: bool = False,
        output_limit: int = 4096,
    ) -> ExecResult:
        from dataclasses import replace

        from pycompose.runtime.spec import Bundle, User
        from pycompose.runtime.spec import from_json as bundle_from_json

        seen = self._find(name)
        with _translated(f'container "{name}": exec'):
            with open(f"{self.places.container(seen.id)}/bundle.json") as file:
                process = bundle_from_json(Bundle, file.read()).spec.process
            env = (*process.env, *(f"{k}={v}" for k, v in environment.items()))
            process = replace(process, args=command, env=env, terminal=False, cwd=working_dir or process.cwd)
            if user is not None:
                process = replace(process, user=User(username=user))
            code, output = await self.runtime.exec(seen.id, process, output_limit)
            return ExecResult(code, output)

    def remember(self, name: str, supervision: Supervision) -> None:
        with suppress(HostError):
            path = f"{self.places.container(self._find(name).id)}/{SUPERVISION}"
            with open(path + "~", "w") as file:
                file.write(to_json(supervision))
            os.replace(path + "~", path)
