"""A host in memory: what engine tests run against. It keeps `Host`'s promises and records what is asked of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import trio
from pycompose.compose.engine.host import ContainerExited, ContainerStarted, ExecResult, HostError, HostEvent
from pycompose.compose.model.fields import EMPTY
from pycompose.compose.model.observed import Observed, ObservedContainer, ObservedNetwork, ObservedVolume, Supervision
from pycompose.compose.model.project import Network, Project, Volume


class FakeHost:
    """`fail` holds calls that raise ("start p-web-1"); `deaf` names containers that only SIGKILL ends."""

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
        self._listeners: list[trio.MemorySendChannel[HostEvent]] = []
        self._exits: dict[str, trio.Event] = {}
        self._made = 0

    def _call(self, text: str) -> None:
        self.calls.append(text)
        if text in self.fail:
            raise HostError(f"cannot {text}")

    def _get(self, name: str) -> ObservedContainer:
        if name not in self.containers:
            raise HostError(f"no such container: {name}")
        return self.containers[name]

    def _send(self, event: HostEvent) -> None:
        for listener in self._listeners:
            listener.send_nowait(event)

    def exit(self, name: str, code: int) -> None:
        """The container's process ends by itself."""
        found = self._get(name)
        self.containers[name] = replace(found, status="exited", exit_code=code, pid=None, finished=trio.current_time())
        self._exits[name].set()
        self._send(ContainerExited(name, found.service, code, False, trio.current_time()))

    def observe(self) -> Observed:
        return Observed(
            self.project,
            tuple(self.containers.values()),
            tuple(self.networks.values()),
            tuple(self.volumes.values()),
        )

    async def create_network(self, network: Network) -> None:
        self._call(f"create network {network.name}")
        self.networks[network.name] = ObservedNetwork(network.name, network.key, network.config_hash)

    async def remove_network(self, name: str) -> None:
        self._call(f"remove network {name}")
        self.networks.pop(name, None)

    async def create_volume(self, volume: Volume) -> None:
        self._call(f"create volume {volume.name}")
        self.volumes[volume.name] = ObservedVolume(volume.name, volume.key, volume.config_hash)

    async def remove_volume(self, name: str) -> None:
        self._call(f"remove volume {name}")
        self.volumes.pop(name, None)

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
        self._call(f"create {name}")
        if name in self.containers:
            raise HostError(f"container {name} exists")
        made = project.services[service]
        self._made += 1
        self.containers[name] = ObservedContainer(
            f"{self._made:064x}",
            name,
            service,
            number,
            "created",
            config_hash=made.config_hash,
            generation=generation,
            restart=made.restart,
            healthcheck=made.healthcheck,
            networks=tuple(project.networks[a.network].name for a in made.networks),
            depends_on=tuple((d.service, d.condition, d.restart) for d in made.depends_on),
            stop_grace_period=made.stop_grace_period,
        )

    async def start_container(self, name: str) -> None:
        self._call(f"start {name}")
        found = self._get(name)
        self._exits[name] = trio.Event()
        now = trio.current_time()
        self.containers[name] = replace(found, status="running", exit_code=None, started=now, pid=1)
        self._send(ContainerStarted(name, found.service, now, found.restart, found.healthcheck))

    async def signal_container(self, name: str, signal: int) -> None:
        self._call(f"signal {name} {signal}")
        if name not in self.deaf and self._get(name).status == "running":
            self.exit(name, 128 + signal)

    async def kill_container(self, name: str) -> None:
        self._call(f"kill {name}")
        if self._get(name).status in ("running", "paused"):
            self.exit(name, 137)

    async def await_exit(self, name: str) -> ContainerExited:
        if name in self._exits:
            await self._exits[name].wait()
        found = self._get(name)
        return ContainerExited(name, found.service, found.exit_code, False, found.finished or 0.0)

    async def remove_container(self, name: str, *, volumes: bool = False) -> None:
        self._call(f"remove {name}")
        self.containers.pop(name, None)

    async def rename_container(self, name: str, new_name: str) -> None:
        self._call(f"rename {name} {new_name}")
        if new_name in self.containers:
            raise HostError(f"container {new_name} exists")
        self.containers[new_name] = replace(self._get(name), name=new_name)
        del self.containers[name]

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
        environment: Mapping[str, str] = EMPTY,
        user: str | None = None,
        working_dir: str | None = None,
        privileged: bool = False,
        output_limit: int = 4096,
    ) -> ExecResult:
        self._call(f"exec {name} {' '.join(command)}")
        return ExecResult(self.probe_code, b"")

    def notes(self, name: str) -> tuple[str, ...]:
        return ()

    def remember(self, name: str, supervision: Supervision) -> None:
        if name in self.containers:
            self.containers[name] = replace(self.containers[name], supervision=supervision)

    async def serve(self, name: str, *, healthy: bool) -> None:
        (self.serving.add if healthy else self.serving.discard)(name)

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
