"""The keeper: parent of a project's containers. One thread, one loop, standard library only (`python -I -S`).

It forks containers, writes their output to logs and their end to exit.json, and starts the supervisor again when it
dies. It decides nothing: what to run, and when again, is the supervisor's business. Nothing in it waits: requests are
answered when what they ask for has happened, in any order.

What can be asked of it is listed in `messages`; how it attends to the supervisor is in `supervisor_process`.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import assert_never

from pycompose import shortages
from pycompose.log_lines import complain, note
from pycompose.runtime.init import join
from pycompose.runtime.init.host_root import Grounds
from pycompose.runtime.linux import pidfd, syscalls, unix_sockets
from pycompose.runtime.linux.clone import clone_container
from pycompose.runtime.places import ProjectPlaces
from pycompose.runtime.policy import device_control
from pycompose.runtime.policy.cgroup import Cgroup, leave_unit, of_helpers
from pycompose.runtime.spec import Bundle, Process, from_json
from pycompose.runtime.state import container_record

from .connection import Client, Refused, Reply
from .container import Container, Leftover
from .container_stages import ContainerStage
from .executions import Execution
from .fd_store import DescriptorStore
from .household import Taker
from .inheritance import as_if_by_init
from .loop import Loop
from .messages import (
    READY,
    Abandon,
    Done,
    DropOutput,
    EndKeeper,
    Event,
    Exec,
    FindSandbox,
    Go,
    ListRunning,
    OpenInput,
    RecordExit,
    Request,
    RunningIds,
    SandboxAt,
    Start,
    Subscribe,
    TakeStreams,
)
from .supervisor_process import SupervisorProcess

IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)


class Keeper:
    def __init__(self, places: ProjectPlaces, supervisor: list[str]) -> None:
        self.places = places
        self.loop = Loop()
        self.containers: dict[str, Container] = {}
        self.leftovers: dict[str, Leftover] = {}
        self.clients: set[Client] = set()
        self.subscribers: set[Client] = set()
        self.executions: set[Execution] = set()
        self.takers: dict[str, Taker] = {}  # of containers that are not started yet
        self.children: dict[int, Callable[[int], None]] = {}
        self.strays: dict[int, int] = {}  # codes of children that ended before one knew whose they were
        self.supervisor = SupervisorProcess(self, supervisor)
        self.stopping: list[Reply] = []
        self.ended = False
        self.store = DescriptorStore(places.store_socket, self.loop, self._launch_another)
        self.grounds = Grounds()

    # --- its life ---

    def begin(self, supervisor_pid: int) -> None:
        """Take over what runs, listen, and attend to a supervisor."""
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        self._protect()
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        self.loop.watch(reader, lambda _: self._signalled(reader))
        self._adopt()
        with suppress(FileNotFoundError):
            os.unlink(self.places.keeper_socket)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        unix_sockets.bind(listener, self.places.keeper_socket)
        listener.listen(512)
        listener.setblocking(False)
        self._listen_to_clients(listener)
        self.supervisor.attend(supervisor_pid)

    def run(self) -> None:
        gc.collect()
        gc.freeze()
        while not self.ended:
            self.loop.turn()
        self._end()

    def _protect(self) -> None:
        """Be the last to be killed for memory."""
        with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("-999")

    def leave_loop(self) -> None:
        """In a child that becomes something else: undo what is the keeper's alone."""
        self.reset_signals()
        with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("0")

    def reset_signals(self) -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, *IGNORED):
            signal.signal(number, signal.SIG_DFL)

    def _signalled(self, reader: int) -> None:
        numbers = os.read(reader, 4096)
        self._reap()
        if signal.SIGTERM in numbers and not self.containers:
            self._try_to_end()

    def _end(self) -> None:
        """Leave nothing behind. The lock keeps a launcher waiting meanwhile; it looks again then."""
        lock = os.open(self.places.keeper_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        self.supervisor.end()
        self.store.end()
        for path in (
            self.places.supervisor_record,
            self.places.control_socket,
            self.places.supervisor_log,
            self.places.supervisor_log + ".1",
            self.places.keeper_log,
            self.places.keeper_socket,
            self.places.keeper_lock,
        ):
            with suppress(OSError):
                os.unlink(path)
        with suppress(OSError):
            os.rmdir(self.places.run)
        if not self.stopping:  # else who asked removes it, which costs no move
            of_helpers(self.places.project).leave()
        for reply in self.stopping:
            reply(Done())

    def _launch_another(self) -> None:
        """In a child of the fd store: a keeper in place of this one, which has died."""
        from .launch import launch_keeper

        launch_keeper(self.places, self.supervisor.command)

    # --- children ---

    def await_child(self, pid: int, ended: Callable[[int], None]) -> None:
        """Call `ended(exit code)` when it has ended; it may have done so already."""
        if pid in self.strays:
            ended(self.strays.pop(pid))
        else:
            self.children[pid] = ended

    def _expects_births(self) -> bool:
        """Whether a child may end before its number is known."""
        return bool(self.executions) or any(container.outcome >= 0 for container in self.containers.values())

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if ended := self.children.pop(pid, None):
                try:
                    ended(pidfd.as_code(status))
                except Exception:
                    complain()
            elif self._expects_births():
                self.strays[pid] = pidfd.as_code(status)

    # --- clients ---

    def _accept(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError):
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if error.errno not in shortages.NO_SOCKET:
                    raise
                self.loop.unwatch(listener.fileno())  # else it is told of who waits again and again
                self.loop.later(shortages.PAUSE, lambda: self._listen_to_clients(listener))
                return
            uid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
            if uid not in (0, os.geteuid()):
                connection.close()
                return
            self.clients.add(Client(self.loop, connection, self._serve, self._client_gone))

    def _listen_to_clients(self, listener: socket.socket) -> None:
        self.loop.watch(listener.fileno(), lambda _: self._accept(listener))

    def _client_gone(self, client: Client) -> None:
        self.clients.discard(client)
        self.subscribers.discard(client)
        for execution in list(self.executions):
            if execution.reply.client is client:
                execution.client_gone()
        for container_id, taker in list(self.takers.items()):
            if taker.reply.client is client:
                del self.takers[container_id]
        for container in list(self.containers.values()):
            if (taken := container.streams.taker) is not None and taken.reply.client is client:
                container.streams.take_back()
            if container.starter is client:
                container.give_up()

    def _serve(self, request: Request, reply: Reply) -> None:
        match request:
            case Start(container_id):
                self.start(container_id, reply)
            case Go(container_id):
                self.find(container_id).go(reply)
            case Abandon(container_id):
                self.find(container_id).give_up(reply)
            case FindSandbox(container_id):
                container = self.find(container_id)
                if container.netns < 0:
                    raise Refused("it is not ready", "find")
                reply(SandboxAt(container.pid), container.handles())
            case Exec():
                self.execute(request, reply)
            case OpenInput(container_id):
                descriptor = self.find(container_id).open_input()
                reply(Done(), [descriptor])
                os.close(descriptor)
            case TakeStreams(container_id, rows, columns):
                self.take_streams(container_id, Taker(reply, rows, columns))
            case DropOutput(container_id, stream):
                self.find(container_id).drop_output(stream)
                reply(Done())
            case ListRunning():
                reply(RunningIds(tuple(sorted(self.containers))))
            case RecordExit(container_id, code):
                self.record_exit(container_id, code)
                reply(Done())
            case Subscribe():
                self.supervisor.came_up()
                self.subscribers.add(reply.client)
                reply(Done())
            case EndKeeper():
                self.stop(reply)
            case _:
                assert_never(request)

    def publish(self, event: Event) -> None:
        for client in list(self.subscribers):
            client.send(event)

    # --- requests ---

    def find(self, container_id: str) -> Container:
        if container_id not in self.containers:
            raise Refused("it does not run", "find")
        return self.containers[container_id]

    def pid_of(self, reference: str) -> int:
        """Of a container of this project by its id, or of another's: PROJECT/ID."""
        if reference in self.containers:
            return self.find(reference).pid
        process = container_record.read(f"{self.places.donor(reference)}/process.json")
        if "/" not in reference or not container_record.alive(process):
            raise Refused(f"container {reference.rpartition('/')[2][:12]} does not run", "joining namespaces")
        return int(process["pid"])

    def taker(self, container_id: str) -> Taker | None:
        return self.takers.pop(container_id, None)

    def take_streams(self, container_id: str, taker: Taker) -> None:
        if (container := self.containers.get(container_id)) is not None:
            container.streams.take_again(taker, container.pidfd)
            return
        self.takers[container_id] = taker
        taker.reply(Done())

    def seccomp_program(self, container_id: str) -> bytes | None:
        try:
            with open(f"{self.places.container(container_id)}/seccomp.bpf", "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def start(self, container_id: str, reply: Reply) -> None:
        if not container_id or "/" in container_id or container_id[0] == ".":
            raise Refused("there is no such container", "find")
        if container_id in self.containers:
            raise Refused("it runs already", "start")
        if self.stopping:
            raise Refused("the keeper is about to end", "start")
        if (leftover := self.leftovers.pop(container_id, None)) and leftover.timer:
            leftover.timer.cancel()
        folder = self.places.container(container_id)
        try:
            with open(f"{folder}/bundle.json") as file:
                bundle = from_json(Bundle, file.read())
        except (OSError, ValueError) as error:
            raise Refused(f"bundle.json: {shortages.reason(error)}", "start", shortages.number(error)) from error
        container = Container(self, container_id, folder, bundle)
        container.start(reply)
        self.containers[container_id] = container

    def execute(self, request: Exec, reply: Reply) -> None:
        container = self.find(request.id)
        if container.stage is not ContainerStage.RUNNING:
            raise Refused("it does not run", "find")
        try:
            process = from_json(Process, json.dumps(request.process))
        except ValueError as error:
            raise Refused(f"the process cannot be read: {error}", "exec") from error
        if request.privileged:
            process = join.privileged(process)
        if not container.devices.controller:
            if reason := device_control.process_refusal(process):
                raise Refused(f"nobody controls devices here, and {reason}; {device_control.WAY_OUT}", "exec")
            process = device_control.confined(process)
        self.executions.add(Execution(self, container, request, process, reply, self._executed))

    def _executed(self, execution: Execution) -> None:
        self.executions.discard(execution)
        if not self._expects_births():
            self.strays.clear()

    def record_exit(self, container_id: str, code: int) -> None:
        path = f"{self.places.container(container_id)}/exit.json"
        end = container_record.read(path)
        if end and end.get("code") is None:
            container_record.write(path, end | {"code": code}, flush=False)

    def stop(self, reply: Reply) -> None:
        if self.containers:
            raise Refused("containers run", "stop")
        self.stopping.append(reply)
        self._try_to_end()

    def _try_to_end(self) -> None:
        self.ended = not self.leftovers
        if not self.ended and not self.stopping:
            self.loop.later(0.05, self._try_to_end)

    # --- ends ---

    def forget(self, container_id: str) -> None:
        self.containers.pop(container_id, None)

    def discard(self, container_id: str, cgroup: Cgroup) -> None:
        """Remove a control group, now or as soon as the kernel lets it go."""
        leftover = self.leftovers[container_id] = Leftover(self, container_id, cgroup)
        leftover.attempt()

    def discarded(self, container_id: str) -> None:
        self.leftovers.pop(container_id, None)
        if self.stopping and not self.leftovers and not self.containers:
            self.ended = True

    def _adopt(self) -> None:
        """Take over what a keeper before this one left, running or ended meanwhile."""
        kept = self.store.recover()
        os.makedirs(self.places.containers, 0o700, exist_ok=True)
        for name in os.listdir(self.places.containers):
            try:
                self._adopt_one(name, kept.pop(name, {}))
            except Exception:
                complain()
        for name, descriptors in kept.items():
            for fd in descriptors.values():
                os.close(fd)
            self.store.drop(name)

    def _adopt_one(self, name: str, kept: dict[str, int]) -> None:
        folder = self.places.container(name)
        process = container_record.read(f"{folder}/process.json")
        done = os.path.exists(f"{folder}/exit.json")
        if process and not done and process.get("boot_id") != container_record.boot_id():
            # another boot: nothing of it is left but its files
            end = {"code": None, "oom_killed": False, "finished": time.time()}
            container_record.write(f"{folder}/exit.json", end, flush=False)
            return
        try:
            with open(f"{folder}/bundle.json") as file:
                bundle = from_json(Bundle, file.read())
        except (OSError, ValueError):
            return  # it is being made, or removed
        container = Container(self, name, folder, bundle)
        if process and not done:
            self.containers[name] = container
            container.adopt(process, kept)
            return
        for fd in kept.values():
            os.close(fd)
        if kept:
            self.store.drop(name)
        if container.cgroup and container.cgroup.folders():  # of one that never ran, or was not cleared away
            container.cgroup.kill_all()
            self.discard(name, container.cgroup)
        with suppress(FileNotFoundError):
            os.unlink(self.places.output(name))


def _born_among_helpers(project: str) -> int:
    """Fork into the control group of the project's helpers, or out of whose unit this is; as `os.fork`."""
    group = of_helpers(project)
    for attempt in range(20):
        group.create()
        try:
            descriptor = group.descriptor()
            pid, handle = clone_container((), descriptor)
            break
        except OSError as error:  # whoever ended the keeper before this one has removed the group just now
            if error.errno not in (errno.ENOENT, errno.ENODEV) or attempt == 19:
                raise
    if pid:
        os.close(handle)
        return pid
    group.join()
    if descriptor is None:
        leave_unit()
    else:
        os.close(descriptor)
    return 0


def _tell_launcher(ready: int, word: str) -> None:
    with suppress(BrokenPipeError):  # it has been killed
        os.write(ready, word.encode()[: select.PIPE_BUF])
    os.close(ready)


def main(arguments: list[str]) -> None:
    project, state, run, *numbers = arguments[:6]
    ready, launching, supervisor_pid = map(int, numbers)
    gc.freeze()  # a child that looks for garbage would copy all pages
    try:
        if _born_among_helpers(project):  # nobody's child: whoever launched it need not wait for it
            os._exit(0)
        for descriptor in (ready, launching):
            os.set_inheritable(descriptor, False)
        as_if_by_init((ready, launching))
        keeper = Keeper(ProjectPlaces(project, state, run), arguments[6:])
        keeper.begin(supervisor_pid)
        os.close(launching)
        _tell_launcher(ready, READY)
        ready = -1
        keeper.run()
    except BaseException as error:
        if not shortages.number(error):
            complain()
        reason = " ".join(shortages.reason(error).split())
        note(f"the keeper ends: {reason}")
        if ready >= 0:
            _tell_launcher(ready, f"{shortages.number(error)} {reason}")
        sys.exit(1)
    sys.exit(0)
