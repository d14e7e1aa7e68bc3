"""A further process in a running container (exec, health checks, hooks).

Runs in a child of the keeper, born into the container's control group, which stays outside the container's pid
namespace: there it enters the other namespaces by setns(pidfd), gives up everything that the container may not have,
and becomes the program of `birth`, whose child is the first to stand inside. Messages: see `keeper.messages`.
Rules: nothing is imported after setns; the /proc that is opened is the host's. The order of the steps is their meaning.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import struct
import termios
from dataclasses import replace
from typing import NoReturn

from pycompose.frozen import dataclass
from pycompose.runtime.keeper import messages
from pycompose.runtime.linux import capabilities, syscalls
from pycompose.runtime.policy.cgroup import Cgroup
from pycompose.runtime.spec import Capabilities, Process, Spec

from . import birth, mounts, start

NULL = -1  # instead of a descriptor: the container's own /dev/null
FREE = 10  # descriptors from here on are in nobody's way


@dataclass(frozen=True, slots=True)
class Joining:
    """`stdio` are made for it, or NULL; `size` (rows, columns) is a terminal's, which takes their place.

    `program` is the container's compiled seccomp filter; without it, it is compiled here.
    """

    process: Process
    spec: Spec
    pidfd: int
    stdio: tuple[int, int, int]
    cgroup: Cgroup | None
    devices: str  # the controller that holds its devices, whose group must be joined; "" if none does
    program: bytes | None
    outcome: int  # descriptor of the file where the birth is told
    size: tuple[int, int] = (0, 0)


def privileged(process: Process) -> Process:
    """The process as `exec --privileged` and privileged hooks run it: with all capabilities, and nothing else changed.

    Filter, AppArmor profile, masked paths and devices stay the container's, as with Docker: moby, daemon/exec_linux.go.
    """
    names = capabilities.NAMES
    return replace(process, capabilities=Capabilities(bounding=names, effective=names, permitted=names))


def run(wanted: Joining, channel: int) -> NoReturn:
    """Have the process born, and end. What goes wrong before is told on the channel; then see `birth.birth_of`."""
    channel, pidfd, program = (
        fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FREE) for fd in (channel, wanted.pidfd, birth.sealed())
    )
    stdio = [fd if fd < 0 else fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FREE) for fd in wanted.stdio]
    os.dup2(wanted.outcome, birth.OUTCOME)
    start.guarded(channel, lambda: _run(wanted, channel, pidfd, program, stdio))


def _run(wanted: Joining, channel: int, pidfd: int, program: int, stdio: list[int]) -> NoReturn:
    process, spec = wanted.process, wanted.spec
    start.begin("session")
    start.fresh_session()
    start.keep_only((birth.OUTCOME, channel, pidfd, program, *stdio))
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    start.join_keyring(spec)
    filter_program = start.compiled_filter(spec, wanted.program)
    start.begin("cgroup")
    if wanted.cgroup:
        try:
            wanted.cgroup.join(wanted.devices)
        except OSError as error:
            raise _not_running(error, errno.ENODEV, errno.ENOENT) from None
    if process.oom_score_adj is not None:
        start.set_oom_score(process.oom_score_adj)
    has_time = os.path.exists("/proc/self/ns/time")
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)  # the host's, which is true
    start.forget_imports()

    start.begin("namespaces")
    _enter(pidfd, spec, has_time)
    os.close(pidfd)
    start.begin("apparmor")
    start.set_apparmor(process.apparmor_profile, proc)
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    master = slave = -1
    if process.terminal:
        start.begin("terminal")
        master, slave = mounts.terminal(root)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *wanted.size, 0, 0))
        stdio = [slave, slave, slave]
        with socket.socket(fileno=os.dup(channel)) as talk:
            messages.send(talk, messages.FirstReady(), [master])
        os.close(master)
    start.begin("streams")
    for number, descriptor in enumerate(stdio):
        os.dup2(_null(root, proc) if descriptor == NULL else descriptor, number)
    os.close(root)
    os.close(proc)

    start.be_born(process, filter_program, program, make_folder=False)


def _enter(pidfd: int, spec: Spec, has_time: bool) -> None:
    """All namespaces of the container, shared ones too; the pid namespace is its children's alone."""
    flags = syscalls.CLONE_NEW["cgroup"]  # this process is in a group below its root
    for kind in ("mount", "pid", "network", "uts", "ipc", *(("time",) if has_time else ())):
        flags |= syscalls.CLONE_NEW[kind]
    if any(namespace.type == "user" for namespace in spec.linux.namespaces):  # it must not be entered twice
        flags |= syscalls.CLONE_NEW["user"]
    try:
        syscalls.setns(pidfd, flags)
    except OSError as error:
        raise _not_running(error, errno.ESRCH) from None


def _not_running(error: OSError, *numbers: int) -> Exception:
    """What a failure means: with these numbers, that the container has ended meanwhile."""
    return start.Failed("exec", errno.ESRCH, "the container is not running", 126) if error.errno in numbers else error


def _null(root: int, proc: int) -> int:
    """The container's own /dev/null; `proc` is the host's, through which what was looked at is opened."""
    safe = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS
    try:
        place = syscalls.openat2(root, "/dev/null", os.O_PATH | os.O_NOFOLLOW, safe)
    except OSError as error:
        raise start.Failed("streams", error.errno or 0, f"the container's /dev/null: {error.strerror}", 126) from None
    kind = os.fstat(place)
    if not stat.S_ISCHR(kind.st_mode) or kind.st_rdev != os.makedev(1, 3):
        raise start.Failed("streams", errno.ENODEV, "the container's /dev/null is not the null device", 126)
    opened = os.open(f"self/fd/{place}", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=proc)
    os.close(place)
    return opened
