"""Containers, for the supervisor: made, started, signalled, awaited through the keeper. Over trio.

`start` has a middle: between the first process being ready and its program running, `prepare` gets a Sandbox and
may set up its network. Records are `container_record`'s; the keeper alone writes process.json and exit.json.
A keeper that dies is launched again by `serve`, if it was told how; then nothing that happened meanwhile is missed.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import trio
from pycompose import durable
from pycompose.frozen import dataclass
from pycompose.runtime.errors import KeeperGone, NoSuchContainer, StartFailed
from pycompose.runtime.files.remove import discard
from pycompose.runtime.keeper.launch import launch_keeper
from pycompose.runtime.keeper.log_writer import discard_stream
from pycompose.runtime.keeper.messages import (
    Abandon,
    Done,
    Event,
    Exec,
    ExecEnded,
    Executing,
    FindSandbox,
    Go,
    ListRunning,
    Prepared,
    RecordExit,
    RunningIds,
    SandboxAt,
    Start,
    Streams,
    Subscribe,
)
from pycompose.runtime.keeper.messages import Ended as Ended
from pycompose.runtime.keeper.messages import ExecBegan as ExecBegan
from pycompose.runtime.keeper.messages import ExecDied as ExecDied
from pycompose.runtime.keeper.messages import OutOfMemory as OutOfMemory
from pycompose.runtime.linux import pidfd
from pycompose.runtime.places import ProjectPlaces
from pycompose.runtime.policy import apparmor
from pycompose.runtime.policy.cgroup import Cgroup
from pycompose.runtime.spec import Bundle, Process, to_json
from pycompose.runtime.state import container_record

from .over_trio import AsyncKeeper
from .worker import Worker

PIPE = 64 << 10  # bytes that a pipe holds
AGAIN = 0.02  # seconds until a keeper that is being launched is asked again


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A container's first process from outside. Whoever gets one closes its descriptors."""

    pid: int
    pidfd: int
    netns_fd: int
    sockets: tuple[int, ...] = ()


FLUSHES = 16  # threads


