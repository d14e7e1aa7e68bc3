"""Faults at the n-th step of the command, of its supervisor or of its keeper: SIGKILL to processes of project p, or an
error of the system.

A step is the begin of a function of the modules below, so that none has to be marked; for errors it is a call that may
end with them. FOLDER has `plan` ("where number victim…"; `where` is "cli", "supervisor" or "keeper", whose steps are
counted while the plan is there; a victim may be an errno's name), `cli` (the pid of the command) and `count` (eight
bytes: how many steps there were). A fault fires once: `plan` becomes `fired`.
"""

from __future__ import annotations

import _thread
import errno
import glob
import io
import json
import mmap
import os
import signal
import socket
import struct
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

STEPS = {
    "supervisor": tuple(
        f"pycompose.{name}"
        for name in (
            "compose.linux",
            "compose.engine",
            "compose.control.server",
            "network.networks",
            "network.records",
            "runtime.client",
            "runtime.state",
        )
    ),
    "keeper": (),
    "cli": tuple(
        f"pycompose.{name}"
        for name in (
            "compose.app",
            "compose.builds",
            "compose.control",
            "compose.state",
            "runtime.client",
            "runtime.images",
            "runtime.state",
        )
    ),
}


_BIRTHS: tuple[object, ...] = (os.fork, os.posix_spawn, _thread.start_new_thread)
_OPENS: tuple[object, ...] = (
    *(os.open, os.pipe2, os.dup, os.pidfd_open, os.eventfd, os.memfd_create, os.listdir, os.scandir),
    *(io.open, socket._socket.socketpair),  # type: ignore[attr-defined]
)
_CHANGES: tuple[object, ...] = (os.mkdir, os.symlink, os.rename, os.mkfifo, os.write, os.pwrite, os.stat, os.unlink)
# errno -> functions in C, and the names of our own wrappers of system calls, that may end with it
ERRORS: dict[str, tuple[tuple[object, ...], tuple[str, ...]]] = {
    "EMFILE": (_OPENS, ("clone3", "inotify", "open_tree", "fsopen", "fsmount", "openat2")),
    "ENOMEM": ((*_BIRTHS, *_OPENS, *_CHANGES), ("clone3", "fsopen", "fsmount", "move_mount", "mount_setattr", "setns")),
    "EAGAIN": (_BIRTHS, ("clone3",)),
}

_MAY_FAIL = frozenset(function for functions, _ in ERRORS.values() for function in functions)
_BOOT = """
sys.path.append({here!r})
from injection import Injection
Injection({folder!r}, "keeper").begin()
main("""


def keeper_boot(boot: str, folder: str) -> str:
    """How a keeper is begun, with faults where FOLDER has `keeper`."""
    if not os.path.exists(f"{folder}/keeper"):
        return boot
    return boot.replace("\nmain(", _BOOT.format(here=os.path.dirname(__file__), folder=folder))


class Injection:
    def __init__(self, folder: str, where: str) -> None:
        self.folder, self.where = folder, where
        self.plan = f"{folder}/plan"
        self.armed = False
        self.number, self.victims = 0, [""]
        with open(f"{folder}/count", "r+b") as file:
            self.count = mmap.mmap(file.fileno(), 8)

    def begin(self) -> None:
        threading.setprofile(self.called)
        sys.setprofile(self.called)

    def called(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "c_call" or frame.f_code.co_filename.endswith("/runtime/linux/syscalls.py"):
            self.failing(frame, event, _)
        if event != "call" or not frame.f_globals.get("__name__", "").startswith(STEPS[self.where]):
            return
        if not os.path.exists(self.plan):
            self.armed = False
            return
        if not self.armed:
            self.armed = True
            with open(self.plan) as file:
                where, number, *self.victims = file.read().split()
            self.number = int(number) if where == self.where and not ERRORS.keys() & set(self.victims) else 0
        if self.number:
            reached = struct.unpack("q", self.count[:8])[0] + 1
            self.count[:8] = struct.pack("q", reached)
            if reached == self.number:
                self.strike(f"{frame.f_globals['__name__']}:{frame.f_code.co_qualname}")

    def failing(self, frame: FrameType, event: str, function: object) -> None:
        """Count a call that may fail, and have the one of the plan fail."""
        name = frame.f_globals.get("__name__", "")
        if name in (__name__, "glob", "posixpath", "genericpath") or name.startswith(("importlib", "_frozen")):
            return
        if event == "c_call" and function not in _MAY_FAIL:
            return
        try:
            with open(self.plan) as file:
                where, number, victim, *_ = [*file.read().split(), ""]
        except (OSError, ValueError):  # there is none, or it is being written
            return
        functions, wrappers = ERRORS.get(victim, ((), ()))
        wrapped = event == "call" and frame.f_code.co_name in wrappers
        if where != self.where or not (wrapped or function in functions):
            return
        reached = struct.unpack("q", self.count[:8])[0] + 1
        self.count[:8] = struct.pack("q", reached)
        if reached == int(number):
            os.rename(self.plan, f"{self.folder}/fired")
            with open(f"{self.folder}/where", "a") as file:
                file.write(f"{victim} of {getattr(function, '__name__', frame.f_code.co_name)} in {name}, {where}\n")
            if function is _thread.start_new_thread:
                raise RuntimeError("can't start new thread")
            raise OSError(getattr(errno, victim), os.strerror(getattr(errno, victim)))

    def strike(self, place: str) -> None:
        with suppress(FileNotFoundError):
            os.rename(self.plan, f"{self.folder}/fired")
            with open(f"{self.folder}/where", "a") as file:
                file.write(f"{' '.join(self.victims)} at step {self.number} of the {self.where}: {place}\n")
            there = helpers(self.folder)
            handles = []
            for victim in self.victims:
                for pid in there.get(victim, []):
                    if pid != os.getpid():
                        with suppress(ProcessLookupError):
                            handles.append(os.pidfd_open(pid))
            for number in (signal.SIGSTOP, signal.SIGKILL):  # none sees another die
                for handle in handles:
                    with suppress(ProcessLookupError):
                        signal.pidfd_send_signal(handle, number)
            for handle in handles:
                os.close(handle)
            if self.where in self.victims:
                os.kill(os.getpid(), signal.SIGKILL)


def helpers(folder: str) -> dict[str, list[int]]:
    """The processes of project p by their part."""
    run = f"{os.environ['PYCOMPOSE_RUN']}/p"
    pids: set[int] = set()
    for path in glob.glob(f"/sys/fs/cgroup/**/{os.environ['PYCOMPOSE_CGROUP']}/p/helpers/cgroup.procs", recursive=True):
        with suppress(OSError), open(path) as file:
            pids.update(map(int, file.read().split()))
    there: dict[str, list[int]] = {"cli": [], "supervisor": [], "keeper": [], "store": []}
    with suppress(OSError, ValueError), open(f"{folder}/cli") as file:
        there["cli"] = [int(file.read())]
    with suppress(OSError, ValueError), open(f"{run}/supervisor.json") as file:
        there["supervisor"] = [json.load(file)["pid"]]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(f"{run}/keeper.sock")
        there["keeper"] = [struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]]
    there["store"] = sorted(pids - {*there["supervisor"], *there["keeper"]})
    return there
