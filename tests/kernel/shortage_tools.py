"""Shortages of a machine: what a project's commands and helpers live on, measured, cut down to a level, and given back.

Each kind has a level: how much is left of it when a command begins. A level is a number of blocks, inodes,
descriptors, processes or pieces of memory; at a low one the first thing that is done fails, at the next the second, …
"""

from __future__ import annotations

import json
import os
import resource
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from .conftest import CGROUPS, Machine

PAGE = os.sysconf("SC_PAGE_SIZE")
PIECE = 64 << 10  # bytes of memory: what a level is counted in


class Shortage(Protocol):
    @property
    def name(self) -> str: ...

    def used(self) -> int:
        """How much of it is in use now."""

    def cut(self, level: int) -> tuple[str, ...]:
        """Leave so much of it. What the command is begun with, where it is the command that runs short."""

    def lift(self) -> None:
        """Give it back."""


class Disk:
    """Blocks or inodes of the file system of the state or of the run folder."""

    def __init__(self, machine: Machine, folder: str, inodes: bool) -> None:
        self.machine, self.folder, self.inodes = machine, folder, inodes
        self.name = f"{'inodes' if inodes else 'blocks'} of {'state' if folder == machine.state else 'run'}"

    def used(self) -> int:
        there = os.statvfs(f"/proc/{self.machine.pid}/root{self.folder}")
        return there.f_files - there.f_ffree if self.inodes else there.f_blocks - there.f_bfree

    def cut(self, level: int) -> tuple[str, ...]:
        while True:
            most = self.used() + level
            with suppress(AssertionError):  # more than that is used by now: services log
                self._remount(f"nr_inodes={most}" if self.inodes else f"size={most * PAGE}")
                return ()

    def lift(self) -> None:
        self._remount("size=50%,nr_inodes=1000000")

    def _remount(self, options: str) -> None:
        self.machine.run("mount", "-o", f"remount,{options}", self.folder)


class CommandLimit:
    """A limit of the command's own: descriptors, or memory."""

    def __init__(self, option: str, least: int, unit: int) -> None:
        self.name, self.option, self.least, self.unit = f"{option} of the command", option, least, unit

    def used(self) -> int:
        return self.least

    def cut(self, level: int) -> tuple[str, ...]:
        most = (self.least + level) * self.unit
        return "prlimit", f"--{self.option}={most}:{most}"

    def lift(self) -> None:
        """It was the command's alone."""


class HelperLimit:
    """A limit of a helper that runs: descriptors, or memory."""

    def __init__(self, machine: Machine, helper: str, memory: bool) -> None:
        self.machine, self.helper, self.memory = machine, helper, memory
        self.name = f"{'memory' if memory else 'descriptors'} of the {helper}"
        self.kind = resource.RLIMIT_AS if memory else resource.RLIMIT_NOFILE
        self.before: tuple[int, tuple[int, int]] | None = None

    def used(self) -> int:
        pid = helper_pid(self.machine, self.helper)
        if self.memory:
            return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * PAGE // PIECE
        return len(os.listdir(f"/proc/{pid}/fd"))

    def cut(self, level: int) -> tuple[str, ...]:
        pid = helper_pid(self.machine, self.helper)
        if self.memory:
            most = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * PAGE + level * PIECE
        else:
            open_ones, most, free = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}, 0, 0
            while free < level or most in open_ones:
                free += most not in open_ones
                most += 1
        before = resource.prlimit(pid, self.kind)
        self.before = pid, before
        resource.prlimit(pid, self.kind, (most, before[1]))
        return ()

    def lift(self) -> None:
        if self.before is not None:
            pid, limits = self.before
            self.before = None
            try:
                resource.prlimit(pid, self.kind, limits)
            except ProcessLookupError:
                return


class GroupLimit:
    """Processes or memory of the control group of project p, helpers and containers; or of the helpers alone."""

    def __init__(self, machine: Machine, memory: bool, whose: str) -> None:
        self.name = f"{'memory' if memory else 'processes'} of {whose or 'the project'}"
        self.memory, self.whose = memory, whose
        self.tree = machine.environment["PYCOMPOSE_CGROUP"]

    @property
    def folder(self) -> Path:
        controller = "memory" if self.memory else "pids"
        return CGROUPS / controller / self.tree / "p" / self.whose

    @staticmethod
    def there(memory: bool) -> bool:
        return (CGROUPS / ("memory" if memory else "pids") / "cgroup.procs").exists()

    def used(self) -> int:
        if self.memory:
            return int((self.folder / "memory.usage_in_bytes").read_text()) // PIECE
        return int((self.folder / "pids.current").read_text())

    def cut(self, level: int) -> tuple[str, ...]:
        if self.memory:
            (self.folder / "memory.limit_in_bytes").write_text(str((self.used() + 1 + level) * PIECE))
        else:
            (self.folder / "pids.max").write_text(str(self.used() + level))
        return ()

    def lift(self) -> None:
        path = self.folder / ("memory.limit_in_bytes" if self.memory else "pids.max")
        if path.exists():
            path.write_text("-1" if self.memory else "max")


class CommandGroup:
    """Processes of a control group that the command is begun in, beside the project's."""

    def __init__(self, machine: Machine) -> None:
        self.name = "processes of the command"
        self.folder = CGROUPS / "pids" / f"{machine.environment['PYCOMPOSE_CGROUP']}-caller"

    def used(self) -> int:
        return 1

    def cut(self, level: int) -> tuple[str, ...]:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "pids.max").write_text(str(1 + level))
        return "sh", "-c", f'echo 0 >"{self.folder}/cgroup.procs" && exec "$@"', "sh"

    def lift(self) -> None:
        if self.folder.exists():
            (self.folder / "pids.max").write_text("max")
            self.folder.rmdir()


def helper_pid(machine: Machine, helper: str) -> int:
    run = f"/proc/{machine.pid}/root{machine.run_folder}/p"
    if helper == "supervisor":
        return int(json.loads(Path(f"{run}/supervisor.json").read_text())["pid"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(f"{run}/keeper.sock")
        pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)


@contextmanager
def running_short(shortage: Shortage, level: int) -> Iterator[tuple[str, ...]]:
    """The shortage lasts while the body runs, which gets what the command is begun with."""
    with ExitStack() as held:
        held.callback(shortage.lift)
        yield shortage.cut(level)
