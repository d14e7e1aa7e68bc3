"""Containers, for the supervisor: an async client of the keeper, over trio.

`start` has a middle: between the first process being ready and its program running, `prepare` gets a Sandbox and
may set up its network. What is on disk is `runtime.record`'s; the keeper alone writes exit.json.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from . import record
from .cgroup import Cgroup
from .errors import KeeperGone, NoSuchContainer, StartFailed
from .places import ProjectPlaces
from .process import connect_keeper
from .removal import discard
from .spec import Bundle, Process, from_json, to_json

LIMIT = 1 << 18


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


class Runtime:
    """The containers of one project. `serve` must run in a nursery for `events` and `await_exit` to hear anything."""

    def __init__(self, places: ProjectPlaces) -> None:
        self.places = places
        self._waiting: dict[str, trio.Event] = {}
        self._sender, self._receiver = trio.open_memory_channel[Ended](1000)

    async def connect(self) -> None:
        """Raises KeeperGone if there is no keeper."""
        (await self._open()).close()

    async def _open(self) -> trio.socket.SocketType:
        return trio.socket.from_stdlib_socket(connect_keeper(self.places))

    async def _receive(self, connection: trio.socket.SocketType) -> tuple[dict[str, Any], list[int]]:
        data, ancillary, _, _ = await connection.recvmsg(LIMIT, socket.CMSG_SPACE(16 * 4), socket.MSG_CMSG_CLOEXEC)
        if not data:
            raise KeeperGone("the keeper died")
        fds = [
            int.from_bytes(content[at : at + 4], "little")
            for level, kind, content in ancillary
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            for at in range(0, len(content), 4)
        ]
        return json.loads(data), fds

    async def _ask(self, container_id: str, do: str, **more: Any) -> tuple[dict[str, Any], list[int]]:
        with await self._open() as connection:
            await connection.send(json.dumps({"do": do, "id": container_id, **more}).encode())
            answer, fds = await self._receive(connection)
        self._check(container_id, answer)
        return answer, fds

    @staticmethod
    def _check(container_id: str, answer: Mapping[str, Any]) -> None:
        if "error" in answer:
            if answer["step"] == "find":
                raise NoSuchContainer(container_id)
            raise StartFailed(container_id, answer["step"], answer["error"], answer["errno"], answer["exit_code"])

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hear of ends until cancelled. Raises KeeperGone."""
        with await self._open() as connection:
            await connection.send(b'{"do": "subscribe"}')
            await self._receive(connection)
            task_status.started()
            while True:
                event, _ = await self._receive(connection)
                waiting = self._waiting.pop(event["id"], None)
                if waiting is not None:
                    waiting.set()
                await self._sender.send(Ended(event["id"], event["code"], event["oom_killed"]))

    def events(self) -> trio.MemoryReceiveChannel[Ended]:
        return self._receiver

    async def create(
        self, container_id: str, name: str, bundle: Bundle, image: str = "", seccomp: bytes | None = None
    ) -> None:
        """Write the container's folder; nothing runs yet."""
        folder = self.places.container(container_id)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with open(f"{folder}/bundle.json", "w") as file:
            file.write(to_json(bundle))
        if seccomp is not None:
            with open(f"{folder}/seccomp.bpf", "wb") as program:
                program.write(seccomp)
        annotations = dict(bundle.spec.annotations)
        state = {"name": name, "created": time.time(), "annotations": annotations, "image": image}
        record.write(f"{folder}/state.json", state)

    async def start(self, container_id: str, prepare: Callable[[Sandbox], Awaitable[None]] | None = None) -> None:
        """Run it. Raises StartFailed, and whatever `prepare` raises, after which the container is killed."""
        answer, fds = await self._ask(container_id, "start")
        sandbox = Sandbox(answer["pid"], fds[0], fds[1], tuple(fds[2:]))
        try:
            if prepare is not None:
                await prepare(sandbox)
            await self._ask(container_id, "go")
        except BaseException:
            try:
                signal.pidfd_send_signal(sandbox.pidfd, signal.SIGKILL)
            except ProcessLookupError:
                pass
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
            path = from_json(Bundle, file.read()).spec.linux.cgroups_path
        return Cgroup(path) if path else None

    async def kill(self, container_id: str) -> None:
        if cgroup := self._cgroup(container_id):
            cgroup.kill_all()
        else:
            await self.signal(container_id, signal.SIGKILL)

    async def pause(self, container_id: str, paused: bool = True) -> None:
        if cgroup := self._cgroup(container_id):
            cgroup.freeze(paused)
            self._change(container_id, paused=paused)

    async def unpause(self, container_id: str) -> None:
        await self.pause(container_id, False)

    async def rename(self, container_id: str, name: str) -> None:
        self._change(container_id, name=name)

    def _change(self, container_id: str, **fields: Any) -> None:
        path = f"{self.places.container(container_id)}/state.json"
        record.write(path, record.read(path) | fields)

    async def remove(self, container_id: str) -> None:
        """Delete the folder of a container that does not run."""
        await trio.to_thread.run_sync(discard, self.places.container(container_id))

    async def await_exit(self, container_id: str) -> int | None:
        """Its exit code; None if nobody could tell."""
        path = f"{self.places.container(container_id)}/exit.json"
        while not os.path.exists(path):
            await self._waiting.setdefault(container_id, trio.Event()).wait()
        code = record.read(path).get("code")
        return None if code is None else int(code)

    async def exec(self, container_id: str, process: Process, limit: int = 4096) -> tuple[int, bytes]:
        """Run a process in it; its exit code and the first `limit` bytes of its output. Raises StartFailed."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        output = b""
        with await self._open() as connection:
            try:
                request = {"do": "exec", "id": container_id, "process": json.loads(to_json(process))}
                rights = (
                    socket.SOL_SOCKET,
                    socket.SCM_RIGHTS,
                    b"".join(fd.to_bytes(4, "little") for fd in (null, writer, writer)),
                )
                await connection.sendmsg([json.dumps(request).encode()], [rights])
            finally:
                os.close(null)
                os.close(writer)
            async with trio.lowlevel.FdStream(reader) as stream:
                answer, _ = await self._receive(connection)
                self._check(container_id, answer)
                async for chunk in stream:
                    output += chunk[: limit - len(output)]
            answer = {} if "exit" in answer else (await self._receive(connection))[0]
            return int(answer.get("exit", 0)), output
