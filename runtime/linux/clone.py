"""The birth of a container's first process: one clone3 that makes its namespaces and puts it into its cgroup.

For a process with one thread only (the keeper). The cgroup namespace is not made here: the kernel would root it at the
keeper's cgroup (copy_cgroup_ns looks at the parent), so `start` unshares it in the child.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterable

from . import syscalls


def clone_container(
    namespaces: Iterable[str], cgroup_fd: int | None = None, pid_namespace: int | None = None
) -> tuple[int, int]:
    """(pid, pidfd) in the parent, (0, -1) in the child.

    `namespaces` are the types to make new; `pid_namespace` is the descriptor of an existing one to be born into, for
    kernels that cannot do better (`Container.start`).
    """
    flags = 0
    for kind in namespaces:
        if kind != "cgroup":
            flags |= syscalls.CLONE_NEW[kind]
    home = -1
    if pid_namespace is not None:
        home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        syscalls.setns(pid_namespace, syscalls.CLONE_NEW["pid"])
    pid = -1
    try:
        pid, pidfd = syscalls.clone3(flags, signal.SIGCHLD, cgroup_fd)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise OSError(errno.EUSERS, "the kernel makes no more namespaces") from error  # man 7 namespaces: no disk
    finally:
        if home >= 0:
            if pid != 0:  # the child is born into it and stays
                syscalls.setns(home, syscalls.CLONE_NEW["pid"])
            os.close(home)
    return pid, pidfd
