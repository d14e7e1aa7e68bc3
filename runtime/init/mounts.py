"""Mounts, device nodes and masks of a container, from descriptor to descriptor.

Rules: `root` is the descriptor of the container's root; a path in it is opened by openat2(RESOLVE_IN_ROOT) and then
only the descriptor is used (CVE-2021-30465, CVE-2025-31133, CVE-2025-52565). Nothing here opens a path of the
container's /proc.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from contextlib import suppress

from pycompose.runtime.files.descent import open_beneath
from pycompose.runtime.linux import syscalls
from pycompose.runtime.spec import DeviceNode, Mount

from . import rootfs

_ATTRIBUTES = {
    "ro": syscalls.ATTR_RDONLY,
    "nosuid": syscalls.ATTR_NOSUID,
    "nodev": syscalls.ATTR_NODEV,
    "noexec": syscalls.ATTR_NOEXEC,
    "nosymfollow": syscalls.ATTR_NOSYMFOLLOW,
    "nodiratime": syscalls.ATTR_NODIRATIME,
    "noatime": syscalls.ATTR_NOATIME,
    "strictatime": syscalls.ATTR_STRICTATIME,
}
_CLEARED = {
    "rw": syscalls.ATTR_RDONLY,
    "suid": syscalls.ATTR_NOSUID,
    "dev": syscalls.ATTR_NODEV,
    "exec": syscalls.ATTR_NOEXEC,
}
_PROPAGATION = {
    "private": syscalls.MS_PRIVATE,
    "slave": syscalls.MS_SLAVE,
    "shared": syscalls.MS_SHARED,
    "unbindable": syscalls.MS_UNBINDABLE,
}
_IGNORED = frozenset(
    ["bind", "rbind", "defaults", "relatime", "rrelatime", "async", "atime", "mand", "nomand", "diratime", "tmpcopyup"]
)
SUBPATH = "x-subpath="  # of a bind, relative to its source
BENEATH = "x-beneath="  # of a bind, a folder that its source lies in: no link on the way from there may lead out
# What lxcfs may put into /proc; nothing else may lie there (CVE-2019-16884, CVE-2025-52881).
_IN_PROC = frozenset(["cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo"])


def open_in(root: int, path: str, flags: int = os.O_PATH) -> int:
    return syscalls.openat2(root, path, flags, syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS)


def make_folder(root: int, path: str, mode: int = 0o755, links: int = 40) -> int:
    """Open a folder of the root, making what is missing, component by component."""
    try:
        return open_in(root, path, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        pass
    parent, name = os.path.split(path.rstrip("/"))
    folder = make_folder(root, parent or "/", mode, links)
    try:
        os.mkdir(name, mode, dir_fd=folder)
    except FileExistsError:
        with suppress(OSError):  # a symlink to what is not there yet: that is made, still inside the root
            target = os.readlink(name, dir_fd=folder)
            if links:
                os.close(make_folder(root, os.path.join(parent or "/", target), mode, links - 1))
    finally:
        os.close(folder)
    return open_in(root, path, os.O_PATH | os.O_DIRECTORY)


def make_file(root: int, path: str) -> int:
    """Open the place of a file, making an empty one (and its folders) where nothing is."""
    try:
        return open_in(root, path)
    except FileNotFoundError:
        pass
    parent, name = os.path.split(path)
    folder = make_folder(root, parent or "/")
    try:
        os.close(
            os.open(name, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=folder)
        )
    except FileExistsError:
        pass
    finally:
        os.close(folder)
    return open_in(root, path)


def check(mounts: tuple[Mount, ...]) -> None:
    """Refuse what would put a fake /proc before us, before anything is mounted. Raises OSError."""
    for mount in mounts:
        path = os.path.normpath("/" + mount.destination)
        path = path.replace("//", "/")
        if path == "/":
            raise OSError(errno.EINVAL, "a mount cannot replace the root", mount.destination)
        if path == "/proc" and mount.type != "proc" and not (mount.source == "/proc" and mount.type == "bind"):
            raise OSError(errno.EINVAL, "only procfs may be mounted here", mount.destination)
        if path.startswith("/proc/") and path[6:] not in _IN_PROC:
            raise OSError(errno.EINVAL, "nothing may be mounted inside /proc", mount.destination)


def perform(root: int, mount: Mount, devices: bool = True) -> None:
    """Make one mount. Without `devices` no device is opened through it, or through a mount below it."""
    options = set(mount.options)
    bind = mount.type == "bind" or options & {"bind", "rbind"}
    if mount.type == "cgroup":
        _mount_cgroup(root, mount)
        return
    add = clear = propagation = 0
    recursive_add = 0 if devices or mount.type == "devpts" else syscalls.ATTR_NODEV
    strings = []
    for option in mount.options:
        if option in _ATTRIBUTES:
            add |= _ATTRIBUTES[option]
        elif option in _CLEARED:
            clear |= _CLEARED[option]
        elif option.removeprefix("r") in _PROPAGATION:
            propagation = _PROPAGATION[option.removeprefix("r")]
        elif option.startswith("r") and option[1:] in _ATTRIBUTES:
            recursive_add |= _ATTRIBUTES[option[1:]]
        elif option not in _IGNORED and not option.startswith((SUBPATH, BENEATH)):
            strings.append(option)
    if bind:
        flags = syscalls.OPEN_TREE_CLONE | (0 if "bind" in options else syscalls.AT_RECURSIVE)
        tree = _source(mount, flags)
        folder = stat.S_ISDIR(os.fstat(tree).st_mode)
        clear |= syscalls.ATTR_ATIME if add & syscalls.ATTR_ATIME else 0
        if add or clear:
            syscalls.mount_setattr(tree, False, add, clear)
    else:
        if mount.type == "tmpfs" and not any(item.startswith("mode=") for item in strings):
            with suppress(FileNotFoundError):  # it looks as the folder that it covers
                covered = open_in(root, mount.destination)
                strings.append(f"mode={stat.S_IMODE(os.fstat(covered).st_mode):o}")
                os.close(covered)
        tree = _filesystem(mount.type, mount.source, strings, add)
        folder = True
    try:
        if recursive_add:
            syscalls.mount_setattr(tree, True, recursive_add)
        put(root, mount.destination, tree, folder)
        if propagation:
            syscalls.mount_setattr(tree, True, 0, 0, propagation)
    finally:
        os.close(tree)


def takes_pid_namespace() -> bool:
    """Whether a procfs can be made for a pid namespace in which its maker is not (Linux 6.17)."""
    context = syscalls.fsopen("proc")
    try:
        syscalls.fsconfig_string(context, "pidns", "/proc/self/ns/pid")
    except OSError:
        return False
    finally:
        os.close(context)
    return True


def _source(mount: Mount, flags: int) -> int:
    """A clone of what a bind's source is. Links in it may be a container's: a subpath is found inside the source, and a
    source of a project's folder is looked for now, whatever it was when the container was made."""
    inner = next((option.removeprefix(SUBPATH) for option in mount.options if option.startswith(SUBPATH)), "")
    top = next((option.removeprefix(BENEATH) for option in mount.options if option.startswith(BENEATH)), "")
    if not inner and not top:
        return syscalls.open_tree(syscalls.AT_FDCWD, mount.source, flags)
    outer = open_beneath(top, mount.source) if top else os.open(mount.source, os.O_PATH | os.O_CLOEXEC)
    try:
        if not inner:
            return syscalls.open_tree(outer, "", flags | syscalls.AT_EMPTY_PATH)
        place = open_in(outer, inner)
        try:
            return syscalls.open_tree(place, "", flags | syscalls.AT_EMPTY_PATH)
        finally:
            os.close(place)
    finally:
        os.close(outer)


