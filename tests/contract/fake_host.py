"""A host in memory: what engine tests run against. It keeps `Host`'s promises and records what is asked of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import trio
from pycompose.compose.engine.host import (
    ContainerExited,
    ContainerOutOfMemory,
    ContainerStarted,
    ExecResult,
    HostError,
    HostEvent,
    HostNote,
    OutputLine,
)
from pycompose.compose.model.fields import EMPTY, Variables
from pycompose.compose.model.observed import (
    Observed,
    ObservedContainer,
    ObservedNetwork,
    ObservedVolume,
    OneOff,
    PublishedPort,
    Supervision,
)
from pycompose.compose.model.pre_start import hook_service
from pycompose.compose.model.project import Network, Project, Service, Volume, VolumeMount


class FakeHost:
    """`fail` holds calls that raise ("start p-web-1"); `deaf` names containers that only SIGKILL ends.

    Its programs: `sh -c "exit N"`, `tail /dev/zero` (out of memory), `/no/such/program`; inside also `echo`, `printenv`
    and `sleep`. Any other one runs until it is signalled; inside it ends at once with `probe_code`.
    """

    def __init__(self, project: str) -> None:
        self.project = project
        self.containers: dict[str, ObservedContainer] = {}
        self.networks: dict[str, ObservedNetwork] = {}
        self.volumes: dict[str, ObservedVolume] = {}
        self.calls: list[str] = []
        self.fail: set[str] = set()
        self.deaf: set[str] = set()
        self.probe_code = 0
        self.serving: set[str] = set()
        self.inside: dict[str, int] = {}  # container -> processes that exec runs in it
        self._services: dict[str, Service] = {}  # by container
        self._projects: dict[str, Project] = {}  # likewise
        self._output: dict[str, Sequence[OutputLine]] = {}
        self._notes: dict[str, tuple[HostNote, ...]] = {}
        self._listeners: list[trio.MemorySendChannel[HostEvent]] = []
        self._exits: dict[str, trio.Event] = {}
        self._numbers = 0
        self._auto_remove: set[str] = set()
        self._gone: dict[str, trio.Event] = {}

    def successor(self) -> FakeHost:
        """Another host of the same machine and project."""
        other = FakeHost(self.project)
        other.containers, other.networks, other.volumes = self.containers, self.networks, self.volumes
        other._services, other._exits, other._numbers = self._services, self._exits, self._numbers
        other._projects = self._projects
        other._auto_remove = self._auto_remove
        return other

    def _call(self, text: str) -> None:
        self.calls.append(text)
        if text in self.fail:
            raise HostError(f"cannot {text}")

    def _get(self, name: str) -> ObservedContainer:
        if name not in self.containers:
            raise HostError(f'no such container: "{name}"')
        return self.containers[name]

    def _send(self, container: ObservedContainer, event: HostEvent) -> None:
        if not container.oneoff:
            self.tell(event)

    def tell(self, event: HostEvent) -> None:
        """Something happens of which a test knows."""
        for listener in self._listeners:
            listener.send_nowait(event)

    def _runs(self, name: str) -> bool:
        return self._get(name).status in ("running", "paused")

    def exit(self, name: str, code: int, oom_killed: bool = False) -> None:
        """The container's process ends by itself."""
        container, now = self._get(name), trio.current_time()
        self.containers[name] = replace(
            container, status="exited", exit_code=code, pid=None, finished=now, oom_killed=oom_killed, ports=()
        )
        self.serving.discard(name)
        self._exits[name].set()
        self._send(container, ContainerExited(name, container.service, code, oom_killed, now))
        if name in self._auto_remove:
            self._forget(name, volumes=True)
        for other in list(self.containers.values()):  # the kernel ends a process namespace with its first process
            if other.shared.get("pid") == container.id and self._runs(other.name):
                self.exit(other.name, 137)

    def observe(self) -> Observed:
        return Observed(
            self.project,
            tuple(
                replace(c, status="restarting") if c.supervision.restarting and not self._runs(c.name) else c
                for c in self.containers.values()
            ),
            tuple(self.networks.values()),
            tuple(self.volumes.values()),
        )

    async def create_network(self, network: Network) -> None:
        self._call(f"create network {network.name}")
        self.networks.setdefault(network.name, ObservedNetwork(network.name, network.key, network.config_hash))

    async def remove_network(self, name: str) -> None:
        self._call(f"remove network {name}")
        if any(name in c.networks and self._runs(c.name) for c in self.containers.values()):
            raise HostError(f'network "{name}" still has containers')
        self.networks.pop(name, None)

    async def create_volume(self, volume: Volume) -> None:
        self._call(f"create volume {volume.name}")
        self.volumes.setdefault(volume.name, ObservedVolume(volume.name, volume.key, volume.config_hash))

    async def remove_volume(self, name: str, *, remade: bool = False) -> None:
        self._call(f"remove volume {name}")
        if self._users(name) and not remade:
            raise HostError(f'volume "{name}" is used')
        self.volumes.pop(name, None)

    def _users(self, volume: str) -> list[str]:
        return [c.name for c in self.containers.values() if volume in c.volumes.values()]

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
        one_off: OneOff | None = None,
    ) -> None:
        self._call(f"create {name}")
        wanted = project.services[service]
        if name in self.containers:
            raise HostError(f'container name "{name}" is already in use')
        if wanted.image == "absent":
            raise HostError(f'container "{name}" cannot be made: no such image: absent')
        if wanted.command == ():
            raise HostError(f'container "{name}" cannot be made: no command to run')
        shared = {}
        for kind, mode in (("network", wanted.network_mode), ("ipc", wanted.ipc), ("pid", wanted.pid)):
            way, _, other = (mode or "").partition(":")
            if way == "service":
                among = sorted(c.name for c in self.containers.values() if c.service == other)
                if not among:
                    raise HostError(f'no service "{other}" to share the {kind} namespace of')
                shared[kind] = self.containers[among[0]].id
        self._numbers += 1
        container_id = one_off.id if one_off else f"{self._numbers:064x}"
        if one_off and one_off.auto_remove:
            self._auto_remove.add(name)
        inherited = self._get(inherit) if inherit else None
        volumes, anonymous = {}, []
        for mount in wanted.mounts:
            if isinstance(mount, VolumeMount) and mount.source is not None:
                volumes[mount.target] = project.volumes[mount.source].name
            elif isinstance(mount, VolumeMount):
                of_other = inherited.volumes.get(mount.target) if inherited else None
                volume = of_other or f"{container_id[-4:]}{mount.target}"
                volumes[mount.target] = volume
                anonymous.append(volume)
                self.volumes.setdefault(volume, ObservedVolume(volume, ""))
        self._projects[name] = project
        self._services[name] = wanted
        self._notes[name] = tuple(HostNote(f"{option} has no effect") for option in wanted.security_opt)
        self.containers[name] = ObservedContainer(
            container_id,
            name,
            service,
            number,
            "created",
            oneoff=one_off is not None,
            image=wanted.image or "",
            command=wanted.command or (),
            config_hash=wanted.config_hash,
            hash_parts=wanted.hash_parts,
            generation=generation,
            created=trio.current_time(),
            restart=wanted.restart_policy,
            healthcheck=wanted.healthcheck,
            networks=tuple(project.networks[a.network].name for a in wanted.networks),
            shared=shared,
            volumes=volumes,
            anonymous_volumes=tuple(anonymous),
            depends_on=tuple((d.service, d.condition, d.restart) for d in wanted.depends_on),
            stop_grace_period=wanted.stop_grace_period,
            stop_signal=wanted.stop_signal,
        )

    async def create_hook(self, name: str, beside: str, index: int) -> None:
        donor, project = self._get(beside), self._projects[beside]
        given, services = project.services[donor.service], dict(project.services)
        if index >= len(given.pre_start):
            raise HostError(f'service "{donor.service}" has no pre_start[{index}]')
        services[donor.service] = hook_service(given, index, donor.volumes)
        made_of = replace(project, services=services)
        await self.create_container(made_of, donor.generation, donor.service, name, 0, inherit=beside)
        self.containers[name] = replace(self.containers[name], oneoff=True, hook="pre_start", depends_on=())

    async def start_container(self, name: str) -> None:
        self._call(f"start {name}")
        container, wanted = self._get(name), self._services[name]
        if self._runs(name):
            raise HostError(f'container "{name}" runs already')
        for donor in self.donors(name):
            if "/" not in donor and not self._runs(donor):
                raise HostError(f'container "{name}" shares a namespace of {donor}, which does not run')
        command = wanted.command or ()
        if command == ("/no/such/program",):
            if name in self._auto_remove:
                self._forget(name, volumes=True)
            raise HostError(f'container "{name}": {command[0]}: no such file', exit_code=127)
        self._exits[name], now = trio.Event(), trio.current_time()
        ports = tuple(PublishedPort("0.0.0.0", (p.published or (0, 0))[0], p.target, p.protocol) for p in wanted.ports)
        self.containers[name] = replace(
            container, status="running", exit_code=None, started=now, finished=None, pid=1, ports=ports
        )
        if container.healthcheck is None and not container.hook and not container.oneoff:
            await self.serve(name, healthy=True)
        started = ContainerStarted(name, container.service, now, container.restart, container.healthcheck)
        self._send(container, started)
        if command == ("tail", "/dev/zero"):
            self._send(container, ContainerOutOfMemory(name, container.service, now))
            self.exit(name, 137, oom_killed=True)
        elif (code := _exit_code(command)) is not None:
            self.exit(name, code)
        elif command[:1] == ("echo",):
            self._output[name] = [OutputLine(command[1])]
            self.exit(name, 0)

    async def signal_container(self, name: str, signal: int) -> None:
        self._call(f"signal {name} {signal}")
        if name not in self.deaf and self._get(name).status == "running":
            self.exit(name, 128 + signal)

    async def kill_container(self, name: str) -> None:
        self._call(f"kill {name}")
        if self._runs(name):
            self.exit(name, 137)

    async def await_exit(self, name: str) -> ContainerExited:
        container = self._get(name)
        if name in self._exits:
            await self._exits[name].wait()
            container = self.containers.get(name, container)
        return ContainerExited(
            name, container.service, container.exit_code, container.oom_killed, container.finished or 0.0
        )

    async def follow_output(self, name: str, tell: Callable[[Sequence[OutputLine]], None]) -> None:
        tell(self._output.get(name, ()))
        await self.await_exit(name)

    async def remove_container(self, name: str, *, volumes: bool = False) -> None:
        self._call(f"remove {name}")
        if name not in self.containers:
            return
        if self._runs(name):
            raise HostError(f'container "{name}" cannot be removed: it runs')
        self._forget(name, volumes=volumes)

    def _forget(self, name: str, *, volumes: bool) -> None:
        container = self.containers.pop(name)
        self._exits.pop(name, None)
        self._auto_remove.discard(name)
        if name in self._gone:
            self._gone.pop(name).set()
        for volume in container.anonymous_volumes if volumes else ():
            if not self._users(volume):
                self.volumes.pop(volume, None)

    async def await_removal(self, name: str) -> None:
        if name in self.containers:
            await self._gone.setdefault(name, trio.Event()).wait()

    async def rename_container(self, name: str, new_name: str) -> None:
        self._call(f"rename {name} {new_name}")
        container = self._get(name)
        if new_name in self.containers:
            raise HostError(f'container name "{new_name}" is already in use')
        self.containers[new_name] = replace(container, name=new_name)
        del self.containers[name]
        self._services[new_name] = self._services.pop(name)
        if name in self._exits:
            self._exits[new_name] = self._exits.pop(name)

    async def connect_network(
        self, name: str, network: str, aliases: tuple[str, ...], ipv4_address: str | None, ipv6_address: str | None
    ) -> None:
        self._call(f"connect {name} {network}")
        container = self._get(name)
        if network in container.networks:
            raise HostError(f"endpoint with name {name} already exists in network {network}")
        self.containers[name] = replace(container, networks=(*container.networks, network))

    async def disconnect_network(self, name: str, network: str) -> None:
        self._call(f"disconnect {name} {network}")
        container = self._get(name)
        if network not in container.networks:
            raise HostError(f"container {name} is not connected to network {network}")
        left = tuple(one for one in container.networks if one != network)
        self.containers[name] = replace(container, networks=left)

    async def pause_container(self, name: str) -> None:
        self._call(f"pause {name}")
        self.containers[name] = replace(self._get(name), status="paused")

    async def unpause_container(self, name: str) -> None:
        self._call(f"unpause {name}")
        self.containers[name] = replace(self._get(name), status="running")

    async def exec_container(
        self,
        name: str,
        command: tuple[str, ...],
        *,
        environment: Variables = EMPTY,
        user: str | None = None,
        working_dir: str | None = None,
        privileged: bool = False,
        output_limit: int = 4096,
        tell: Callable[[bytes], None] | None = None,
    ) -> ExecResult:
        self._call(f"exec {name} {' '.join(command)}")
        if not self._runs(name):
            raise HostError(f'container "{name}" does not run')
        self.inside[name] = self.inside.get(name, 0) + 1
        try:
            match command:
                case ("sleep", seconds):
                    await trio.sleep(float(seconds))
                    return ExecResult(0, b"")
                case ("echo", text):
                    if tell is not None:
                        tell(f"{text}\n".encode())
                    return ExecResult(0, f"{text}\n".encode()[:output_limit])
                case ("printenv", variable):
                    value = {**self._services[name].environment, **environment}.get(variable)
                    return ExecResult(0 if value else 1, f"{value}\n".encode()[:output_limit])
            code = _exit_code(command)
            return ExecResult(self.probe_code if code is None else code, b"")
        finally:
            self.inside[name] -= 1

    def notes(self, name: str) -> tuple[HostNote, ...]:
        return self._notes.pop(name, ())

    def donors(self, name: str) -> tuple[str, ...]:
        ids = set(self.containers[name].shared.values()) if name in self.containers else set()
        ours = tuple(other.name for other in self.containers.values() if other.id in ids)
        return (*ours, *(reference for reference in ids if "/" in reference))

    def remember(self, name: str, supervision: Supervision) -> None:
        if name in self.containers:
            self.containers[name] = replace(self.containers[name], supervision=supervision)

    async def serve(self, name: str, *, healthy: bool) -> None:
        if healthy and name in self.containers and self._runs(name):
            self.serving.add(name)
        else:
            self.serving.discard(name)

    @asynccontextmanager
    async def events(self) -> AsyncIterator[trio.MemoryReceiveChannel[HostEvent]]:
        send, receive = trio.open_memory_channel[HostEvent](10_000)
        self._listeners.append(send)
        try:
            async with receive:
                yield receive
        finally:
            self._listeners.remove(send)
            send.close()


def _exit_code(command: tuple[str, ...]) -> int | None:
    """N of `sh -c "exit N"`."""
    if len(command) == 3 and command[:2] == ("sh", "-c") and command[2].startswith("exit "):
        return int(command[2].removeprefix("exit "))
    return None
