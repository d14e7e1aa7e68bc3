"""This machine as a `Host`, done over `runtime` and `network`: its life, its recovery, its events.

Rules: nothing here decides. Every method undoes itself on failure and raises HostError; the errors of the other folders
are translated here, once. What exists is on disk; what is held in memory is rebuilt from there by `run`, so that a
supervisor may be replaced at any moment.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache, partial
from signal import SIGKILL

import trio
from pycompose import shortages
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
from pycompose.compose.engine.publisher import Publisher
from pycompose.compose.model.fields import EMPTY, Variables
from pycompose.compose.model.observed import Label, Observed, OneOff, Supervision
from pycompose.compose.model.project import Network, Project, Volume
from pycompose.compose.state.network_changes import Connection
from pycompose.compose.state.observe import observe
from pycompose.errors import PycomposeError
from pycompose.log_lines import note
from pycompose.network.errors import NetworkError
from pycompose.network.networks import Networks
from pycompose.runtime.client.sandboxes import ExecBegan, ExecDied, OutOfMemory, Runtime, Sandbox
from pycompose.runtime.client.worker import Worker
from pycompose.runtime.errors import NoSuchContainer, RuntimeFailure, StartFailed
from pycompose.runtime.keeper.inheritance import lowered
from pycompose.runtime.places import Places
from pycompose.runtime.policy import host_secrets

from . import network_spec, service_mounts
from .container_output import followed_output
from .containers import Containers, HeldContainer
from .foreign_donors import ForeignDonors
from .further_process import further_process
from .sandbox_network import ServiceNetwork


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Errors of the other folders become HostError."""
    try:
        yield
    except HostError:
        raise
    except PycomposeError as error:
        text = f"{what} {error}" if isinstance(error, StartFailed) else f"{what}: {error}"
        raise HostError(text, hint=error.hint, exit_code=error.exit_code or 1) from error
    except (OSError, ValueError, MemoryError, RuntimeError) as error:
        short = shortages.number(error)
        if isinstance(error, RuntimeError) and not short:
            raise
        raise HostError(f"{what}: {shortages.reason(error)}", hint=shortages.hint(short)) from error


@cache
def _inherited() -> tuple[HostNote, ...]:
    """Limits of whoever started the helpers, which this process has as containers do."""
    if not (limits := ", ".join(lowered())):
        return ()
    text = (
        f"containers have limits of the shell that this project was first started from: {limits}; "
        "raising them takes CAP_SYS_RESOURCE, which is missing here"
    )
    return (HostNote(text, of_machine=True),)


