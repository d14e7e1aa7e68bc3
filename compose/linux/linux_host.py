"""This machine as a host: what the engine asks for, done over `runtime` and `network`.

Rules: nothing here decides. Every method undoes itself on failure and raises HostError; the errors of the other folders
are translated here, once. What exists is on disk (`observing`); what is held in memory (which container has which name,
resolvers, backends) is rebuilt from there by `run`, so that a supervisor may be replaced at any moment.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, replace

import trio
from pycompose.compose.engine.host import (
    ContainerExited,
    ContainerOutOfMemory,
    ContainerStarted,
    ExecResult,
    HostError,
    HostEvent,
)
from pycompose.compose.model.codec import from_json, to_json
from pycompose.compose.model.observed import Label, Observed, Supervision
from pycompose.compose.model.project import EMPTY, Network, Project, Service, Volume
from pycompose.compose.state.observe import OWN, SUPERVISION, Own, observe
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass
from pycompose.network.errors import NetworkError
from pycompose.network.networks import Networks
from pycompose.network.spec import Backend, PublishedPort
from pycompose.runtime.client.sandboxes import OutOfMemory, Runtime, Sandbox
from pycompose.runtime.errors import NoSuchContainer, RuntimeFailure, StartFailed
from pycompose.runtime.files.remove import discard
from pycompose.runtime.images.roots import root_for
from pycompose.runtime.images.store import Image, Store
from pycompose.runtime.linux import seccomp
from pycompose.runtime.places import Places
from pycompose.runtime.policy import profile
from pycompose.runtime.spec import Bundle, Mount, Process, User
from pycompose.runtime.spec import RootFilesystem as Root
from pycompose.runtime.spec import from_json as bundle_from_json
from pycompose.runtime.state.volumes import VolumeError, Volumes

from . import network_spec, oci, sandbox_network, service_mounts

NOBODY = Supervision()


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Errors of the other folders become HostError."""
    try:
        yield
    except HostError:
        raise
    except (NetworkError, RuntimeFailure, PycomposeError, OSError, ValueError) as error:
        code = getattr(error, "exit_code", 1)
        text = f"{what} {error}" if isinstance(error, StartFailed) else f"{what}: {error}"
        raise HostError(text, hint=getattr(error, "hint", ""), exit_code=code or 1) from error


@dataclass(slots=True)
class _Held:
    """A container as this process knows it."""

    id: str
    name: str
    service: str
    own: Own
    running: bool = False
    healthy: bool = False  # takes part in its service's ports
    address: str = ""  # its first
    oom_killed: bool = False


