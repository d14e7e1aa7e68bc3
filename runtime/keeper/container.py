"""One container in the keeper: its descriptors, its output, its end. Nothing here waits.

Its stages, and what leads from one to the next, are the table in `container_stages`. Its end: all its processes are
killed, what is left in its FIFOs is copied, exit.json is written, the end is published; its control group goes as soon
as the kernel lets it.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn, assert_never

from pycompose import shortages
from pycompose.log_lines import complain, note
from pycompose.runtime.errors import LimitRefused, RuntimeFailure
from pycompose.runtime.init import birth, host_root, mounts, reaper, start
from pycompose.runtime.linux import pidfd, syscalls
from pycompose.runtime.linux.clone import clone_container
from pycompose.runtime.policy import device_control
from pycompose.runtime.policy.cgroup import Cgroup, DeviceControl
from pycompose.runtime.spec import Bundle, HostRoot, Process
from pycompose.runtime.state import container_record

from . import messages
from .connection import Client, Refused, Reply
from .container_stages import RAN, TRANSITIONS, ContainerStage, Effect, Occurrence
from .container_streams import ContainerStreams
from .household import Household
from .loop import Timer
from .messages import (
    Answer,
    Done,
    Ended,
    FirstReady,
    NotExecuted,
    OutOfMemory,
    Prepared,
    Refusal,
    RunEnded,
)

NAMESPACE_FILES = {"network": "net", "mount": "mnt"}
RECORD_TRIES = 100  # a tenth of a second apart
PATIENCE = 5.0  # seconds for killed processes to be gone, before the end is told all the same


def not_executed(process: Process, number: int) -> Refusal:
    """Why a process does not run: its program cannot be executed, says the kernel by that errno."""
    return Refusal(f"{process.args[0]}: {os.strerror(number)}", "exec", number, 127 if number == errno.ENOENT else 126)


class Container:
    def __init__(self, keeper: Household, container_id: str, folder: str, bundle: Bundle) -> None:
        self.keeper, self.id, self.folder, self.bundle = keeper, container_id, folder, bundle
        self.stage = ContainerStage.MAKING
        self.pid, self.pidfd, self.netns = 0, -1, -1
        self.start_time = 0
        self.passed: list[int] = []  # by its first process
        self.sockets: list[int] = []
        self.streams = ContainerStreams(keeper, container_id, folder, bundle)
        self.channel: socket.socket | None = None
        self.reply: Reply | None = None  # of what is being done
        self.starter: Client | None = None
        self.failure: Refusal | None = None
        self.given_up: list[Reply] = []
        self.notes: tuple[str, ...] = ()
        self.code: int | None = None
        self.killed_at = 0.0
        self.oom_fd, self.oom_kills = -1, 0
        self.outcome = -1  # of its birth, where it is born into a pid namespace in which others are (`init.birth`)
        self.devices = DeviceControl("none is wanted")
        path = bundle.spec.linux.cgroups_path
        self.cgroup = Cgroup(path) if path else None

    # --- its beginning ---

    def start(self, reply: Reply) -> None:
        """Clone the first process; the answer comes when it is ready. Raises Refused, OSError; nothing is left then."""
        linux = self.bundle.spec.linux
        with suppress(FileNotFoundError):
            os.unlink(f"{self.folder}/exit.json")
        with suppress(FileNotFoundError):
            os.unlink(f"{self.folder}/process.json")
        container_record.reserve(f"{self.folder}/exit.json")
        for name in ("out", "err", "in"):
            with suppress(FileExistsError):
                os.mkfifo(f"{self.folder}/{name}", 0o600)
        opened: list[int] = []
        try:
            if self.cgroup:
                self.notes = (*self.cgroup.create(), *self.cgroup.apply(linux.resources))
            self._control_devices()
            namespaces = self._joined(opened)
            new = tuple(item.type for item in linux.namespaces if item.type not in namespaces)
            stdio = self.streams.inside()
            opened += stdio
            group = self.cgroup.descriptor() if self.cgroup else None
            if group is not None:
                opened.append(group)
            elif self.devices.controller == "unified":
                raise Refused("its control group went meanwhile", "devices")
            init = reaper.prepare() if self.bundle.init else -1
            ground = self.keeper.grounds.ground(self.bundle.root) if isinstance(self.bundle.root, HostRoot) else None
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            program = self.keeper.seccomp_program(self.id)
            inside = namespaces.get("pid")
            if inside is not None and mounts.takes_pid_namespace():
                # Others stand in that namespace, and may be allowed to trace: nothing of ours goes there.
                birth.sealed()
                self.outcome, inside = birth.outcome_file(), None
            try:
                self.pid, self.pidfd = clone_container(new, group, inside)
                if self.pid == 0:
                    self._become(ours, theirs, stdio, namespaces, program, init, ground)
            except OSError:
                ours.close()
                raise
            finally:
                theirs.close()
        except LimitRefused as error:
            self._discard_cgroup()
            raise Refused(str(error), "limits", error.errno) from None
        except RuntimeFailure as error:
            self._discard_cgroup()
            raise Refused("; ".join(filter(None, (str(error), error.hint))), "init") from None
        except (OSError, Refused):
            self._discard_cgroup()
            raise
        finally:
            messages.close_all(opened)
            if not self.pid:
                self.streams.close()
        ours.setblocking(False)
        try:
            self.keeper.loop.watch(ours.fileno(), lambda _: self._readable())
        except OSError:  # the user may watch no more descriptors (man 7 epoll): nobody would hear of it
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            os.close(self.pidfd)
            ours.close()
            self._discard_cgroup()
            raise
        self.channel, self.reply, self.starter = ours, reply, reply.client
        self.start_time = container_record.start_time(self.pid)
        self.keeper.await_child(self.pid, self.exited if self.outcome < 0 else self._helped)

    def _control_devices(self) -> None:
        """Have its devices controlled, or take away what could reach others. Raises Refused, LimitRefused."""
        spec = self.bundle.spec
        rules = spec.linux.resources.devices
        if not device_control.wanted(rules):
            return
        nobody = DeviceControl("", "it has no control group")
        self.devices = self.cgroup.control_devices(rules) if self.cgroup else nobody
        if self.devices.controller:
            self.notes = (*self.notes, *([self.devices.reason] if self.devices.reason else []))
            return
        if reason := device_control.refusal(spec):
            raise Refused(
                f"nobody controls devices on this machine ({self.devices.reason}), and {reason}; "
                f"{device_control.WAY_OUT}",
                "devices",
            )
        without = (
            f"nobody controls devices on this machine ({self.devices.reason}): MKNOD is taken away, mounts are nodev"
        )
        self.notes = (*self.notes, without)
        process = device_control.confined(spec.process)
        self.bundle = replace(self.bundle, spec=replace(spec, process=process))

    def _joined(self, opened: list[int]) -> dict[str, int]:
        paths = {item.type: item.path for item in self.bundle.spec.linux.namespaces if item.path}
        for kind, other in self.bundle.shared.items():
            theirs = f"/proc/{self.keeper.pid_of(other)}/ns"
            paths[kind] = f"{theirs}/{NAMESPACE_FILES.get(kind, kind)}"
            if kind == "ipc":  # its /dev/shm too
                paths["shm"] = f"{theirs}/mnt"
        joined = {}
        for kind, path in paths.items():
            joined[kind] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            opened.append(joined[kind])
        return joined

    def _become(
        self,
        ours: socket.socket,
        theirs: socket.socket,
        stdio: tuple[int, int, int],
        joined: Mapping[str, int],
        program: bytes | None,
        init: int,
        ground: host_root.Ground | None,
    ) -> NoReturn:
        try:
            self.keeper.leave_loop()
            ours.close()
            if self.cgroup:
                self.cgroup.join(self.devices.controller)
            devices = bool(self.devices.controller)
            start.run(
                self.bundle,
                theirs.fileno(),
                stdio,
                joined,
                program,
                devices=devices,
                init=init,
                outcome=self.outcome,
                ground=ground,
            )
        except BaseException as error:
            messages.send(theirs, Refusal(shortages.reason(error), "start", shortages.number(error)))
        finally:
            os._exit(125)

    def _readable(self) -> None:
        """Its first process reported something, or closed the channel by execve or its death."""
        assert self.channel is not None
        try:
            report, descriptors = messages.receive(self.channel)
        except BlockingIOError:
            return
        except (OSError, messages.Malformed) as error:
            short = shortages.number(error)
            report = Refusal(shortages.reason(error), "start", short) if short else None
            descriptors = []
        match report:
            case FirstReady(notes):
                self.notes = (*self.notes, *notes)
                self.passed = descriptors
                self._happens(Occurrence.REPORTED_READY)
            case Refusal():
                messages.close_all(descriptors)
                self._happens(Occurrence.REPORTED_FAILURE, report)
            case NotExecuted(number):
                self._happens(Occurrence.REPORTED_FAILURE, not_executed(self.bundle.spec.process, number))
            case _ if self.stage is ContainerStage.GOING and self.outcome >= 0:
                messages.close_all(descriptors)
                self._close_channel()  # its helper is about to have it born: see `_helped`
            case _:
                messages.close_all(descriptors)
                self._happens(Occurrence.CHANNEL_CLOSED, Refusal("it died", "start"))

    def _happens(self, occurrence: Occurrence, failure: Refusal | None = None) -> None:
        """Go to the next stage, and do what follows. `failure` is why it does not run, should it not."""
        self.stage, effect = TRANSITIONS[self.stage, occurrence]
        if self.stage in (ContainerStage.DOOMED, ContainerStage.FAILED) and self.failure is None:
            self.failure = failure
        match effect:
            case Effect.HAND_OUT:
                self._hand_out()
            case Effect.RELEASE:
                self._release()
            case Effect.CONFIRM:
                self._close_channel()
                self.starter = None
                self._answer(Done(), [self.pidfd] if self.outcome >= 0 else ())
                self.streams.hand_over(self.pidfd)
            case Effect.KILL:
                self._close_channel()
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
                if self.outcome >= 0 and (born := birth.birth_of(self.outcome).pid):
                    with suppress(ProcessLookupError):
                        os.kill(born, signal.SIGKILL)
            case Effect.FINISH:
                self._close_channel()
                self.killed_at = time.monotonic()
                self._finish(0.001)
            case Effect.NOTHING:
                pass
            case _:
                assert_never(effect)

    def _hand_out(self) -> None:
        descriptors, self.passed = self.passed, []
        master = descriptors.pop(0) if self.bundle.spec.process.terminal and descriptors else -1
        self.sockets = descriptors
        try:
            self.netns = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            self.streams.begin(master)
        except OSError as error:  # no descriptor is left, or it has just been killed
            self._happens(Occurrence.REPORTED_FAILURE, Refusal(shortages.reason(error), "start", error.errno or 0))
            return
        self.keeper.store.keep(self.id, self._lasting())
        self._answer(Prepared(self.pid, self.notes), self.handles())
        if self.starter is not None and self.starter.closed:
            self.give_up()

    def go(self, reply: Reply) -> None:
        """Let its program run; the answer comes when it does. Raises Refused, OSError."""
        if (self.stage, Occurrence.GO) not in TRANSITIONS:
            raise Refused("it runs already" if self.stage in RAN else "it is not ready", "start")
        self.reply, self.starter = reply, reply.client
        self._happens(Occurrence.GO)

    def _release(self) -> None:
        assert self.channel is not None
        self._record()
        self._watch_memory()
        with suppress(OSError):
            self.channel.send(b"start")

    def _record(self) -> None:
        state = {
            "pid": self.pid,
            "start_time": self.start_time,
            "boot_id": container_record.boot_id(),
            "started": time.time(),
            "device_control": bool(self.devices.controller),
            "taken": self.streams.taker is not None,
        }
        container_record.write(f"{self.folder}/process.json", state, flush=False)

    def _helped(self, code: int) -> None:
        """The helper that was to have it born has ended: it runs, or it failed."""
        outcome = birth.birth_of(self.outcome)
        while self.channel is not None and self._is_reported():
            pass
        if self.stage is not ContainerStage.GOING or not outcome.pid or outcome.errno or self.failure is not None:
            if outcome.errno and self.stage is ContainerStage.GOING:
                self._happens(Occurrence.REPORTED_FAILURE, not_executed(self.bundle.spec.process, outcome.errno))
            if outcome.pid:
                self.keeper.await_child(outcome.pid, lambda _: None)
            self.exited(code)
            return
        self.pid, self.start_time = outcome.pid, container_record.start_time(outcome.pid)
        with suppress(
            ProcessLookupError
        ):  # it has ended, and was reaped: then its helper's pidfd, of a dead one, will do
            opened = os.pidfd_open(self.pid)
            os.close(self.pidfd)
            self.pidfd = opened
        self._record()
        self.keeper.store.keep(self.id, self._lasting())
        self._happens(Occurrence.CHANNEL_CLOSED)
        os.close(self.outcome)
        self.outcome = -1
        self.keeper.await_child(self.pid, self.exited)

    def _is_reported(self) -> bool:
        """Take what its first process reported; whether that changed anything."""
        before = self.stage, self.channel
        self._readable()
        return (self.stage, self.channel) != before

    def give_up(self, reply: Reply | None = None) -> None:
        """End what does not run yet; `reply` is answered when nothing is left of it. Raises Refused."""
        if (self.stage, Occurrence.GIVEN_UP) not in TRANSITIONS:
            raise Refused("it runs", "abandon")
        if reply is not None:
            self.given_up.append(reply)
        self._happens(Occurrence.GIVEN_UP, Refusal("whoever started it gave up", "start"))

    def _close_channel(self) -> None:
        if self.channel is not None:
            self.keeper.loop.unwatch(self.channel.fileno())
            self.channel.close()
            self.channel = None

    def _answer(self, answer: Answer, descriptors: Sequence[int] = ()) -> None:
        if self.reply is not None:
            self.reply(answer, descriptors)
            self.reply = None

    # --- while it runs ---

    def handles(self) -> list[int]:
        return [self.pidfd, self.netns, *self.sockets]

    def open_input(self) -> int:
        """A descriptor by which its stdin is written to. Raises Refused where it is not open, OSError."""
        if self.stage is not ContainerStage.RUNNING:
            raise Refused("its stdin is not open", "attach")
        return self.streams.open_input()

    def drop_output(self, stream: int) -> None:
        """Nobody reads it any more, so that who writes hears of it. Raises Refused where nobody has taken it."""
        self.streams.drop(stream)
        self.keeper.store.keep(self.id, self._lasting())

    def _lasting(self) -> dict[str, int]:
        descriptors = {"pidfd": self.pidfd, "netns": self.netns} | self.streams.lasting()
        return descriptors | {f"socket{number}": fd for number, fd in enumerate(self.sockets)}

    def _watch_memory(self) -> None:
        fd = self.cgroup.oom_watch() if self.cgroup else None
        if fd is not None:
            self.oom_fd = fd
            self.keeper.loop.watch(fd, lambda _: self._memory())

    def _memory(self) -> None:
        with suppress(BlockingIOError):
            os.read(self.oom_fd, 4096)
        kills = self.cgroup.oom_kills() if self.cgroup else 0
        if kills > self.oom_kills:
            self.oom_kills = kills
            self.keeper.publish(OutOfMemory(self.id))

    # --- its end ---

    def adopt(self, process: Mapping[str, Any], kept: dict[str, int]) -> None:
        """Take it over from a keeper before. Raises OSError, ProcessLookupError if it cannot be known any more."""
        self.stage = ContainerStage.RUNNING
        if not process.get("device_control", True):
            self.devices = DeviceControl("", "as when it was started")
        self.pid, self.start_time = process["pid"], process["start_time"]
        self.pidfd = kept.get("pidfd", -1)
        if self.pidfd < 0 and container_record.alive(process):
            self.pidfd = os.pidfd_open(self.pid)
            if not container_record.alive(process):
                os.close(self.pidfd)
                self.pidfd = -1
        alive = self.pidfd >= 0 and not select.select([self.pidfd], [], [], 0)[0]
        self.netns = kept.get("netns", -1)
        self.sockets = [kept[f"socket{n}"] for n in range(len(self.bundle.sockets)) if f"socket{n}" in kept]
        if alive:
            if self.netns < 0:
                self.netns = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            if len(self.sockets) < len(self.bundle.sockets):
                self.sockets = self._new_sockets()
        master = kept.get("master", -1)
        if self.bundle.spec.process.terminal and master < 0 and alive:
            note(f"{self.id}: its terminal died with the keeper before this one; it is not read any more")
        self.streams.begin(master, kept, taken=bool(process.get("taken")))
        if alive:
            self._watch_memory()
            self.oom_kills = self.cgroup.oom_kills() if self.cgroup else 0
            (self.keeper.store.known if "pidfd" in kept else self.keeper.store.keep)(self.id, self._lasting())
            self.keeper.loop.watch(self.pidfd, lambda _: self._left())
        else:
            self.exited(pidfd.exit_code(self.pid, self.pidfd, self.start_time))

    def _new_sockets(self) -> list[int]:
        """The sockets inside, made again; the keeper has one thread, so it may go there itself."""
        namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(self.netns, syscalls.CLONE_NEW["network"])
            try:
                return [start.make_socket(wanted) for wanted in self.bundle.sockets]
            finally:
                syscalls.setns(namespace, syscalls.CLONE_NEW["network"])
        finally:
            os.close(namespace)

    def _left(self, attempt: int = 0) -> None:
        """An adopted one has ended. Between its death and its parent's taking note the kernel tells nothing yet."""
        self.keeper.loop.unwatch(self.pidfd)
        code = pidfd.exit_code(self.pid, self.pidfd, self.start_time)
        if code is None and attempt < 6:
            self.keeper.loop.later(0.002 * 2**attempt, lambda: self._left(attempt + 1))
            return
        self.exited(code)

    def exited(self, code: int | None) -> None:
        while self.channel is not None and self._is_reported():
            pass
        self.code = code
        self._happens(Occurrence.DIED, Refusal("it died", "start"))

    def _finish(self, delay: float) -> None:
        """Once nothing of it is alive; asked again after a while (v1 does not tell), and each time killed again."""
        if self.cgroup and self.cgroup.processes():
            if time.monotonic() - self.killed_at < PATIENCE:
                self.cgroup.kill_all()
                if self.cgroup.processes():
                    self.keeper.loop.later(delay, lambda: self._finish(min(delay * 2, 0.1)))
                    return
            else:
                note(f"{self.id}: there are processes in its control group that cannot be killed")
        oom = bool(self.cgroup and self.cgroup.oom_kills() > 0)
        for step in (self.streams.finish, lambda: self._record_end(oom), self._close, self._discard_cgroup):
            try:
                step()
            except Exception as error:  # its end goes on, and is told
                self._remark(error)
        self.keeper.forget(self.id)
        if self.stage is ContainerStage.ENDED:
            self.keeper.publish(Ended(self.id, self.code, oom, self.pid))
            self.streams.tell_taker(RunEnded(self.code))
        elif self.failure is not None:
            self._answer(self.failure)
        for reply in self.given_up:
            reply(Done())

    def _record_end(self, oom_killed: bool) -> None:
        """Write exit.json for one that ran, or whose program could not be executed; else nothing of it was."""
        record = f"{self.folder}/process.json"
        code = self.code
        if self.failure is not None:
            if not os.path.exists(record):
                return
            if self.failure.exit_code not in (126, 127):
                os.unlink(record)
                return
            code = self.failure.exit_code
        end = {"code": code, "oom_killed": oom_killed, "finished": time.time()}
        self._write_end(end, RECORD_TRIES)

    def _write_end(self, end: Mapping[str, Any], tries: int) -> None:
        """Tried again while something is short; who listens is told all the same."""
        try:
            process = container_record.read(f"{self.folder}/process.json")
            if tries == RECORD_TRIES or process.get("start_time") == self.start_time:  # else it runs again
                container_record.write_reserved(f"{self.folder}/exit.json", end)
        except OSError as error:
            if tries and shortages.number(error):
                self.keeper.loop.later(shortages.PAUSE, lambda: self._write_end(end, tries - 1))
            else:
                self._remark(error)

    def _remark(self, error: Exception) -> None:
        if shortages.number(error):
            note(f"{self.id}: {shortages.reason(error)}")
        else:
            complain()

    def _close(self) -> None:
        for fd in {self.pidfd, self.netns, self.oom_fd, self.outcome, *self.sockets} - {-1}:
            self.keeper.loop.unwatch(fd)
            os.close(fd)
        self.streams.close()
        self.keeper.store.drop(self.id)

    def _discard_cgroup(self) -> None:
        if self.cgroup:
            self.keeper.discard(self.id, self.cgroup)


class Leftover:
    """A control group that the kernel does not let go yet."""

    def __init__(self, keeper: Household, container_id: str, cgroup: Cgroup) -> None:
        self.keeper, self.id, self.cgroup = keeper, container_id, cgroup
        self.timer: Timer | None = None
        self.delay = 0.001
        self.tries = 0

    def attempt(self) -> None:
        self.tries += 1
        self.delay = min(self.delay * 2, 0.5)
        if self.cgroup.discard() or self.tries > 100:
            self.keeper.discarded(self.id)
        else:
            self.timer = self.keeper.loop.later(self.delay, self.attempt)