class LinuxHost:
    """One project on this machine. `run` must run in a nursery before anything else is asked."""

    def __init__(
        self, roots: Places, project: str, publisher: Publisher, relaunch: Sequence[str] | None = None
    ) -> None:
        self._publisher = publisher
        self._relaunch = relaunch  # the supervisor's own command, for a keeper that is launched again
        self.roots, self.places = roots, roots.project(project)
        self.runtime = Runtime(self.places)
        self.networks, self._worker = Networks(roots.networks, project), Worker()
        self._containers = Containers(roots, self.places, self.runtime)
        self._service_network = ServiceNetwork(self.networks, self._worker, self._containers, project)
        self._foreign = ForeignDonors(self.places)
        self._listeners: list[trio.MemorySendChannel[HostEvent]] = []
        self._nursery: trio.Nursery  # since `run`

    # its life

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Take over what runs, then pass on what happens, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self.networks.run)
            await self._worker.run(self.networks.recover)
            await nursery.start(self.runtime.serve, self._relaunch)
            await self._recover()
            nursery.start_soon(self._foreign.run, self._tell_all)
            task_status.started()
            async for event in self.runtime.events():
                held = self._containers.by_id(event.id)
                if held is None:
                    continue
                match event:
                    case OutOfMemory():
                        await self._out_of_memory(held)
                    case ExecBegan(_, execution, command):
                        for action in ("exec_create", "exec_start"):
                            self._publisher.publish(held.id, f"{action}: {command}", execID=execution)
                    case ExecDied(_, execution, code):
                        self._publisher.publish(held.id, "exec_die", execID=execution, exitCode=str(code))
                    case _:
                        await self._ended(held, event.code, event.oom_killed)

    async def _ended(self, held: HeldContainer, code: int | None, oom_killed: bool) -> None:
        await held.announced.wait()  # a short-lived one may end before its start is told
        if held.gone.is_set():  # its start was given up, and nobody knows of this run
            return
        if oom_killed and not held.oom_told:  # the first process was the one that was killed
            await self._out_of_memory(held)
        held.exit_code, held.oom_killed = code, oom_killed
        self._publisher.died(held.id, code)
        try:
            await self._service_network.leave(held)
        except (NetworkError, OSError, MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not shortages.number(error):
                raise
            note(f"{held.name}: {shortages.reason(error)}")
        await self._tell(held, ContainerExited(held.name, held.service, code, oom_killed, time.time()))
        held.ended()
        if held.auto_remove:
            self._nursery.start_soon(self._remove_ended, held.name)

    async def _remove_ended(self, name: str) -> None:
        try:
            await self.remove_container(name, volumes=True)
        except HostError as error:
            note(str(error))

    async def _out_of_memory(self, held: HeldContainer) -> None:
        held.oom_told = True
        self._publisher.publish(held.id, "oom")
        await self._tell(held, ContainerOutOfMemory(held.name, held.service, time.time()))

    async def _recover(self) -> None:
        """Take over from a supervisor before this one: its containers go on, its half-made ones are swept."""
        containers = self.observe().containers
        self._containers.recover(containers)
        self._watch_donors()
        self._publisher.recover()
        running = {c.id for c in containers if c.status in ("running", "paused")}
        await self._service_network.recover(running, lambda owner: self._containers.by_id(owner) is not None)
        places = self._service_network.places()
        for container_id in running:
            held = self._containers.by_id(container_id)
            assert held is not None
            with suppress(RuntimeFailure):  # it ended meanwhile: the event is on its way
                sandbox = await self.runtime.sandbox(container_id)
                self._service_network.adopt(held, sandbox, places.get(container_id, ()))
        await self._service_network.release_idle()
        for held in self._containers.all():
            if held.auto_remove and held.id not in running:
                await self._remove_ended(held.name)

    @asynccontextmanager
    async def events(self) -> AsyncIterator[trio.MemoryReceiveChannel[HostEvent]]:
        sender, receiver = trio.open_memory_channel[HostEvent](10_000)
        self._listeners.append(sender)
        await self._foreign.look(sender.send, again=True)
        try:
            yield receiver
        finally:
            self._listeners.remove(sender)

    async def _tell(self, held: HeldContainer, event: HostEvent) -> None:
        if held.is_replica:
            await self._tell_all(event)

    async def _tell_all(self, event: HostEvent) -> None:
        for listener in self._listeners:
            await listener.send(event)

    def _watch_donors(self, changed: HeldContainer | None = None) -> None:
        """Of all containers, unless the one that came or went has none."""
        if changed is None or any("/" in donor for donor in changed.labelled.shared.values()):
            self._foreign.watch(donor for held in self._containers.all() for donor in held.labelled.shared.values())

    def look_again(self) -> None:
        """A plan begins: its containers are made by one look at the machine, and not by one from before it."""
        host_secrets.look_again()

    def observe(self) -> Observed:
        return observe(self.places, self.roots)

    # networks and volumes

    async def create_network(self, network: Network) -> None:
        with _translated(f'network "{network.name}" cannot be made'):
            spec = network_spec.network_spec(self.places.project, network)
            await self._worker.run(self.networks.create, spec)

    async def remove_network(self, name: str) -> None:
        with _translated(f'network "{name}" cannot be removed'):
            await self._worker.run(self.networks.remove, name)

    async def create_volume(self, volume: Volume) -> None:
        labels = {
            **volume.labels,
            Label.PROJECT: self.places.project,
            Label.VOLUME: volume.key,
            Label.CONFIG_HASH: volume.config_hash,
        }
        with _translated(f'volume "{volume.name}" cannot be made'):
            make = partial(self._containers.volumes.create, volume.name, labels, volume.driver_opts)
            await trio.to_thread.run_sync(make, volume.driver or "local")

    async def remove_volume(self, name: str, *, remade: bool = False) -> None:
        with _translated(f'volume "{name}" cannot be removed'):
            remove = partial(self._containers.volumes.remove, despite=self.places.project if remade else "")
            await trio.to_thread.run_sync(remove, name)

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
        one_off: OneOff | None = None,
    ) -> None:
        with _translated(f'container "{name}" cannot be made'):
            wanted = project.services[service]
            await self._containers.create(project, generation, wanted, name, number, inherit, one_off)
            held = self._containers.named(name)
            try:
                await self._service_network.reserve(held)
            except BaseException:
                with trio.CancelScope(shield=True):
                    await self._containers.remove(held, volumes=False)
                raise
        self._publisher.created(held.id)
        self._watch_donors(held)

    async def create_hook(self, name: str, beside: str, index: int) -> None:
        with _translated(f'container "{name}" cannot be made'):
            await self._containers.create_hook(name, beside, index)
        self._publisher.created(self._containers.named(name).id)

    async def start_container(self, name: str) -> None:
        held = self._containers.named(name)
        with _translated(f'container "{name}"'):
            await self._rests(held)
            project, service = self._containers.project_of(held), self._containers.service_of(held)

            async def prepare(sandbox: Sandbox) -> None:
                await self._service_network.join(held, sandbox)

            held.began()
            try:
                gone: list[str] = []
                if service.configs or service.secrets:
                    refresh, folder = service_mounts.refresh, self._containers.folder(held)
                    gone = await self.runtime.disk.run(refresh, project, service, folder)
                notes = [*gone, *await self.runtime.start(held.id, prepare)]
            except BaseException:
                with trio.CancelScope(shield=True):
                    await self._service_network.leave(held)
                    held.ended()
                    if held.auto_remove:
                        await self.remove_container(name, volumes=True)
                raise
            try:
                self._publisher.publish(held.id, "start")
                self._containers.note(held, notes)
                # The monitor says when of one that is checked; a hook's container has no ports.
                if held.labelled.hook is None and (held.labelled.healthcheck is None or not held.is_replica):
                    await self._service_network.serve(held, healthy=True)
                labelled = held.labelled
                await self._tell(
                    held, ContainerStarted(name, held.service, time.time(), labelled.policy(), labelled.healthcheck)
                )
            finally:
                held.announced.set()

    async def _rests(self, held: HeldContainer) -> None:
        """Return when nothing of its last run is left. Raises PycomposeError if it runs."""
        if not held.gone.is_set() and self._containers.runs(held):
            raise PycomposeError("it runs")
        await held.gone.wait()

    async def serve(self, name: str, *, healthy: bool) -> None:
        if held := self._containers.get(name):
            with _translated(f'the ports of "{name}"'):
                await self._service_network.serve(held, healthy=healthy)

    # what runs

    def notes(self, name: str) -> tuple[HostNote, ...]:
        return (*self._containers.taken_notes(name), *_inherited())

    async def signal_container(self, name: str, signal: int) -> None:
        held = self._containers.named(name)
        with _translated(f'container "{name}" cannot be signalled'), suppress(NoSuchContainer):
            await self.runtime.signal(held.id, signal)
            self._publisher.publish(held.id, "kill", signal=str(signal))

    async def kill_container(self, name: str) -> None:
        held = self._containers.named(name)
        with _translated(f'container "{name}" cannot be killed'):
            if not held.gone.is_set():
                self._publisher.publish(held.id, "kill", signal=str(int(SIGKILL)))
                await self.runtime.kill(held.id)
                await held.gone.wait()

    async def await_exit(self, name: str) -> ContainerExited:
        held = self._containers.named(name)
        await held.gone.wait()
        return ContainerExited(held.name, held.service, held.exit_code, held.oom_killed, time.time())

    async def follow_output(self, name: str, tell: Callable[[Sequence[OutputLine]], None]) -> None:
        held = self._containers.named(name)
        with _translated(f'the output of "{name}"'):
            await followed_output(f"{self._containers.folder(held)}/log", held.gone, tell)

    async def remove_container(self, name: str, *, volumes: bool = False) -> None:
        held = self._containers.get(name)
        if held is None:
            return
        with _translated(f'container "{name}" cannot be removed'), trio.CancelScope(shield=True):
            async with held.removing:
                if held.removed.is_set():
                    return
                await self._rests(held)
                await self._service_network.unreserve(held.id)
                await self._containers.remove(held, volumes=volumes)
                self._publisher.publish(held.id, "destroy")
                held.removed.set()
        self._watch_donors(held)

    async def await_removal(self, name: str) -> None:
        if held := self._containers.get(name):
            await held.removed.wait()

    async def rename_container(self, name: str, new_name: str) -> None:
        held = self._containers.named(name)
        with _translated(f'container "{name}" cannot be renamed'):
            await self._containers.rename(held, new_name)
            self._publisher.renamed(held.id, new_name)

    async def connect_network(
        self, name: str, network: str, aliases: tuple[str, ...], ipv4_address: str | None, ipv6_address: str | None
    ) -> None:
        held = self._containers.named(name)
        with _translated(f'container "{name}" cannot be connected to network "{network}"'):
            connection = Connection(network, aliases, ipv4_address, ipv6_address)
            await self._service_network.connect(held, connection, self.runtime.sandbox)

    async def disconnect_network(self, name: str, network: str) -> None:
        held = self._containers.named(name)
        with _translated(f'container "{name}" cannot be disconnected from network "{network}"'):
            await self._service_network.disconnect(held, network, self.runtime.sandbox)

    async def pause_container(self, name: str) -> None:
        with _translated(f'container "{name}" cannot be paused'):
            held = self._containers.named(name)
            await self.runtime.pause(held.id)
            self._publisher.publish(held.id, "pause")

    async def unpause_container(self, name: str) -> None:
        with _translated(f'container "{name}" cannot be unpaused'):
            held = self._containers.named(name)
            await self.runtime.unpause(held.id)
            self._publisher.publish(held.id, "unpause")

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
        held = self._containers.named(name)
        with _translated(f'container "{name}": exec'):
            first = self._containers.process(held)
            process = further_process(first, command, environment, user or "", working_dir or "")
            code, output = await self.runtime.exec(held.id, process, output_limit, privileged, tell)
            return ExecResult(code, output)

    def donors(self, name: str) -> tuple[str, ...]:
        held = self._containers.get(name)
        references = dict.fromkeys(held.labelled.shared.values()) if held else ()
        ours = (other.name for other in map(self._containers.by_id, references) if other)
        return (*ours, *(reference for reference in references if "/" in reference and self._foreign.there(reference)))

    def remember(self, name: str, supervision: Supervision) -> None:
        if held := self._containers.get(name):
            self._containers.remember(held, supervision)