class LinuxHost:
    """One project on this machine. `run` must run in a nursery before anything else is asked."""

    def __init__(self, roots: Places, project: str, relaunch: Sequence[str] | None = None) -> None:
        self._relaunch = relaunch  # the supervisor's own command, for a keeper that is launched again
        self.roots, self.places = roots, roots.project(project)
        self.runtime = Runtime(self.places)
        self.networks = Networks(roots.networks, project)
        self.store, self.volumes = Store(roots), Volumes(roots)
        self._listeners: list[trio.MemorySendChannel[HostEvent]] = []
        self._held: dict[str, _Held] = {}  # by name
        self._projects: dict[str, Project] = {}  # by generation
        self._notes: dict[str, tuple[str, ...]] = {}  # container -> what nobody has told yet
        self._published: dict[str, list[PublishedPort]] = {}  # service -> its ports
        self._publishing: dict[str, trio.Lock] = {}

    # its life

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Take over what runs, then pass on what happens, until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.networks.run)
            await self.networks.recover()
            await nursery.start(self.runtime.serve, self._relaunch)
            await self._recover()
            task_status.started()
            async for event in self.runtime.events():
                held = next((h for h in self._held.values() if h.id == event.id), None)
                if held is None:
                    continue
                if isinstance(event, OutOfMemory):
                    await self._tell(ContainerOutOfMemory(held.name, held.service, time.time()))
                else:
                    await self._ended(held, event.code, event.oom_killed)

    async def _ended(self, held: _Held, code: int | None, oom_killed: bool) -> None:
        held.oom_killed = oom_killed
        try:
            await self._left(held)
        except NetworkError as error:
            print(f"{held.name}: {error}", flush=True)  # to the supervisor's log
        await self._tell(ContainerExited(held.name, held.service, code, oom_killed, time.time()))

    async def _recover(self) -> None:
        """What a supervisor before this one left: its containers go on, its half-made ones are swept."""
        seen = self.observe().containers
        known = {c.id for c in seen}
        self._sweep(known)
        self._held = {c.name: _Held(c.id, c.name, c.service, Own.of(c.labels)) for c in seen}
        ours = {n.name for n in self.networks.records() if n.project == self.places.project}
        running = {c.id for c in seen if c.status in ("running", "paused")}
        for endpoint in self.networks.endpoints():
            if endpoint.owner not in running and (endpoint.owner in known or endpoint.network in ours):
                await self.networks.detach(endpoint.owner)
        for published in self.networks.published():
            owner, _, service = published.publication.group.partition("/")
            if owner == self.places.project:
                self._published.setdefault(service, []).append(published)
        for container in seen:
            if container.id in running:
                await self._adopt(self._held[container.name])
        for service in list(self._published):
            await self._release(service)

    def _sweep(self, known: set[str]) -> None:
        """Folders of containers that were not made to the end, or not removed to the end."""
        with suppress(FileNotFoundError):
            for entry in os.listdir(self.places.containers):
                if entry not in known:
                    discard(self.places.container(entry))

    async def _adopt(self, held: _Held) -> None:
        held.running = True
        try:
            sandbox = await self.runtime.sandbox(held.id)
        except RuntimeFailure:
            return  # it ended meanwhile: the event is on its way
        os.close(sandbox.pidfd)
        os.close(sandbox.netns_fd)
        mine = [e for e in self.networks.endpoints() if e.owner == held.id]
        if mine and len(sandbox.sockets) == 4:
            held.address = self._first_address(held, [(e.network, e.addresses) for e in mine])
            route, netfilter, udp, tcp = sandbox.sockets
            os.close(route)
            try:
                self.networks.adopt(held.id, netfilter, udp, tcp, self._service(held).dns)
            finally:
                os.close(netfilter)
        else:
            for fd in sandbox.sockets:
                os.close(fd)

    @asynccontextmanager
    async def events(self) -> AsyncIterator[trio.MemoryReceiveChannel[HostEvent]]:
        sender, receiver = trio.open_memory_channel[HostEvent](10_000)
        self._listeners.append(sender)
        try:
            yield receiver
        finally:
            self._listeners.remove(sender)

    async def _tell(self, event: HostEvent) -> None:
        for listener in self._listeners:
            await listener.send(event)

    def observe(self) -> Observed:
        return observe(self.places, self.roots)

    def _find(self, name: str) -> _Held:
        try:
            return self._held[name]
        except KeyError:
            raise HostError(f'no such container: "{name}"') from None

    def _project(self, generation: str) -> Project:
        if generation not in self._projects:
            try:
                with open(f"{self.places.generations}/{generation}.json", encoding="utf-8") as file:
                    project = from_json(Project, file.read())
            except (OSError, ValueError) as error:
                raise HostError(
                    f"the record of what {self.places.project} was made from cannot be read: {error}"
                ) from error
            if len(self._projects) > 8:
                self._projects.pop(next(iter(self._projects)))
            self._projects[generation] = project
        return self._projects[generation]

    def _service(self, held: _Held) -> Service:
        return self._project(held.own.generation).services[held.service]

    # networks and volumes

    async def create_network(self, network: Network) -> None:
        with _translated(f'network "{network.name}" cannot be made'):
            await self.networks.create(network_spec.network_spec(self.places.project, network))

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
            self.volumes.create(volume.name, labels, volume.driver_opts, volume.driver or "local")

    async def remove_volume(self, name: str) -> None:
        with _translated(f'volume "{name}" cannot be removed'):
            await trio.to_thread.run_sync(self.volumes.remove, name)

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
        self._projects[generation] = project
        wanted = project.services[service]
        container_id = secrets.token_hex(32)
        folder = self.places.container(container_id)
        with _translated(f'container "{name}" cannot be made'), ExitStack() as held:
            held.enter_context(self.store.held())  # until its record says what it uses
            image = self.store.resolve(wanted.image or "")
            self.store.use(image.digest)
            shared = self._shared(wanted)
            defaults = profile.linux_defaults(
                cap_add=wanted.cap_add,
                cap_drop=wanted.cap_drop,
                privileged=wanted.privileged,
                security_opt=wanted.security_opt,
                devices=[(d.source, d.target, d.permissions) for d in wanted.devices],
                device_cgroup_rules=wanted.device_cgroup_rules,
                shm_size=wanted.shm_size,
                sysctls=wanted.sysctls,
                host=oci.host_namespaces(wanted),
                shared=tuple(shared),
                folder=project.working_dir,
            )
            os.makedirs(f"{folder}/etc", mode=0o755)
            try:
                before = self._inherited(inherit) if inherit else EMPTY

                def fill(
                    image: Image = image, before: Mapping[str, str] = before
                ) -> tuple[service_mounts.Mounted, Root]:
                    done = service_mounts.mounted(
                        project,
                        wanted,
                        image,
                        folder,
                        self.volumes,
                        self.store,
                        before=before,
                        container=self._folder_of,
                    )
                    return done, root_for(image, folder, self.roots, done.used)

                # Content of an image may have to be copied, which must not keep the resolvers waiting.
                found, root = await trio.to_thread.run_sync(fill) if image.layers else fill()
                own = _own(project, wanted, generation, image, found.volumes, list(found.anonymous), shared)
                bundle = oci.bundle(
                    project,
                    wanted,
                    container_id,
                    root,
                    oci.ImageConfig(image.env, image.cmd, image.entrypoint, image.user, image.workdir),
                    defaults,
                    oci.Found(
                        found.mounts + self._etc(wanted, folder, shared),
                        _block_devices(wanted),
                        shared,
                        self._hostname(wanted, container_id, shared),
                    ),
                    annotations=_labels(project, wanted, number, image.digest, own),
                )
                program = seccomp.compile(bundle.spec.linux.seccomp) if bundle.spec.linux.seccomp else None
                await self.runtime.create(container_id, name, bundle, wanted.image or "", program)
            except BaseException:
                discard(folder)
                raise
        self._held[name] = _Held(container_id, name, service, own)
        self._notes[name] = defaults.notes

    def _shared(self, service: Service) -> dict[str, str]:
        """Namespace type -> id of the container whose one it is, of `network_mode`, `ipc` and `pid`."""
        found = {}
        for kind, mode in (("network", service.network_mode), ("ipc", service.ipc), ("pid", service.pid)):
            way, _, target = (mode or "").partition(":")
            if way not in ("service", "container"):
                continue
            among = [h for h in self._held.values() if (h.service if way == "service" else h.name) == target]
            if not among:
                raise HostError(f'no {way} "{target}" to share the {kind} namespace of')
            found[kind] = min(among, key=lambda h: (not h.running, h.name)).id
        return found

    def _hostname(self, service: Service, container_id: str, shared: Mapping[str, str]) -> str:
        if service.network_mode == "host":
            return socket.gethostname()
        return shared.get("network", container_id)[:12]

    def _etc(self, service: Service, folder: str, shared: Mapping[str, str]) -> tuple[Mount, ...]:
        """/etc/hosts and its like: files in the container's folder, or in that of the one whose network it shares."""
        source = f"{self.places.container(shared['network'])}/etc" if "network" in shared else f"{folder}/etc"
        found = []
        for name in ("hosts", "hostname", "resolv.conf"):
            path = f"{source}/{name}"
            if "network" not in shared:
                with open(path, "w"):
                    os.chmod(path, 0o644)
            if all(mount.target != f"/etc/{name}" for mount in service.mounts):
                found.append(Mount(f"/etc/{name}", "bind", path, ("rbind", "rw", "rprivate")))
        return tuple(found)

    def _inherited(self, name: str) -> dict[str, str]:
        """Target -> anonymous volume of the container that makes place."""
        own = self._find(name).own
        return {target: volume for target, volume in own.volumes.items() if volume in own.anonymous}

    def _folder_of(self, way: str, target: str) -> str:
        """The folder of a service's first container, or of the container of that name."""
        among = [h for h in self._held.values() if (h.service if way == "service" else h.name) == target]
        if not among:
            raise HostError(f'no {way} "{target}" to take the volumes of')
        return self.places.container(min(among, key=lambda h: (not h.running, h.name)).id)

    async def start_container(self, name: str) -> None:
        held = self._find(name)
        with _translated(f'container "{name}"'):
            project = self._project(held.own.generation)
            service = project.services[held.service]

            async def prepare(sandbox: Sandbox) -> None:
                await self._join(project, service, held, sandbox)

            held.oom_killed = False
            service_mounts.refresh(project, service, self.places.container(held.id))
            try:
                notes = await self.runtime.start(held.id, prepare)
            except BaseException:
                with trio.CancelScope(shield=True):
                    await self._left(held)
                raise
            held.running = True
            self._notes[name] = (*self._notes.get(name, ()), *notes)
            if held.own.check() is None:  # else the attendant says when
                await self._serve(held, healthy=True)
        await self._tell(ContainerStarted(name, held.service, time.time(), held.own.policy(), held.own.check()))

    async def _join(self, project: Project, service: Service, held: _Held, sandbox: Sandbox) -> None:
        """Give a container that does not run yet its network, its resolver and its /etc files."""
        own: list[str] = []
        gateway = None
        if service.networks:
            route, netfilter, udp, tcp = sandbox.sockets
            with ExitStack() as answering:  # the resolver takes over its two
                for fd in (udp, tcp):
                    answering.callback(os.close, fd)
                try:
                    ports = (sandbox_network.port_of(udp), sandbox_network.port_of(tcp))
                    specs = network_spec.endpoints(project, service, held.id, held.name)
                    await self.networks.detach(held.id)
                    endpoints = await self.networks.attach(sandbox.netns_fd, route, netfilter, ports, specs)
                finally:
                    os.close(route)
                    os.close(netfilter)
                answering.pop_all()
            held.address = self._first_address(held, [(e.network, e.addresses) for e in endpoints])
            own = [a.partition("/")[0] for e in endpoints for a in e.addresses]
            gateway = next((e.gateway for e in endpoints if e.gateway), None)
            self.networks.resolve(held.id, udp, tcp, service.dns)
            await self._publish(project, service)
        if service.network_mode and service.network_mode.startswith(("service:", "container:")):
            return  # the files are those of the one whose network it shares
        folder = f"{self.places.container(held.id)}/etc"
        hostname = service.hostname or self._hostname(service, held.id, {})
        of_host = sandbox_network.host_text("/etc/hosts") if service.network_mode == "host" else None
        texts = {
            "hosts": network_spec.hosts_file(own, hostname, service.domainname, service.extra_hosts, gateway, of_host),
            "hostname": hostname + "\n",
            "resolv.conf": network_spec.resolver_file(service, sandbox_network.host_text("/etc/resolv.conf")),
        }
        for file_name, text in texts.items():
            with open(f"{folder}/{file_name}", "w") as file:  # noqa: ASYNC230 a few bytes; the inode is mounted
                file.write(text)

    def _first_address(self, held: _Held, given: list[tuple[str, tuple[str, ...]]]) -> str:
        """The IPv4 address that published ports lead to: on the first network that leads outside, else on the first."""
        internal = {n.name for n in self.networks.records() if n.internal}
        order = sorted(given, key=lambda one: (one[0] in internal, given.index(one)))
        addresses = [a.partition("/")[0] for _, several in order for a in several]
        return next((a for a in addresses if ":" not in a), "")

    # published ports: a service has them while a container of it runs

    async def _publish(self, project: Project, service: Service) -> None:
        """The ports that the service has now; those that an earlier configuration had are closed."""
        async with self._publishing.setdefault(service.name, trio.Lock()):
            wanted = list(network_spec.publications(project, service))
            have = self._published.setdefault(service.name, [])
            for old in [p for p in have if p.publication not in wanted]:
                have.remove(old)
                await self.networks.unpublish(old)
            for publication in wanted:
                if all(p.publication != publication for p in have):
                    have.append(await self.networks.publish(publication))

    async def _release(self, service: str) -> None:
        """Close the ports of a service of which nothing runs."""
        async with self._publishing.setdefault(service, trio.Lock()):
            if not any(h.service == service and (h.running or h.address) for h in self._held.values()):
                for port in self._published.pop(service, []):
                    await self.networks.unpublish(port)

    async def _left(self, held: _Held) -> None:
        """A container does not run any more: its place on its networks is free."""
        held.running = False
        await self._serve(held, healthy=False)
        held.address = ""
        await self.networks.detach(held.id)
        await self._release(held.service)

    async def serve(self, name: str, *, healthy: bool) -> None:
        if name in self._held:
            with _translated(f'the ports of "{name}"'):
                await self._serve(self._held[name], healthy=healthy)

    async def _serve(self, held: _Held, *, healthy: bool) -> None:
        healthy = healthy and bool(held.address)
        if held.healthy == healthy:
            return
        held.healthy = healthy
        if self._published.get(held.service):
            members = [h for h in self._held.values() if h.service == held.service and h.healthy]
            await self.networks.set_backends(
                network_spec.group(self.places.project, held.service), [Backend(h.id, h.address) for h in members]
            )

    # what runs

    def notes(self, name: str) -> tuple[str, ...]:
        return self._notes.pop(name, ())

    async def signal_container(self, name: str, signal: int) -> None:
        with _translated(f'container "{name}" cannot be signalled'), suppress(NoSuchContainer):
            await self.runtime.signal(self._find(name).id, signal)

    async def kill_container(self, name: str) -> None:
        with _translated(f'container "{name}" cannot be killed'):
            held = self._find(name)
            await self.runtime.kill(held.id)
            await self.runtime.await_exit(held.id)

    async def await_exit(self, name: str) -> ContainerExited:
        held = self._find(name)
        with _translated(f'container "{name}"'):
            code = await self.runtime.await_exit(held.id)
        return ContainerExited(name, held.service, code, held.oom_killed, time.time())

    async def remove_container(self, name: str, *, volumes: bool = False) -> None:
        held = self._held.get(name)
        if held is None:
            return
        with _translated(f'container "{name}" cannot be removed'), trio.CancelScope(shield=True):
            if held.running or held.address:
                await self._left(held)
            await self.runtime.remove(held.id)
            del self._held[name]
            for volume in held.own.anonymous if volumes else ():
                with suppress(VolumeError):  # another container has it by volumes_from
                    await trio.to_thread.run_sync(self.volumes.remove, volume)

    async def rename_container(self, name: str, new_name: str) -> None:
        held = self._find(name)
        with _translated(f'container "{name}" cannot be renamed'):
            await self.runtime.rename(held.id, new_name)
            held.name = new_name
            self._held[new_name] = self._held.pop(name)

    async def pause_container(self, name: str) -> None:
        with _translated(f'container "{name}" cannot be paused'):
            await self.runtime.pause(self._find(name).id)

    async def unpause_container(self, name: str) -> None:
        with _translated(f'container "{name}" cannot be unpaused'):
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
        held = self._find(name)
        with _translated(f'container "{name}": exec'):
            own = self._process(held)
            process = replace(
                own,
                args=command,
                env=(*own.env, *(f"{k}={v}" for k, v in environment.items())),
                terminal=False,
                cwd=working_dir or own.cwd,
                user=User(username=user) if user is not None else own.user,
            )
            code, output = await self.runtime.exec(held.id, process, output_limit)
            return ExecResult(code, output)

    def _process(self, held: _Held) -> Process:
        with open(f"{self.places.container(held.id)}/bundle.json", encoding="utf-8") as file:
            return bundle_from_json(Bundle, file.read()).spec.process

    def remember(self, name: str, supervision: Supervision) -> None:
        if name not in self._held:
            return
        path = f"{self.places.container(self._held[name].id)}/{SUPERVISION}"
        with suppress(OSError):  # a full disk must not stop what this only remembers
            if supervision == NOBODY:
                with suppress(FileNotFoundError):
                    os.unlink(path)
                return
            with open(path + "~", "w", encoding="utf-8") as file:
                file.write(to_json(supervision))
            os.replace(path + "~", path)


