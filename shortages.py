"""Shortages of a machine in words: errors of the system as a reason, and what to try.

A full disk, inodes, descriptors, processes, memory: whoever meets one of them says so by `reason` and `hint`, and
nobody else spells them. Rules: decided by errno and class, never by an error's words. Standard library only, for the
keeper imports it. It catches nothing.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping

FULL = (errno.ENOSPC, errno.EDQUOT)
NO_SOCKET = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)  # what accept(2) says of a machine, not of a peer
PAUSE = 0.1  # seconds until whoever accepts tries again: nothing tells when there is a descriptor again

_DISK = "make room there: `df -h` tells which disk is full, `df -i` which has no inodes left"
_HINTS: Mapping[int, str] = {
    errno.ENOSPC: _DISK,
    errno.EDQUOT: _DISK,
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENFILE: "this machine has no open files left: raise fs.file-max",
    errno.ENOMEM: "memory has run out, of the machine or of a control group: free some, and try again",
    errno.ENOBUFS: "memory has run out, of the machine or of a control group: free some, and try again",
    errno.EAGAIN: "no process or thread can be begun: see pids.max of the control group, `ulimit -u`, kernel.pid_max",
    errno.EUSERS: "raise user.max_net_namespaces and its kin (`sysctl -a | grep user.max_`)",
}


def number(error: BaseException) -> int:
    """The errno of what is short; 0 where the error, or one of a group, is of another kind."""
    if isinstance(error, BaseExceptionGroup):
        numbers = [number(one) for one in error.exceptions]
        return numbers[0] if all(numbers) else 0
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if isinstance(error, RuntimeError) and _began_a_thread(error):
        return errno.EAGAIN
    if isinstance(error, ImportError) and (error.path or "").endswith(".so"):
        return errno.ENOMEM  # a library of the interpreter's own that is there and cannot be mapped
    return error.errno if isinstance(error, OSError) and error.errno in _HINTS else 0


def reason(error: BaseException) -> str:
    """The error without numbers and classes: the file that it is about, if it names one, and why.

    Names of system calls, which some errors have in place of a file, are left out.
    """
    if isinstance(error, BaseExceptionGroup) and number(error):
        return reason(error.exceptions[0])
    if isinstance(error, OSError) and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}" if _is_path(error.filename) else error.strerror
    if (short := number(error)) and not isinstance(error, ImportError):
        return os.strerror(short)
    return str(error) or type(error).__name__


def hint(number: int) -> str:
    """What to try against an errno; "" where there is no shortage."""
    return _HINTS.get(number, "")


def _is_path(name: object) -> bool:
    return isinstance(name, str | bytes) and "/" in os.fsdecode(name)


def _began_a_thread(error: RuntimeError) -> bool:
    """CPython has no class and no number for a thread that the system refuses, but only `Thread.start` raises it."""
    trace, threading = error.__traceback__, sys.modules.get("threading")  # which the keeper does without
    while threading and trace and trace.tb_frame.f_code is not threading.Thread.start.__code__:
        trace = trace.tb_next
    return bool(threading and trace)