def put(root: int, path: str, tree: int, folder: bool = True) -> None:
    """Attach a detached mount at a path of the root, which is made if it is missing."""
    target = _target(root, path, folder)
    try:
        syscalls.move_mount(tree, target, path)
    finally:
        os.close(target)


def _target(root: int, path: str, folder: bool) -> int:
    # The places of the kernel's own file systems are plain folders: a symlink there is refused (CVE-2026-41579).
    if os.path.normpath(path) in ("/proc", "/sys", "/dev"):
        os.close(make_folder(root, path))
        return syscalls.openat2(
            root,
            path,
            os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW,
            syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS,
        )
    target = make_folder(root, path) if folder else make_file(root, path)
    if not path.startswith("/proc/"):
        try:
            proc = open_in(root, "/proc")
        except FileNotFoundError:
            return target
        same = os.fstat(proc).st_dev == os.fstat(target).st_dev and os.fstat(proc).st_dev != os.fstat(root).st_dev
        os.close(proc)
        if same:
            os.close(target)
            raise OSError(errno.EINVAL, "the path leads into /proc", path)
    return target


def _filesystem(kind: str, source: str, options: list[str], attributes: int) -> int:
    context = syscalls.fsopen(kind)
    try:
        if source:
            syscalls.fsconfig_string(context, "source", source)
        for option in options:
            key, equals, value = option.partition("=")
            if equals:
                syscalls.fsconfig_string(context, key, value)
            else:
                syscalls.fsconfig_flag(context, key)
        syscalls.fsconfig_create(context, kind)
        return syscalls.fsmount(context, attributes, kind)
    finally:
        os.close(context)


