"""Ends of processes that are not our children, as far as the kernel tells them. Standard library only."""

from __future__ import annotations

import fcntl
import os
import struct

GET_INFO = 3 << 30 | 64 << 16 | 0xFF << 8 | 11  # PIDFD_GET_INFO (linux/pidfd.h)
INFO_EXIT = 1 << 3


def exit_code(pid: int, pidfd: int = -1, start_time: int = 0) -> int | None:
    """The code of a process that has ended, as a shell gives it (128 + n for a signal); None where nobody can tell.

    A zombie's is in /proc (man 5 proc_pid_stat, field 52), whoever its parent is; one that was reaped is told by a
    pidfd from before (Linux 6.15). `start_time` (field 22) guards against a number that was given to another process.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        if fields[0] == b"Z" and (not start_time or int(fields[19]) == start_time):
            return as_code(int(fields[49]))
    except OSError:
        pass
    if pidfd < 0:
        return None
    info = bytearray(struct.pack("Q", INFO_EXIT).ljust(64, b"\0"))
    try:
        fcntl.ioctl(pidfd, GET_INFO, info)
    except OSError:
        return None
    if not struct.unpack_from("Q", info)[0] & INFO_EXIT:
        return None
    return as_code(struct.unpack_from("i", info, 60)[0])


def as_code(status: int) -> int:
    """A wait status as a shell's exit code."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
