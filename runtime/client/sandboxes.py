"""Containers, for the supervisor: an async client of the keeper, over trio.

`start` has a middle: between the first process being ready and its program running, `prepare` gets a Sandbox and
may set up its network. What is on disk is `runtime.record`'s; the keeper alone writes process.json and exit.json.
A keeper that dies is launched again by `serve`, if it was told how; then nothing that happened meanwhile is missed.
"""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import trio
from pycompose.frozen import dataclass
from pycompose.runtime.errors import KeeperGone
from pycompose.runtime.files.remove import discard
from pycompose.runtime.keeper import messages
from pycompose.runtime.keeper.launch import connect_keeper, launch_keeper
from pycompose.runtime.linux import pidfd
from pycompose.runtime.places import ProjectPlaces
from pycompose.runtime.policy import apparmor
from pycompose.runtime.policy.cgroup import Cgroup
from pycompose.runtime.spec import Bundle, Process, to_json
from pycompose.runtime.state import container_record

from .process import check


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A container's first process from outside. Whoever gets one closes its descriptors."""

    pid: int
    pidfd: int
    netns_fd: int
    sockets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    id: str
    code: int | None
    oom_killed: bool


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """The kernel has killed a process in it for want of memory; the container may live on."""

    id: str


class _Connection:
    """To the keeper; closing it takes back what was begun over it."""

    def __init__(self, places: ProjectPlaces) -> None:
        self._socket = trio.socket.from_stdlib_socket(connect_keeper(places))
        self.early: list[dict[str, Any]] = []  # events that came while an answer was waited for

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def send(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        rights = b"".join(fd.to_bytes(4, "little") for fd in descriptors)
        beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
        try:
            await self._socket.sendmsg([json.dumps(message).encode()], beside)
        except OSError as error:
            raise KeeperGone("the keeper died") from error

    async def receive(self) -> tuple[dict[str, Any], list[int]]:
        """What comes next; events that came before an answer are first."""
        return (self.early.pop(0), []) if self.early else await self._next()

    async def _next(self) -> tuple[dict[str, Any], list[int]]:
        try:
            data, ancillary, flags, _ = await self._socket.recvmsg(
                messages.LIMIT, socket.CMSG_SPACE(messages.MOST * 4), socket.MSG_CMSG_CLOEXEC
            )
        except OSError as error:
            raise KeeperGone("the keeper died") from error
        if not data:
            raise KeeperGone("the keeper died")
        return messages.parse(data, flags), messages.rights(ancillary)

    async def ask(
        self, container_id: str, do: str, descriptors: Sequence[int] = (), **more: Any
    ) -> tuple[dict[str, Any], list[int]]:
        await self.send({"do": do, "id": container_id, **more}, descriptors)
        answer, fds = await self._next()
        while "event" in answer:
            self.early.append(answer)
            answer, fds = await self._next()
        check(container_id, answer)
        return answer, fds


class Runtime:
    """The containers of one project. `serve` must run in a nursery for `events` and `await_exit` to hear anything."""

    def __init__(self, places: ProjectPlaces) -> None:
        self.places = places
        self._waiting: dict[str, trio.Event] = {}
        self._unrecorded: dict[str, int | None] = {}  # codes of those whose end could not be written
        self._sender, self._receiver = trio.open_memory_channel[Ended | OutOfMemory](math.inf)
        self._running: dict[str, tuple[int, int]] = {}  # id -> pid, pidfd: they tell exit codes if the keeper cannot

    async def connect(self) -> None:
        """Raises KeeperGone if there is no keeper."""
        _Connection(self.places).__exit__()

    async def _ask(self, container_id: str, do: str, **more: Any) -> tuple[dict[str, Any], list[int]]:
        with _Connection(self.places) as connection:
            return await connection.ask(container_id, do, **more)

    async def serve(
        self, relaunch: Sequence[str] | None = None, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Hear of ends until cancelled. With `relaunch`, the command of a supervisor, a keeper that died is launched
        again, to attend to this process as the supervisor; without it, KeeperGone is raised."""
        told = False
        while True:
            try:
                with _Connection(self.places) as connection:
                    await connection.ask("", "subscribe")
                    await self._catch_up(connection)
                    if not told:
                        told = True
                        task_status.started()
                    while True:
                        event, _ = await connection.receive()
                        self._heard(event)
            except KeeperGone:
                if relaunch is None or not told:
                    raise
            await self.reconnect(relaunch)

    async def reconnect(self, supervisor_argv: Sequence[str]) -> None:
        """Return when a keeper listens again, which takes this process for the supervisor. Raises KeeperGone."""
        await trio.to_thread.run_sync(launch_keeper, self.places, tuple(supervisor_argv), os.getpid())

    async def _catch_up(self, connection: _Connection) -> None:
        """Hear what happened while nobody listened; remember the processes of what runs."""
        answer, _ = await connection.ask("", "list")
        running = set(answer["running"])
        for container_id in set(self._running) - running:
            end = container_record.read(f"{self.places.container(container_id)}/exit.json")
            pid, descriptor = self._running[container_id]
            code = end.get("code")
            if end and code is None and (code := pidfd.exit_code(pid, descriptor)) is not None:
                await connection.ask(container_id, "tell", code=code)
            told = {"event": "exit", "id": container_id, "code": code, "oom_killed": end.get("oom_killed", False)}
            self._heard(told)
            connection.early = [e for e in connection.early if (e["event"], e["id"]) != ("exit", container_id)]
        for container_id in running - set(self._running):
            process = container_record.read(f"{self.places.container(container_id)}/process.json")
            with suppress(OSError):
                if container_record.alive(process):
                    self._running[container_id] = process["pid"], os.pidfd_open(process["pid"])

    def _heard(self, event: dict[str, Any]) -> None:
        container_id = event.get("id", "")
        if event.get("event") == "oom":
            self._sender.send_nowait(OutOfMemory(container_id))
        elif event.get("event") == "exit":
            if held := self._running.pop(container_id, None):
                os.close(held[1])
            if not os.path.exists(f"{self.places.container(container_id)}/exit.json"):
                self._unrecorded[container_id] = event["code"]
            waiting = self._waiting.pop(container_id, None)
            if waiting is not None:
                waiting.set()
            self._sender.send_nowait(Ended(container_id, event["code"], event["oom_killed"]))

    def events(self) -> trio.MemoryReceiveChannel[Ended | OutOfMemory]:
        return self._receiver

    async def create(
        self, container_id: str, name: str, bundle: Bundle, image: str = "", seccomp: bytes | None = None
    ) -> None:
        """Write the container's folder; nothing runs yet."""

        def write() -> None:
            folder = self.places.container(container_id)
            os.makedirs(folder, mode=0o700, exist_ok=True)
            with open(f"{folder}/bundle.json", "w") as file:
                file.write(to_json(bundle))
            if seccomp is not None:
                with open(f"{folder}/seccomp.bpf", "wb") as program:
                    program.write(seccomp)
            annotations = dict(bundle.spec.annotations)
            state = {"name": name, "created": time.time(), "annotations": annotations, "image": image}
            container_record.write(f"{folder}/state.json", state)

        await trio.to_thread.run_sync(write)

    async def start(
        self, container_id: str, prepare: Callable[[Sandbox], Awaitable[None]] | None = None
    ) -> tuple[str, ...]:
        """Run it; what of its limits and the like has no effect on this machine.

        Raises StartFailed, and whatever `prepare` raises; then nothing of it is left running.
        """
        self._unrecorded.pop(container_id, None)
        if apparmor.enabled():  # at each start: a reboot forgets what was loaded when the container was made
            await trio.to_thread.run_sync(apparmor.ensure_for, f"{self.places.container(container_id)}/bundle.json")
        with _Connection(self.places) as connection:
            answer, fds = await connection.ask(container_id, "start")
            sandbox = Sandbox(answer["pid"], fds[0], fds[1], tuple(fds[2:]))
            try:
                if prepare is not None:
                    await prepare(sandbox)
                own = os.dup(sandbox.pidfd)
                try:
                    await connection.ask(container_id, "go")
                except BaseException:
                    os.close(own)
                    raise
                if held := self._running.pop(container_id, None):
                    os.close(held[1])
                self._running[container_id] = sandbox.pid, own
                return tuple(answer.get("notes", ()))
            except BaseException:
                with trio.CancelScope(shield=True), trio.move_on_after(10), suppress(Exception):
                    await self._ask(container_id, "abandon")
                raise
            finally:
                os.close(sandbox.pidfd)
                os.close(sandbox.netns_fd)
                if prepare is None:
                    for fd in sandbox.sockets:
                        os.close(fd)

    async def sandbox(self, container_id: str) -> Sandbox:
        answer, fds = await self._ask(container_id, "sandbox")
        return Sandbox(answer["pid"], fds[0], fds[1], tuple(fds[2:]))

    async def signal(self, container_id: str, number: int) -> None:
        found = await self.sandbox(container_id)
        try:
            signal.pidfd_send_signal(found.pidfd, number)
        except ProcessLookupError:
            pass
        finally:
            for fd in (found.pidfd, found.netns_fd, *found.sockets):
                os.close(fd)

    def _cgroup(self, container_id: str) -> Cgroup | None:
        with open(f"{self.places.container(container_id)}/bundle.json") as file:
            path = json.load(file)["spec"].get("linux", {}).get("cgroupsPath")
        return Cgroup(path) if path else None

    async def kill(self, container_id: str) -> None:
        if cgroup := self._cgroup(container_id):
            await trio.to_thread.run_sync(cgroup.kill_all)
        else:
            await self.signal(container_id, signal.SIGKILL)

    async def pause(self, container_id: str, paused: bool = True) -> None:
        if cgroup := self._cgroup(container_id):
            await trio.to_thread.run_sync(cgroup.freeze, paused)
            process = container_record.read(f"{self.places.container(container_id)}/process.json")
            self._change(container_id, paused=process.get("start_time", 0) if paused else 0)

    async def unpause(self, container_id: str) -> None:
        await self.pause(container_id, False)

    async def rename(self, container_id: str, name: str) -> None:
        self._change(container_id, name=name)

    def _change(self, container_id: str, **fields: Any) -> None:
        path = f"{self.places.container(container_id)}/state.json"
        container_record.write(path, container_record.read(path) | fields)

    async def remove(self, container_id: str) -> None:
        """Delete the folder of a container that does not run."""
        await trio.to_thread.run_sync(discard, self.places.container(container_id))

    async def await_exit(self, container_id: str) -> int | None:
        """Its exit code; None if nobody could tell."""
        path = f"{self.places.container(container_id)}/exit.json"
        while not (end := container_record.read(path)):
            if container_id in self._unrecorded:
                return self._unrecorded[container_id]
            await self._waiting.setdefault(container_id, trio.Event()).wait()
        code = end.get("code")
        return None if code is None else int(code)

    async def exec(self, container_id: str, process: Process, limit: int = 4096) -> tuple[int, bytes]:
        """Run a process in it; its exit code and the first `limit` bytes of its output.

        When cancelled, the process is killed. Raises NoSuchContainer, StartFailed, KeeperGone.
        """
        reader, writer = os.pipe2(os.O_CLOEXEC)
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        output = b""
        async with trio.lowlevel.FdStream(reader) as stream:
            with _Connection(self.places) as connection:
                try:
                    request = {"process": json.loads(to_json(process)), "bound": True}
                    await connection.ask(container_id, "exec", (null, writer, writer), **request)
                finally:
                    os.close(null)
                    os.close(writer)
                code = -1

                async def copy() -> None:
                    nonlocal output
                    async for chunk in stream:
                        output += chunk[: limit - len(output)]

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(copy)
                    code = int((await connection.receive())[0].get("exit", 0))
                    # what it left in the pipe is copied; someone that it left behind may hold it open for ever
                    nursery.cancel_scope.deadline = trio.current_time() + 0.1
                return code, output
