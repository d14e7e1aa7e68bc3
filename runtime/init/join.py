"""A further process in a running container (exec): joined by its pidfd, born as the keeper's own child.

Runs in a child forked by the keeper. It enters the container's namespaces by setns(pidfd), clones the process with
CLONE_PARENT and ends. Messages: this process sends Born; the rest is as in `start`, sent by the new process.
Rules: not dumpable until execve (CVE-2016-9962); nothing is imported after setns.
"""

from __future__ import annotations

import errno
import os
from typing import NoReturn

from pycompose.runtime.keeper import messages
from pycompose.runtime.linux import seccomp, syscalls
from pycompose.runtime.spec import Process, Spec

from . import mounts, start


def run(
    process: Process,
    pidfd: int,
    spec: Spec,
    channel: int,
    stdio: tuple[int, int, int],
    cgroup_dirs: tuple[str, ...],
    privileged: bool,
    program: bytes | None = None,
) -> NoReturn:
    """Become a process of the container. `program` is its compiled seccomp filter; a privileged process gets none."""
    start.guarded(channel, lambda: _run(process, pidfd, spec, channel, stdio, cgroup_dirs, privileged, program))


def _run(
    process: Process,
    pidfd: int,
    spec: Spec,
    channel: int,
    stdio: tuple[int, int, int],
    cgroup_dirs: tuple[str, ...],
    privileged: bool,
    program: bytes | None,
) -> NoReturn:
    start.begin("session")
    start.fresh_session()
    start.keep_only((channel, pidfd, *stdio))
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    if privileged:
        program = None
    elif program is None and spec.linux.seccomp is not None:
        bounding = process.capabilities.bounding if process.capabilities else ()
        program = seccomp.compile(spec.linux.seccomp, bounding)
    start.begin("cgroup")
    born_in = enter_cgroups(cgroup_dirs)
    if process.oom_score_adj is not None:
        start.set_oom_score(process.oom_score_adj)
    start.notes.extend(start.wanted_limits(process)[1])
    has_time = os.path.exists("/proc/self/ns/time")
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)  # the host's, which is true
    start.forget_imports()
    start.begin("namespaces")
    # All of them, shared ones too (a container may live in another's network); not the cgroup's, for nobody may
    # enter a group that lies outside his namespace's root; nor the user's, which must not be entered twice.
    flags = 0
    for kind in ("mount", "pid", "network", "uts", "ipc", *(("time",) if has_time else ())):
        flags |= syscalls.CLONE_NEW[kind]
    if any(namespace.type == "user" for namespace in spec.linux.namespaces):
        flags |= syscalls.CLONE_NEW["user"]
    try:
        syscalls.setns(pidfd, flags)
    except OSError as error:
        if error.errno == errno.ESRCH:
            raise start.Failed("namespaces", errno.ESRCH, "the container is not running", 126) from None
        raise
    pid, own = syscalls.clone3(syscalls.CLONE_PARENT, 0, born_in)
    if pid:
        os.close(own)
        os.write(channel, messages.encode(messages.Born(pid)))
        os._exit(0)
    start.begin("namespaces")
    syscalls.setns(pidfd, syscalls.CLONE_NEW["cgroup"])
    start.begin("apparmor")
    start.set_apparmor(process.apparmor_profile, proc)
    os.close(proc)
    os.close(pidfd)
    if born_in is not None:
        os.close(born_in)
    start.begin("session")
    os.setsid()
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    master = slave = -1
    if process.terminal:
        start.begin("terminal")
        root = os.open("/", os.O_PATH | os.O_CLOEXEC)
        master, slave = mounts.terminal(root)
        os.close(root)
    start.begin("ready")
    start.ready(channel, [master] if master >= 0 else [])
    start.take_stdio(stdio, master, slave)
    start.finish(process, channel, program)


def enter_cgroups(folders: tuple[str, ...]) -> int | None:
    """Join the v1 folders now; the v2 one is returned as a descriptor, to be born into.

    Both ways are without the grace period that moving a process takes by way of cgroup.procs.
    """
    unified = None
    for folder in folders:
        try:
            descriptor = os.open(f"{folder}/tasks", os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            try:
                unified = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:  # it ended meanwhile
                raise start.Failed("cgroup", errno.ESRCH, "the container is not running", 126) from None
            continue
        try:
            os.write(descriptor, b"0")
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            raise start.Failed("cgroup", errno.ESRCH, "the container is not running", 126) from None
        finally:
            os.close(descriptor)
    return unified
