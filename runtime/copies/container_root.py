"""The root of a container as the container sees it, with all that is mounted in it, as one descriptor.

A running one's is its first process's. A stopped one's is mounted again, with its volumes and binds, in a mount
namespace that a child of ours holds while the caller looks; in place of each tmpfs lies an empty folder that nobody can
write to, for what is put there would be gone at the next start.
Rules: what lies below the descriptor is somebody else's: it is walked by openat2 in the root, and no link of procfs is
followed. Nobody starts a stopped container meanwhile: the caller has the project's lock. Synchronous; it forks.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pycompose.runtime import spec
from pycompose.runtime.files.descent import read_regular
from pycompose.runtime.init import host_root, mounts, rootfs, users
from pycompose.runtime.linux import syscalls

from .copy_errors import CopyFailed

INSIDE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_KERNELS_OWN = ("proc", "sysfs", "cgroup", "devpts", "mqueue")  # nothing of them outlives the container


@contextmanager
def running_root(pid: int) -> Iterator[int]:
    """Of the container whose first process is `pid`. Raises CopyFailed where it has ended."""
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise CopyFailed("the container has ended just now", hint="try again") from error
    try:
        yield root
    finally:
        os.close(root)


@contextmanager
def stopped_root(folder: str) -> Iterator[int]:
    """Of the stopped container whose records lie in `folder`. Raises CopyFailed, OSError."""
    with open(f"{folder}/bundle.json", "rb") as file:
        bundle = spec.from_json(spec.Bundle, file.read())
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        ours.close()
        _hold(theirs, bundle)
    theirs.close()
    try:
        message, descriptors, _, _ = socket.recv_fds(ours, 1 << 12, 1)
        if not descriptors:
            raise CopyFailed(f"the container's files cannot be mounted: {message.decode('utf-8', 'replace')}")
        try:
            yield descriptors[0]
        finally:
            os.close(descriptors[0])
    finally:
        ours.close()
        os.waitpid(child, 0)


def _hold(channel: socket.socket, bundle: spec.Bundle) -> None:
    """Be the child: mount, hand the root over, and stay until the other side has what it wants. Never returns."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller ends first, and with it the channel
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            root = _mounted(bundle)
        except Exception as error:
            channel.send(str(error).encode()[:4000] or b"?")
        else:
            socket.send_fds(channel, [b"root"], [root])
            channel.recv(1)
    finally:
        os._exit(0)


def _mounted(bundle: spec.Bundle) -> int:
    syscalls.unshare(syscalls.CLONE_NEW["mount"])
    os.umask(0)
    syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    readonly = bundle.spec.root_readonly
    if isinstance(bundle.root, spec.HostRoot):
        root = host_root.attach(bundle.root, readonly)
    else:
        root = rootfs.attach(bundle.root)
    for mount in bundle.spec.mounts:
        if mount.type in _KERNELS_OWN:
            continue
        if mount.type == "tmpfs":
            with suppress(OSError):  # its place is made by the next start
                target = mounts.open_in(root, mount.destination, os.O_PATH | os.O_DIRECTORY)
                empty = rootfs.empty()
                syscalls.move_mount(empty, target, mount.destination)
                os.close(empty)
                os.close(target)
            continue
        mounts.perform(root, mount, devices=False)
    if readonly:
        syscalls.mount_setattr(root, False, syscalls.ATTR_RDONLY)
    return root


def owner(root: int, folder: str) -> tuple[int, int] | None:
    """The user and group of the container's process, where it has one of its own. Raises CopyFailed, OSError."""
    with open(f"{folder}/bundle.json", "rb") as file:
        user = spec.from_json(spec.Bundle, file.read()).spec.process.user
    name = user.username or (f"{user.uid}:{user.gid}" if user.uid or user.gid else "")
    if not name or name == "0":
        return None
    try:
        who = users.resolve(_read(root, "/etc/passwd"), _read(root, "/etc/group"), name)
    except users.UserError as error:
        raise CopyFailed(str(error)) from error
    return who.uid, who.gid


def _read(root: int, path: str) -> bytes:
    try:
        entry = syscalls.openat2(root, path, os.O_PATH, INSIDE)
    except OSError:
        return b""
    try:
        return read_regular(entry, users.LARGEST)
    except OSError:
        return b""
    finally:
        os.close(entry)
