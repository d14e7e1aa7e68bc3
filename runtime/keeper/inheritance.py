"""Inheritance of a keeper: none, as if the first process of the machine had started it, whoever called.

Containers and helpers are forked from the keeper, so that what it keeps of its caller they keep too, for their life:
`as_if_by_init` takes all of it away. The environment is cut down before, when the keeper is spawned (`launch`),
for the kernel shows for ever what a process began with.
What it does not do: take back what the kernel lets nobody take back (no_new_privs, seccomp filters, a smaller bounding
set), nor leave the caller's namespaces and root folder, which are where the caller wants the project to be.
Single-threaded and before anything else runs; standard library only.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress

from pycompose.log_lines import note
from pycompose.runtime.linux import syscalls

_ENDLESS, _MIB = resource.RLIM_INFINITY, 1 << 20
INR_OPEN_MAX = 4096  # linux/fs.h: the hard limit of descriptors that every machine begins with
# (soft, hard) as in a container of Docker's: the kernel's own, and what its unit file and systemd raise.
LIMITS: Mapping[int, tuple[int, int]] = {
    resource.RLIMIT_CPU: (_ENDLESS, _ENDLESS),
    resource.RLIMIT_FSIZE: (_ENDLESS, _ENDLESS),
    resource.RLIMIT_DATA: (_ENDLESS, _ENDLESS),
    resource.RLIMIT_STACK: (8 * _MIB, _ENDLESS),
    resource.RLIMIT_CORE: (_ENDLESS, _ENDLESS),
    resource.RLIMIT_RSS: (_ENDLESS, _ENDLESS),
    resource.RLIMIT_NPROC: (_ENDLESS, _ENDLESS),
    resource.RLIMIT_NOFILE: (1 << 20, 1 << 20),
    resource.RLIMIT_MEMLOCK: (8 * _MIB, 8 * _MIB),
    resource.RLIMIT_AS: (_ENDLESS, _ENDLESS),
    10: (_ENDLESS, _ENDLESS),  # RLIMIT_LOCKS, which Python does not name
    resource.RLIMIT_MSGQUEUE: (819200, 819200),
    resource.RLIMIT_NICE: (0, 0),
    resource.RLIMIT_RTPRIO: (0, 0),
    15: (_ENDLESS, _ENDLESS),  # RLIMIT_RTTIME
}
_NAMES = {getattr(resource, n): n.removeprefix("RLIMIT_").lower() for n in sorted(dir(resource)) if "RLIMIT_" in n}
_NAMES[resource.RLIMIT_NOFILE] = "nofile"  # BSD's name of it is OFILE


def as_if_by_init(kept: Iterable[int]) -> None:
    """Keep nothing of who started this process, but descriptors 0 to 2 and those in `kept`.

    What may not be undone on this machine stays, limits with a note.
    """
    keep_only(kept)
    os.chdir("/")
    os.umask(0o022)
    for number in range(1, 65):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            syscalls.default_signal(number)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _identity()
    _scheduling()
    _attributes()
    _limits()


def keep_only(kept: Iterable[int]) -> None:
    """Close every descriptor above 2 that is not in `kept` (CVE-2024-21626)."""
    first = 3
    for descriptor in sorted({item for item in kept if item > 2}):
        syscalls.close_range(first, descriptor - 1)
        first = descriptor + 1
    syscalls.close_range(first, 2**32 - 1)


def _identity() -> None:
    """Root's own groups: those of `sg`, or of a set-uid program, would own what is made from now on."""
    if os.geteuid() == 0:
        with suppress(PermissionError):  # in a user namespace that denies setgroups
            os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)


def _scheduling() -> None:
    """SCHED_OTHER with nice 0, on every CPU, without classes of I/O or memory policies."""
    # Setting what is set already would give up the processor for a turn.
    ordinary = os.sched_getscheduler(0) == os.SCHED_OTHER and os.getpriority(os.PRIO_PROCESS, 0) == 0
    for step in (
        *(() if ordinary else (syscalls.default_scheduling,)),
        lambda: os.sched_setaffinity(0, range(8192)),  # NR_CPUS at most; the kernel drops those that are not there
        lambda: syscalls.ioprio_set(0),
        syscalls.default_memory_policy,
    ):
        with suppress(OSError):
            step()


def _attributes() -> None:
    """What fork and execve hand on: man 2 personality, PR_* of linux/prctl.h, proc(5), keyrings(7)."""
    syscalls.personality(0)
    for option, value in (
        (syscalls.PR_SET_TIMERSLACK, 50_000),  # nanoseconds; 0 would mean the caller's
        (syscalls.PR_SET_SECUREBITS, 0),
        (syscalls.PR_MCE_KILL, 0),
        (syscalls.PR_SET_THP_DISABLE, 0),
        (syscalls.PR_SET_IO_FLUSHER, 0),
        (syscalls.PR_SET_MEMORY_MERGE, 0),
    ):
        with suppress(OSError):
            syscalls.prctl(option, value)
    with suppress(OSError):
        syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    with suppress(OSError):
        syscalls.join_session_keyring(None)
    for name, text in (("oom_score_adj", "0"), ("coredump_filter", "0x33")):
        with suppress(OSError), open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _limits() -> None:
    limits = dict(LIMITS)
    with suppress(OSError):  # the kernel reckons it from the machine's memory
        limits[resource.RLIMIT_SIGPENDING] = resource.prlimit(1, resource.RLIMIT_SIGPENDING)
    lowered = []
    for kind, (soft, hard) in limits.items():
        try:
            resource.setrlimit(kind, (soft, hard))
        except (OSError, ValueError):  # raising takes CAP_SYS_RESOURCE
            most = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (most if soft == _ENDLESS or soft > most else soft, most))
            lowered.append(f"{_NAMES.get(kind, kind)} {most}")
    if lowered:
        note(f"limits of whoever started this, for raising them takes CAP_SYS_RESOURCE: {', '.join(lowered)}")


def lowered(first: int = 1) -> tuple[str, ...]:
    """Name and value of each hard limit that a caller had lowered and that cannot be raised again: below `LIMITS`, the
    kernel's own start and what the machine's first process has. What that one lacks too is nobody's doing."""
    names = []
    for kind, (_, wanted) in LIMITS.items():
        with suppress(OSError):  # its limits are not shown to everybody
            usual = INR_OPEN_MAX if kind == resource.RLIMIT_NOFILE else wanted
            most = min(_above_all(usual), _above_all(resource.prlimit(first, kind)[1]))
            if (hard := resource.getrlimit(kind)[1]) != _ENDLESS and hard < most:
                names.append(f"{_NAMES.get(kind, kind)} {hard}")
    return tuple(names)


def _above_all(limit: int) -> float:
    return float("inf") if limit == _ENDLESS else limit