def _own(
    project: Project,
    service: Service,
    generation: str,
    image: Image,
    volumes: Mapping[str, str],
    anonymous: list[str],
    shared: Mapping[str, str],
) -> Own:
    check = network_spec.merged_check(service.healthcheck, network_spec.image_check(image.healthcheck))
    return Own(
        generation=generation,
        image=service.image or "",
        command=tuple((*image.entrypoint, *image.cmd) if service.command is None else service.command),
        hash_parts=dict(service.hash_parts),
        restart=(service.restart.condition, service.restart.max_attempts),
        networks=tuple(project.networks[a.network].name for a in service.networks),
        volumes=dict(volumes),
        anonymous=tuple(anonymous),
        depends_on=tuple((d.service, d.condition, d.restart) for d in service.depends_on),
        grace=service.stop_grace_period,
        signal=service.stop_signal or image.stop_signal or None,
        healthcheck=asdict(check) if check else None,
        shared=dict(shared),
    )


def _labels(project: Project, service: Service, number: int, digest: str, own: Own) -> dict[str, str]:
    needs = (f"{d.service}:{d.condition}:{str(d.restart).lower()}" for d in service.depends_on)
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
        Label.DEPENDS_ON: ",".join(needs),
        OWN: own.text(),
    }


def _block_devices(service: Service) -> dict[str, tuple[int, int]]:
    """The numbers of the devices that blkio_config names."""
    blkio = service.resources.blkio
    if blkio is None:
        return {}
    rates = (*blkio.device_read_bps, *blkio.device_read_iops, *blkio.device_write_bps, *blkio.device_write_iops)
    numbers = {}
    for path in {*(r.path for r in rates), *(w.path for w in blkio.weight_device)}:
        try:
            found = os.stat(path).st_rdev
        except OSError as error:
            raise HostError(f'blkio_config: device "{path}": {error.strerror}') from error
        numbers[path] = (os.major(found), os.minor(found))
    return numbers