def _mount_cgroup(root: int, mount: Mount) -> None:
    """cgroup2, or each v1 hierarchy of the host under a small tmpfs; rooted at the cgroup namespace."""
    attributes = syscalls.ATTR_NOSUID | syscalls.ATTR_NODEV | syscalls.ATTR_NOEXEC
    if "ro" in mount.options:
        attributes |= syscalls.ATTR_RDONLY
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        try:
            tree = _filesystem("cgroup2", "cgroup", [], attributes)
        except PermissionError:  # inside another container
            tree = rootfs.empty()
        target = make_folder(root, mount.destination)
        syscalls.move_mount(tree, target, mount.destination)
        os.close(target)
        os.close(tree)
        return
    top = _filesystem("tmpfs", "tmpfs", ["mode=755", "size=4k"], attributes & ~syscalls.ATTR_RDONLY)
    target = make_folder(root, mount.destination)
    syscalls.move_mount(top, target, mount.destination)
    os.close(target)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        rows = [line.split(" - ", 1) for line in table]
    for left, right in rows:
        place, (kind, _, options) = left.split()[4], right.split(maxsplit=2)
        if not place.startswith("/sys/fs/cgroup/") or kind not in ("cgroup", "cgroup2"):
            continue
        name = os.path.basename(place)
        wanted = [item for item in options.strip().split(",") if item not in ("rw", "ro")] if kind == "cgroup" else []
        try:
            tree = _filesystem(kind, "cgroup", wanted, attributes)
        except OSError:
            continue  # a hierarchy that cannot be had from here is left out
        os.mkdir(name, 0o555, dir_fd=top)
        folder = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
        syscalls.move_mount(tree, folder, place)
        os.close(folder)
        os.close(tree)
    if attributes & syscalls.ATTR_RDONLY:
        syscalls.mount_setattr(top, False, syscalls.ATTR_RDONLY)
    os.close(top)


_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def devices(root: int, nodes: tuple[DeviceNode, ...]) -> None:
    """Nodes and the usual links of /dev, which is a fresh tmpfs by now (umask is 0)."""
    for node in nodes:
        parent, name = os.path.split(node.path)
        folder = make_folder(root, parent)
        number = os.makedev(node.major, node.minor)
        try:
            os.mknod(name, _KINDS[node.type] | node.file_mode, number, dir_fd=folder)
            os.chown(name, node.uid, node.gid, dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            pass
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        os.close(folder)
        if stat.S_IFMT(status.st_mode) != _KINDS[node.type] or (node.type != "p" and status.st_rdev != number):
            raise OSError(errno.EEXIST, "something else is in the device's place", node.path)
    _device_links(root)


def bound_devices(root: int, nodes: tuple[DeviceNode, ...], stock: int) -> None:
    """The same where no device is opened through /dev's own mount: each node is one of the stock's, bound read-only."""
    for number, node in enumerate(nodes):
        name = f"node{number}"
        os.mknod(name, _KINDS[node.type] | node.file_mode, os.makedev(node.major, node.minor), dir_fd=stock)
        os.chown(name, node.uid, node.gid, dir_fd=stock, follow_symlinks=False)
        tree = _taken(stock, name)
        put(root, node.path, tree, folder=False)
        os.close(tree)
    _device_links(root)


def _device_links(root: int) -> None:
    folder = make_folder(root, "/dev")
    links = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "core": "/proc/kcore"}
    for name, target in links.items():
        target = target if target.startswith("/") else "/proc/self/" + target
        with suppress(FileExistsError):
            os.symlink(target, name, dir_fd=folder)
    with suppress(FileExistsError):
        os.symlink("pts/ptmx", "ptmx", dir_fd=folder)
    os.close(folder)