def write_container(folder: str, name: str, bundle: Bundle, image: str = "", seccomp: bytes | None = None) -> None:
    """The files of a container that does not run yet; on the disk after `Runtime.flushed`. Raises OSError."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    durable.write(f"{folder}/bundle.json", to_json(bundle).encode(), flush=False)
    if seccomp is not None:
        durable.write(f"{folder}/seccomp.bpf", seccomp, flush=False)
    state = {"name": name, "created": time.time(), "annotations": dict(bundle.spec.annotations), "image": image}
    container_record.write(f"{folder}/state.json", state, flush=False)


class Runtime:
    """The containers of one project. `serve` must run in a nursery for `events` and `await_exit` to hear anything."""

    def __init__(self, places: ProjectPlaces) -> None:
        self.places, self.disk, self._groups = places, Worker(), Worker()
        self._flushes = trio.CapacityLimiter(FLUSHES)
        self._waiting: dict[str, trio.Event] = {}
        self._unrecorded: dict[str, int | None] = {}  # codes of those whose end could not be written
        self._relaunches = False  # a keeper that died is followed by another
        self._sender, self._receiver = trio.open_memory_channel[Event](math.inf)
        self._running: dict[str, tuple[int, int]] = {}  # id -> pid, pidfd: they tell exit codes if the keeper cannot

    async def serve(
        self, relaunch: Sequence[str] | None = None, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Hear of ends until cancelled. With `relaunch`, the command of a supervisor, a keeper that died is launched
        again, to attend to this process as the supervisor; without it, KeeperGone is raised."""
        listening, self._relaunches = False, relaunch is not None
        while True:
            try:
                with AsyncKeeper(self.places) as keeper:
                    await keeper.ask(Subscribe(), Done)
                    await self._catch_up(keeper)
                    if not listening:
                        listening = True
                        task_status.started()
                    while True:
                        self._heard(await keeper.event())
            except KeeperGone:
                if relaunch is None or not listening:
                    raise
            await self.reconnect(relaunch)

    async def flushed(self, container_id: str) -> None:
        """Return when the record that `write_container` made is on the disk: many at once, for a journal's commit is of
        all that wait for it. Raises OSError."""
        record = f"{self.places.container(container_id)}/state.json"
        await trio.to_thread.run_sync(durable.flush, record, limiter=self._flushes)

    async def reconnect(self, supervisor_argv: Sequence[str]) -> None:
        """Return when a keeper listens again, which takes this process for the supervisor. Raises KeeperGone."""
        await trio.to_thread.run_sync(launch_keeper, self.places, tuple(supervisor_argv), os.getpid())

    async def _catch_up(self, keeper: AsyncKeeper) -> None:
        """Hear what happened while nobody listened; remember the processes of what runs."""
        answer, _ = await keeper.ask(ListRunning(), RunningIds)
        running = set(answer.ids)
        for container_id in set(self._running) - running:
            end = container_record.read(f"{self.places.container(container_id)}/exit.json")
            pid, descriptor = self._running[container_id]
            code = end.get("code")
            if end and code is None and (code := pidfd.exit_code(pid, descriptor)) is not None:
                await keeper.ask(RecordExit(container_id, code), Done)
            self._heard(Ended(container_id, code, end.get("oom_killed", False), pid))
            keeper.forget_exit(container_id)
        for container_id in running - set(self._running):
            process = container_record.read(f"{self.places.container(container_id)}/process.json")
            with suppress(OSError):
                if container_record.alive(process):
                    self._running[container_id] = process["pid"], os.pidfd_open(process["pid"])

    def _heard(self, event: Event) -> None:
        if isinstance(event, Ended):
            if (held := self._running.get(event.id)) is not None:
                if event.pid not in (0, held[0]):
                    return  # of a run before this one; that it ended is known since this one could begin
                del self._running[event.id]
                os.close(held[1])
            if not os.path.exists(f"{self.places.container(event.id)}/exit.json"):
                self._unrecorded[event.id] = event.code
            waiting = self._waiting.pop(event.id, None)
            if waiting is not None:
                waiting.set()
        self._sender.send_nowait(event)

    def events(self) -> trio.MemoryReceiveChannel[Event]:
        return self._receiver

    async def create(
        self, container_id: str, name: str, bundle: Bundle, image: str = "", seccomp: bytes | None = None
    ) -> None:
        """Write the container's folder; nothing runs yet."""
        await self.disk.run(write_container, self.places.container(container_id), name, bundle, image, seccomp)

    async def start(
        self, container_id: str, prepare: Callable[[Sandbox], Awaitable[None]] | None = None
    ) -> tuple[str, ...]:
        """Run it; what of its limits and the like has no effect on this machine.

        Raises StartFailed, and whatever `prepare` raises; then nothing of it is left running.
        """
        self._unrecorded.pop(container_id, None)
        if apparmor.enabled():  # at each start: a reboot forgets what was loaded when the container was made
            await self.disk.run(apparmor.ensure_for, f"{self.places.container(container_id)}/bundle.json")
        with AsyncKeeper(self.places) as keeper:
            answer, fds = await keeper.ask(Start(container_id), Prepared)
            sandbox = Sandbox(answer.pid, fds[0], fds[1], tuple(fds[2:]))
            try:
                if prepare is not None:
                    await prepare(sandbox)
                # The keeper's word of the run before may have come only now: it says nothing of this one.
                self._unrecorded.pop(container_id, None)
                handle = os.dup(sandbox.pidfd)
                try:
                    _, born = await keeper.ask(Go(container_id), Done)
                except BaseException:
                    os.close(handle)
                    raise
                if held := self._running.pop(container_id, None):
                    os.close(held[1])
                pid = sandbox.pid
                if born:  # of that process, into another container's pid namespace
                    os.close(handle)
                    handle = born[0]
                    pid = container_record.read(f"{self.places.container(container_id)}/process.json").get("pid", 0)
                self._running[container_id] = pid, handle
                return answer.notes
            except BaseException:
                with trio.CancelScope(shield=True), trio.move_on_after(10), suppress(Exception):
                    await self._abandon(container_id)
                raise
            finally:
                os.close(sandbox.pidfd)
                os.close(sandbox.netns_fd)
                if prepare is None:
                    for fd in sandbox.sockets:
                        os.close(fd)

    async def _abandon(self, container_id: str) -> None:
        """Return when nothing is left of a start that failed, or that its caller gave up.

        A keeper that died over it may have let the program run, which the next one takes over: that is asked then.
        """
        while True:
            try:
                with AsyncKeeper(self.places) as keeper:
                    await keeper.ask(Abandon(container_id), Done)
                return
            except StartFailed:  # its program runs: the keeper had heard `Go`, and nobody waited for the answer
                await self.kill(container_id)
                await self.await_exit(container_id)
                return
            except KeeperGone:
                if not self._relaunches:
                    raise
                await trio.sleep(AGAIN)

    async def sandbox(self, container_id: str) -> Sandbox:
        with AsyncKeeper(self.places) as keeper:
            answer, fds = await keeper.ask(FindSandbox(container_id), SandboxAt)
        return Sandbox(answer.pid, fds[0], fds[1], tuple(fds[2:]))

    async def signal(self, container_id: str, number: int) -> None:
        sandbox = await self.sandbox(container_id)
        try:
            signal.pidfd_send_signal(sandbox.pidfd, number)
        except ProcessLookupError:
            pass
        finally:
            for fd in (sandbox.pidfd, sandbox.netns_fd, *sandbox.sockets):
                os.close(fd)

    def _cgroup(self, container_id: str) -> Cgroup | None:
        with open(f"{self.places.container(container_id)}/bundle.json") as file:
            path = json.load(file)["spec"].get("linux", {}).get("cgroupsPath")
        return Cgroup(path) if path else None

    async def kill(self, container_id: str) -> None:
        """SIGKILL to all of its processes; to the first, with whom the others of its pid namespace die, in any case."""
        if cgroup := self._cgroup(container_id):
            await self._groups.run(cgroup.kill_all)
        if held := self._running.get(container_id):  # else the keeper would have to be asked for it, each time
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(held[1], signal.SIGKILL)
            return
        with suppress(NoSuchContainer):  # that was quick
            await self.signal(container_id, signal.SIGKILL)

    async def pause(self, container_id: str, paused: bool = True) -> None:
        if cgroup := self._cgroup(container_id):
            await self._groups.run(cgroup.freeze, paused)
            process = container_record.read(f"{self.places.container(container_id)}/process.json")
            await self._change(container_id, paused=process.get("start_time", 0) if paused else 0)

    async def unpause(self, container_id: str) -> None:
        await self.pause(container_id, False)

    async def rename(self, container_id: str, name: str) -> None:
        await self._change(container_id, name=name)

    async def _change(self, container_id: str, **fields: Any) -> None:
        path = f"{self.places.container(container_id)}/state.json"
        await self.disk.run(lambda: container_record.write(path, container_record.read(path) | fields))

    async def remove(self, container_id: str) -> None:
        """Delete the folder of a container that does not run."""
        await self.disk.run(discard, self.places.container(container_id))
        discard_stream(self.places.stream(container_id))

    async def await_exit(self, container_id: str) -> int | None:
        """Its exit code; None if nobody could tell."""
        path = f"{self.places.container(container_id)}/exit.json"
        while not (end := container_record.read(path)):
            if container_id in self._unrecorded:
                return self._unrecorded[container_id]
            await self._waiting.setdefault(container_id, trio.Event()).wait()
        code = end.get("code")
        return None if code is None else int(code)

    async def exec(
        self,
        container_id: str,
        process: Process,
        limit: int = 4096,
        privileged: bool = False,
        tell: Callable[[bytes], None] | None = None,
    ) -> tuple[int, bytes]:
        """Run a process in it; its exit code and the first `limit` bytes of its output. `tell` gets all, as it comes.

        When cancelled, the process is killed. Raises NoSuchContainer, StartFailed, KeeperGone.
        """
        request = Exec(container_id, json.loads(to_json(process)), Streams.CAPTURED, privileged, bound=True)
        with AsyncKeeper(self.places) as keeper:
            _, (reader,) = await keeper.ask(request, Executing)
            output = b""

            def take(chunk: bytes | bytearray) -> None:
                nonlocal output
                output += chunk[: limit - len(output)]
                if tell is not None:
                    tell(bytes(chunk))

            async with trio.lowlevel.FdStream(reader) as stream:

                async def copy() -> None:
                    async for chunk in stream:
                        take(chunk)

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(copy)
                    code = (await keeper.hear(ExecEnded))[0].code
                    nursery.cancel_scope.cancel()
                # What it has left in the pipe is copied, once: someone that it left behind may go on writing.
                with suppress(BlockingIOError):
                    take(os.read(reader, max(limit, PIPE)))
                return code, output
