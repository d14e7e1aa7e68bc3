"""Faults: SIGKILL to processes of project p at the n-th step of the command, or of its supervisor.

A step is the begin of a function of the modules below, so that none has to be marked. FOLDER has `plan`
("where number victim…"; `where` is "cli" or "supervisor", whose steps are counted while the plan is there), `cli` (the
pid of the command) and `count` (eight bytes: how many steps there were). A fault fires once: `plan` becomes `fired`.
"""

from __future__ import annotations

import glob
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
        if event != "call" or not frame.f_globals.get("__name__", "").startswith(STEPS[self.where]):
            return
        if not os.path.exists(self.plan):
            self.armed = False
            return
        if not self.armed:
            self.armed = True
            with open(self.plan) as file:
                where, number, *self.victims = file.read().split()
            self.number = int(number) if where == self.where else 0
        if self.number:
            reached = struct.unpack("q", self.count[:8])[0] + 1
            self.count[:8] = struct.pack("q", reached)
            if reached == self.number:
                self.strike(f"{frame.f_globals['__name__']}:{frame.f_code.co_qualname}")

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