def terminal(root: int) -> tuple[int, int]:
    """(master, slave) of a new terminal in the container's own devpts (CVE-2025-52565)."""
    master = syscalls.openat2(
        root,
        "/dev/pts/ptmx",
        os.O_RDWR | os.O_NOCTTY | os.O_NOFOLLOW,
        syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS,
    )
    status = os.fstat(master)
    if status.st_ino != 2 or status.st_rdev != os.makedev(5, 2):
        raise OSError(errno.ENOTTY, "not a terminal multiplexer", "/dev/pts/ptmx")
    fcntl.ioctl(master, 0x40045431, struct.pack("i", 0))  # TIOCSPTLCK
    slave = fcntl.ioctl(master, 0x5441, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)  # TIOCGPTPEER
    return master, slave


def console(root: int, slave: int) -> None:
    os.close(make_file(root, "/dev/console"))
    beneath = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS
    target = syscalls.openat2(root, "/dev/console", os.O_PATH | os.O_NOFOLLOW, beneath)
    tree = syscalls.open_tree(slave, "", syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH)
    syscalls.move_mount(tree, target, "/dev/console")
    os.close(tree)
    os.close(target)


def make_stock() -> int:
    """A small file system of the container's own, for what hides paths of it: `null` and an empty `folder`.

    Nothing of the host's is lent for that: a mode set through a mask would be the host's too. It is mounted over the
    host's /dev, which is looked at no more, because only what is attached can be bound elsewhere; it goes with the
    host's tree.
    """
    stock = rootfs.memory("0755", syscalls.ATTR_NOSUID | syscalls.ATTR_NOEXEC)
    os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3), dir_fd=stock)
    os.mkdir("folder", 0o555, dir_fd=stock)
    rootfs.attach_at(stock, "/dev")
    return stock


def _taken(stock: int, name: str) -> int:
    """A read-only mount of one thing in the stock."""
    tree = syscalls.open_tree(stock, name, syscalls.OPEN_TREE_CLONE)
    syscalls.mount_setattr(tree, False, syscalls.ATTR_RDONLY)
    return tree


def open_null(root: int, stock: int) -> int:
    """A null device of the container's own: that of its /dev, by which programs know it, or the stock's.

    What lies in the place of /dev/null by the file's own words (a bind) is not taken: it may be the host's.
    """
    folder = open_in(root, "/dev", os.O_PATH | os.O_NOFOLLOW)
    try:
        place = os.open("null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        status = os.fstat(place)
        ours = status.st_dev in (os.fstat(folder).st_dev, os.fstat(stock).st_dev)
        path = f"/proc/self/fd/{place}" if ours and status.st_rdev == os.makedev(1, 3) else ""
        null = os.open(path, os.O_RDWR | os.O_CLOEXEC) if path else -1
        os.close(place)
    except FileNotFoundError:
        null = -1
    finally:
        os.close(folder)
    return null if null >= 0 else stock_null(stock)


def stock_null(stock: int) -> int:
    return os.open("null", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=stock)


def mask(root: int, paths: tuple[str, ...], stock: int) -> None:
    """Hide files behind a null device and folders behind an empty one, both of the container's own and read-only."""
    for path in paths:
        try:
            target = open_in(root, path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        tree = _taken(stock, "folder" if stat.S_ISDIR(os.fstat(target).st_mode) else "null")
        syscalls.move_mount(tree, target, path)
        os.close(tree)
        os.close(target)


def read_only(root: int, paths: tuple[str, ...]) -> None:
    for path in paths:
        try:
            target = open_in(root, path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        tree = syscalls.open_tree(target, "", syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH | syscalls.AT_RECURSIVE)
        syscalls.mount_setattr(tree, True, syscalls.ATTR_RDONLY)
        syscalls.move_mount(tree, target, path)
        os.close(tree)
        os.close(target)


def shared_memory(namespace: int) -> int:
    """The /dev/shm of another container, as a detached mount; `namespace` is its mount namespace."""
    home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(namespace, syscalls.CLONE_NEW["mount"])
        place = syscalls.openat2(
            syscalls.AT_FDCWD, "/dev/shm", os.O_PATH | os.O_DIRECTORY, syscalls.RESOLVE_NO_SYMLINKS
        )
        tree = syscalls.open_tree(place, "", syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH)
        os.close(place)
    finally:
        syscalls.setns(home, syscalls.CLONE_NEW["mount"])
        os.close(home)
    return tree
