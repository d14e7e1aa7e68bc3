"""The keeper: parent of a project's containers. One thread, one poll loop, standard library only (`python -I -S`).

It forks containers, writes their output to logs and their end to exit.json, and starts the supervisor again when it
dies. It decides nothing: what to run, and when again, is the supervisor's business.

The protocol, JSON over SEQPACKET on keeper.sock; "n" of a request comes back in its answer:
    {do: start, id}                     -> {ok, pid, notes} + descriptors [pidfd, netns, sockets…]  made; waits for `go`
    {do: go, id}                        -> {ok}                                               its program runs
    {do: sandbox, id}                   -> {ok, pid} + descriptors [pidfd, netns, sockets…]
    {do: exec, id, process} + [0, 1, 2] -> {ok, pid} + [pty master, if a terminal]; at its end {n, exit: code}
    {do: list}                          -> {ok, running: [id…]}
    {do: subscribe}                     -> {ok}; then {event: exit, id, code, oom_killed} for each end
    {do: stop}                          -> {ok} and the keeper ends; refused while a container runs
    any                                 -> {error, step, errno, exit_code} if it cannot be done
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from pycompose.runtime import record
from pycompose.runtime.cgroup import Cgroup
from pycompose.runtime.errors import LimitRefused
from pycompose.runtime.inside import first, syscalls
from pycompose.runtime.inside import joined as joined_process
from pycompose.runtime.inside.clone import clone_container
from pycompose.runtime.places import ProjectPlaces
from pycompose.runtime.spec import Bundle, Process, from_json

from .pump import Log, now, stamp

NAMESPACE_FILES = {"network": "net", "mount": "mnt"}
LIMIT = 1 << 18


class Refused(Exception):
    def __init__(self, message: str, step: str = "request", errno: int = 0, exit_code: int = 125) -> None:
        super().__init__(message)
        self.answer = {"error": message, "step": step, "errno": errno, "exit_code": exit_code}


class Container:
    def __init__(self, container_id: str, folder: str, bundle: Bundle, pid: int, pidfd: int) -> None:
        self.id, self.folder, self.bundle, self.pid, self.pidfd = container_id, folder, bundle, pid, pidfd
        self.channel: socket.socket | None = None
        self.netns = -1
        self.sockets: list[int] = []
        self.streams: dict[int, bytes] = {}
        self.log = Log(f"{folder}/log", bundle.log_max_size, bundle.log_max_files)
        self.cgroup = Cgroup(bundle.spec.linux.cgroups_path) if bundle.spec.linux.cgroups_path else None


class Keeper:
    def __init__(self, places: ProjectPlaces, supervisor: list[str]) -> None:
        self.places, self.supervisor = places, supervisor
        self.poll = select.epoll()
        self.handlers: dict[int, Callable[[int], None]] = {}
        self.containers: dict[str, Container] = {}
        self.execs: dict[int, tuple[socket.socket, Any]] = {}
        self.subscribers: set[socket.socket] = set()
        self.supervisor_pid, self.supervisor_at, self.delay = 0, 0.0, 0.1
        self.ended = False

    def watch(self, fd: int, handler: Callable[[int], None]) -> None:
        self.handlers[fd] = handler
        self.poll.register(fd, select.EPOLLIN)

    def unwatch(self, fd: int) -> None:
        if self.handlers.pop(fd, None):
            self.poll.unregister(fd)

    def run(self, ready: int) -> None:
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.watch(reader, self.reap)
        self.adopt()
        if os.path.exists(self.places.keeper_socket):
            os.unlink(self.places.keeper_socket)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(self.places.keeper_socket)
        listener.listen(64)
        self.watch(listener.fileno(), lambda _: self.accept(listener))
        os.write(ready, b"1")
        os.close(ready)
        while not self.ended:
            wait = -1.0
            if self.supervisor and not self.supervisor_pid:
                wait = max(0.0, self.supervisor_at - time.monotonic())
                if wait == 0:
                    self.start_supervisor()
                    wait = -1
            for fd, _ in self.poll.poll(wait):
                if handler := self.handlers.get(fd):
                    try:
                        handler(fd)
                    except OSError:
                        traceback.print_exc()
                        self.unwatch(fd)
        os.unlink(self.places.keeper_socket)
        if self.supervisor_pid:
            os.kill(self.supervisor_pid, signal.SIGTERM)

    def start_supervisor(self) -> None:
        self.supervisor_at = time.monotonic()
        log = os.open(f"{self.places.run}/supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        actions = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        self.supervisor_pid = os.posix_spawnp(self.supervisor[0], self.supervisor, os.environ, file_actions=actions)
        os.close(log)

    # --- requests ---

    def accept(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        uid = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
        if uid not in (0, os.geteuid()):
            client.close()
            return
        self.watch(client.fileno(), lambda _: self.serve(client))

    def serve(self, client: socket.socket) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(client, LIMIT, 8)
        except ConnectionError:
            data, fds = b"", []
        if not data:
            self.unwatch(client.fileno())
            self.subscribers.discard(client)
            client.close()
            return
        request = json.loads(data)
        answer: dict[str, Any]
        passed: list[int] = []
        try:
            answer, passed = getattr(self, "do_" + request["do"])(request, client, fds)
        except Refused as error:
            answer = error.answer
        except Exception as error:
            traceback.print_exc()
            answer = Refused(str(error), errno=getattr(error, "errno", 0) or 0).answer
        finally:
            for fd in fds:
                os.close(fd)
        self.send(client, {**answer, "n": request.get("n", 0)}, passed)

    def send(self, client: socket.socket, answer: dict[str, Any], fds: list[int] | None = None) -> None:
        try:
            socket.send_fds(client, [json.dumps(answer).encode()], fds or [])
        except OSError:
            self.subscribers.discard(client)

    def find(self, request: dict[str, Any]) -> Container:
        try:
            return self.containers[request["id"]]
        except KeyError:
            raise Refused("it does not run", "find") from None

    def do_list(self, request: dict[str, Any], client: socket.socket, fds: list[int]) -> Any:
        return {"ok": True, "running": sorted(self.containers)}, []

    def do_subscribe(self, request: dict[str, Any], client: socket.socket, fds: list[int]) -> Any:
        self.subscribers.add(client)
        return {"ok": True}, []

    def do_stop(self, request: dict[str, Any], client: socket.socket, fds: list[int]) -> Any:
        if self.containers:
            raise Refused("containers run", "stop")
        self.ended = True
        return {"ok": True}, []

    def do_sandbox(self, request: dict[str, Any], client: socket.socket, fds: list[int]) -> Any:
        container = self.find(request)
        return {"ok": True, "pid": container.pid}, [container.pidfd, container.netns, *container.sockets]

    def do_start(self, request: dict[str, Any], client: socket.socket, fds: list[int]) -> Any:
        container_id = request["id"]
        if container_id in self.containers:
            raise Refused("it runs already", "start")
        folder = self.places.container(container_id)
        with open(f"{folder}/bundle.json") as file:
            bundle = from_json(Bundle, file.read())
        if os.path.exists(f"{folder}/exit.json"):
            os.unlink(f"{folder}/exit.json")
        for name in ("out", "err", "in"):
            if not os.path.exists(f"{folder}/{name}"):
                os.mkfifo(f"{folder}/{name}", 0o600)
        linux = bundle.spec.linux
        cgroup = Cgroup(linux.cgroups_path) if linux.cgroups_path else None
        notes: tuple[str, ...] = ()
        if cgroup:
            try:
                notes = (*cgroup.create(), *cgroup.apply(linux.resources))
            except LimitRefused as error:
                cgroup.remove()
                raise Refused(str(error), "limits", error.errno) from None
        joined = {item.type: os.open(item.path, os.O_RDONLY | os.O_CLOEXEC) for item in linux.namespaces if item.path}
        for kind, other in bundle.shared.items():
            path = f"/proc/{self.find({'id': other}).pid}/ns/{NAMESPACE_FILES.get(kind, kind)}"
            joined[kind] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if kind == "ipc":  # its /dev/shm too
                joined["shm"] = os.open(f"/proc/{self.find({'id': other}).pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        new = tuple(item.type for item in linux.namespaces if item.type not in joined)
        # The container holds its FIFOs open for reading too: without a keeper its writes wait, and never fail.
        stdin = os.open(f"{folder}/in" if bundle.stdin_open else "/dev/null", os.O_RDWR | os.O_CLOEXEC)
        stdio = (stdin, *(os.open(f"{folder}/{name}", os.O_RDWR | os.O_CLOEXEC) for name in ("out", "err")))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        group = cgroup.descriptor() if cgroup else None
        try:
            pid, pidfd = clone_container(new, group, joined.get("pid"))
            if pid == 0:
                self.child(ours, theirs, bundle, stdio, joined, self.program(container_id), cgroup)
        finally:
            theirs.close()
            for fd in (*stdio, *joined.values(), *([] if group is None else [group])):
                os.close(fd)
        container = Container(container_id, folder, bundle, pid, pidfd)
        container.channel = ours
        data, passed, _, _ = socket.recv_fds(ours, LIMIT, 16)
        answer = json.loads(data) if data else {"step": "start", "message": "it died"}
        if "ready" not in answer:
            container.log.close()
            os.close(pidfd)
            if cgroup:
                cgroup.remove()
            raise Refused(
                answer.get("message", ""),
                answer.get("step", ""),
                answer.get("errno", 0),
                answer.get("exit_code", 125),
            )
        if bundle.spec.process.terminal and passed:
            self.stream(container, passed.pop(0), b"stdout")
        container.sockets = passed
        container.netns = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.containers[container_id] = container
        self.open_fifos(container)
        state = record.read(f"{folder}/state.json")
        state |= {"pid": pid, "start_time": record.start_time(pid), "boot_id": record.boot_id(), "started": time.time()}
        record.write(f"{folder}/state.json", state)
        told = [*notes, *answer.get("notes", ())]
        return {"ok": True, "pid": pid, "notes": told}, [pidfd, container.netns, *container.sockets]

    def child(
        self,
        ours: socket.socket,
        theirs: socket.socket,
        bundle: Bundle,
        stdio: tuple[int, ...],
        joined: dict[str, int],
        program: bytes | None,
        cgroup: Cgroup | None,
    ) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            ours.close()
            if cgroup:
                cgroup.join()
            first.run(bundle, theirs.fileno(), (stdio[0], stdio[1], stdio[2]), joined, program)
        except BaseException as error:
            traceback.print_exc()
            theirs.send(json.dumps({"step": "start", "message": str(error), "exit_code": 125}).encode())
        finally:
            os._exit(125)

    def program(self, container_id: str) -> bytes | None:
        try:
            with open(f"{self.places.container(container_id)}/seccomp.bpf", "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def do_go(self, request: dict[str, Any], client: socket.socket, fds: list[int]) -> Any:
        container = self.find(request)
        if container.channel is None:
            raise Refused("it runs already", "start")
        container.channel.send(b"start")
        try:
            data = container.channel.recv(LIMIT)
        except ConnectionError:
            data = b""
        container.channel.close()
        container.channel = None
        if data:
            answer = json.loads(data)
            message, step = answer.get("message", ""), answer.get("step", "")
            raise Refused(message, step, answer.get("errno", 0), answer.get("exit_code", 125))
        return {"ok": True}, []

    def do_exec(self, request: dict[str, Any], client: socket.socket, fds: list[int]) -> Any:
        container = self.find(request)
        process = from_json(Process, json.dumps(request["process"]))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        folders = tuple(container.cgroup.folders().values()) if container.cgroup else ()
        program = self.program(container.id)
        helper = os.fork()
        if helper == 0:
            try:
                signal.set_wakeup_fd(-1)
                ours.close()
                privileged = bool(request.get("privileged"))
                stdio = (fds[0], fds[1], fds[2])
                spec = container.bundle.spec
                joined_process.run(process, container.pidfd, spec, theirs.fileno(), stdio, folders, privileged, program)
            except BaseException as error:
                theirs.send(json.dumps({"step": "exec", "message": str(error), "exit_code": 125}).encode())
            finally:
                os._exit(125)
        theirs.close()
        pid, passed = 0, []
        while data := self.receive(ours, passed):
            answer = json.loads(data)
            if "step" in answer:
                raise Refused(
                    answer.get("message", ""), answer["step"], answer.get("errno", 0), answer.get("exit_code", 125)
                )
            if "pid" in answer:
                pid = answer["pid"]
                self.execs[pid] = (client, request.get("n", 0))
            if "ready" in answer:
                ours.send(b"start")
        ours.close()
        return {"ok": True, "pid": pid}, passed

    def receive(self, channel: socket.socket, passed: list[int]) -> bytes:
        try:
            data, fds, _, _ = socket.recv_fds(channel, LIMIT, 4)
        except ConnectionError:
            return b""
        passed += fds
        return data

    # --- output and ends ---

    def stream(self, container: Container, fd: int, name: bytes) -> None:
        os.set_blocking(fd, False)
        container.streams[fd] = name
        self.watch(fd, lambda _: self.copy(container, fd))

    def open_fifos(self, container: Container) -> None:
        for name, stream in (("out", b"stdout"), ("err", b"stderr")):
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            self.stream(container, os.open(f"{container.folder}/{name}", flags), stream)

    def copy(self, container: Container, fd: int) -> bool:
        """Copy a chunk; False when there is none."""
        try:
            chunk = os.read(fd, 1 << 16)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last one closed the terminal
            chunk = b""
        if not chunk:
            self.unwatch(fd)
            return False
        container.log.write(stamp(chunk, container.streams[fd], now()))
        return True

    def reap(self, fd: int) -> None:
        os.read(fd, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            self.exited(pid, code if code >= 0 else 128 - code)

    def exited(self, pid: int, code: int | None) -> None:
        if pid == self.supervisor_pid:
            lived = time.monotonic() - self.supervisor_at
            self.delay = 0.1 if lived > 10 else min(self.delay * 2, 10)
            self.supervisor_pid, self.supervisor_at = 0, time.monotonic() + self.delay
        elif pid in self.execs:
            client, number = self.execs.pop(pid)
            self.send(client, {"n": number, "exit": code})
        else:
            for container in list(self.containers.values()):
                if container.pid == pid:
                    self.gone(container, code)

    def gone(self, container: Container, code: int | None) -> None:
        oom = False
        if container.cgroup:
            oom = container.cgroup.oom_kills() > 0
            container.cgroup.kill_all()
        for fd in list(container.streams):
            while self.copy(container, fd):
                pass
            self.unwatch(fd)
            os.close(fd)
        container.log.close()
        end = {"code": code, "oom_killed": oom, "finished": time.time()}
        record.write(f"{container.folder}/exit.json", end)
        if container.cgroup:
            container.cgroup.remove()
        self.unwatch(container.pidfd)
        for fd in (container.pidfd, container.netns, *container.sockets):
            os.close(fd)
        if container.channel:
            container.channel.close()
        del self.containers[container.id]
        for client in list(self.subscribers):
            self.send(client, {"event": "exit", "id": container.id, "code": code, "oom_killed": oom})

    def adopt(self) -> None:
        """Take over what a keeper before this one left running; its exit codes come by pidfd, or are None."""
        os.makedirs(self.places.containers, exist_ok=True)
        for name in os.listdir(self.places.containers):
            folder = self.places.container(name)
            state = record.read(f"{folder}/state.json")
            if not state.get("pid") or os.path.exists(f"{folder}/exit.json"):
                continue
            if not record.alive(state):
                record.write(f"{folder}/exit.json", {"code": None, "oom_killed": False, "finished": time.time()})
                continue
            with open(f"{folder}/bundle.json") as file:
                bundle = from_json(Bundle, file.read())
            container = Container(name, folder, bundle, state["pid"], os.pidfd_open(state["pid"]))
            container.netns = os.open(f"/proc/{container.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            self.containers[name] = container
            self.open_fifos(container)
            self.watch(container.pidfd, lambda _, which=container: self.gone(which, told(which.pid, which.pidfd)))  # type: ignore[misc]


def told(pid: int, pidfd: int) -> int | None:
    """The exit code of a process that is not our child: PIDFD_GET_INFO, Linux 6.15; None where nobody can tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # its parent takes its time: a zombie's code is field 52
            fields = file.read().rpartition(b")")[2].split()
        if fields[0] == b"Z":
            code = os.waitstatus_to_exitcode(int(fields[49]))
            return code if code >= 0 else 128 - code
    except OSError:
        pass
    reaped = select.poll()
    reaped.register(pidfd, 0)  # POLLHUP: its parent has reaped it; only then is the code there
    reaped.poll(200)
    info = bytearray(struct.pack("Q", 1 << 3).ljust(64, b"\0"))  # PIDFD_INFO_EXIT
    try:
        fcntl.ioctl(pidfd, 3 << 30 | 64 << 16 | 0xFF << 8 | 11, info)
    except OSError:
        return None
    if not struct.unpack_from("Q", info)[0] & 1 << 3:
        return None
    code = os.waitstatus_to_exitcode(struct.unpack_from("i", info, 60)[0])
    return code if code >= 0 else 128 - code


def main(arguments: list[str]) -> None:
    project, state, run, ready, *supervisor = arguments
    os.set_inheritable(int(ready), False)
    os.umask(0o022)
    Keeper(ProjectPlaces(project, state, run), supervisor).run(int(ready))
    sys.exit(0)
