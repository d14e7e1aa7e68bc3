"""The container's root as one detached mount: an overlay of layers, of the host itself, or a folder.

Done in the container's own mount namespace, before anything of the image is looked at.
Rule: what is returned is a descriptor.
"""

from __future__ import annotations

import os
import re

from pycompose.runtime.files.descent import FOLDER
from pycompose.runtime.files.union import merge
from pycompose.runtime.linux import syscalls
from pycompose.runtime.spec import FolderRoot, HostRoot, LayeredRoot, RootFilesystem

# File systems that live on a disk (or are one to the programs on it); everything else is made fresh or left empty.
DISKS = frozenset(
    [
        "ext2",
        "ext3",
        "ext4",
        "xfs",
        "btrfs",
        "f2fs",
        "zfs",
        "bcachefs",
        "jfs",
        "reiserfs",
        "overlay",
        "nfs",
        "nfs4",
        "cifs",
        "fuseblk",
        "vfat",
    ]
)


# Attributes in someone else's layers must not steer the overlay, whatever the kernel's build prefers.
_OPTIONS = (("index", "off"), ("metacopy", "off"), ("redirect_dir", "nofollow"))


def overlay(lower: tuple[str, ...], upper: str, work: str) -> int:
    """A detached overlay mount, topmost lower first; `upper` and `work` are made if they are missing."""
    os.makedirs(upper, 0o755, exist_ok=True)
    os.makedirs(work, 0o700, exist_ok=True)
    # Asked by its version: before 6.5 the kernel takes any option, and says EINVAL only when all are given.
    if tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2]) < (6, 7):
        return overlay_in_one_string(lower, upper, work)
    context = syscalls.fsopen("overlay")
    try:
        for folder in lower:
            syscalls.fsconfig_string(context, "lowerdir+", folder)  # from 6.7; without the limits of one string
        for key, value in _OPTIONS:
            syscalls.fsconfig_string(context, key, value)
        syscalls.fsconfig_string(context, "upperdir", upper)
        syscalls.fsconfig_string(context, "workdir", work)
        syscalls.fsconfig_create(context, f"overlay on {upper}")
        return syscalls.fsmount(context, 0, "overlay")
    finally:
        os.close(context)


def overlay_in_one_string(lower: tuple[str, ...], upper: str, work: str) -> int:
    """The same by mount(2), for kernels before 6.7: a string there ends at 255 bytes, and all options at one page.

    So folders are named by descriptor, which is short; 128 layers take 2.2 KiB. It is mounted beside its upper folder.
    """
    place = os.path.dirname(upper.rstrip("/")) + "/mounted"
    os.makedirs(place, 0o700, exist_ok=True)
    opened: list[int] = []
    try:
        for folder in (*lower, upper, work):
            opened.append(os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        *layers, upper_name, work_name = (f"/proc/self/fd/{item}" for item in opened)
        more = "".join(f",{key}={value}" for key, value in _OPTIONS)
        options = f"lowerdir={':'.join(layers)},upperdir={upper_name},workdir={work_name}{more}"
        syscalls.mount("overlay", place, "overlay", 0, options)
        tree = syscalls.open_tree(syscalls.AT_FDCWD, place, syscalls.OPEN_TREE_CLONE)
        syscalls.umount2(place, syscalls.MNT_DETACH)
        os.rmdir(place)
        return tree
    finally:
        for descriptor in opened:
            os.close(descriptor)


def can_overlay(lower: str, upper: str, work: str) -> bool:
    """Whether `upper`'s file system can be one. The mount is attached nowhere and gone when this returns."""
    os.makedirs(upper, 0o755, exist_ok=True)
    os.makedirs(work, 0o700, exist_ok=True)
    context = -1
    try:
        context = syscalls.fsopen("overlay")
        for key, value in (("lowerdir", lower), ("upperdir", upper), ("workdir", work)):
            syscalls.fsconfig_string(context, key, value)
        syscalls.fsconfig_create(context, "overlay")
        folder = os.open(upper, FOLDER)
        try:
            os.setxattr(folder, "trusted.overlay.try", b"y")  # without it there are no opaque folders
        finally:
            os.close(folder)
        return True
    except OSError:
        return False
    finally:
        if context >= 0:
            os.close(context)


def _unescape(text: str) -> str:
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, letter)
    return text


def disks() -> list[str]:
    """Mount points below `/` of disk file systems, parents first, each once (man 5 proc_pid_mountinfo)."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        rows = [line.split(" - ", 1) for line in table]
    found: dict[str, str] = {}
    for left, right in rows:
        found[_unescape(left.split()[4])] = right.split()[0]  # the last mount on a place is the visible one
    return sorted(place for place, kind in found.items() if place != "/" and kind in DISKS and os.path.isdir(place))


def _below(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def attach(root: RootFilesystem, readonly: bool = False) -> int:
    """Mount the root where nobody looks (beside its upper folder) and return an O_PATH descriptor of it.

    `readonly` is for what lies below it; the root itself is made so by the caller, when all mounts have their places.
    """
    match root:
        case LayeredRoot(lower, upper, work):
            place = os.path.dirname(upper.rstrip("/")) + "/merged"
            tree = overlay(lower, upper, work)
        case FolderRoot(path):
            place = path
            tree = syscalls.open_tree(syscalls.AT_FDCWD, path, syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE)
        case HostRoot(store, lower, layers=layers):
            place = f"{store}/merged"
            # The upper lies inside the lower: the kernel allows it, and `hidden` keeps it out of sight.
            copies = tuple(_copied(layer, f"{store}/lower{count}") for count, layer in enumerate(lower))
            below = _apart(store) if layers else "/"
            tree = overlay((*copies, *layers, below), f"{store}/upper", f"{store}/work")
    if not isinstance(root, FolderRoot):
        os.makedirs(place, 0o700, exist_ok=True)
    target = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    others = disks() if isinstance(root, HostRoot) else []
    syscalls.move_mount(tree, target, place)
    os.close(target)
    if isinstance(root, HostRoot):
        for count, disk in enumerate(others):
            if not _below(disk, (*root.hidden, root.store)):
                _attach_disk(tree, disk, f"{root.store}/disks/{count}", readonly)
        for path in root.hidden:
            _hide(tree, path)
    return tree


def _apart(store: str) -> str:
    """The host's root as an overlay of its own: layers that lie inside `/` may be stacked on it (on `/`: ELOOP)."""
    place = f"{store}/below"
    os.makedirs(place, 0o700, exist_ok=True)
    tree = overlay(("/",), f"{store}/below-upper", f"{store}/below-work")
    target = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    syscalls.move_mount(tree, target, place)
    os.close(target)
    os.close(tree)
    return place


def _copied(layer: str, place: str) -> str:
    """A copy of a small layer in memory: overlayfs refuses a lower layer that lies inside another one (ELOOP)."""
    os.makedirs(place, 0o700, exist_ok=True)
    tree = memory("0755")
    target = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    syscalls.move_mount(tree, target, place)
    for descriptor in (tree, target):
        os.close(descriptor)
    merge((layer,), place)
    return place


def _attach_disk(root: int, disk: str, store: str, readonly: bool) -> None:
    try:
        target = syscalls.openat2(root, disk, os.O_PATH | os.O_DIRECTORY, syscalls.RESOLVE_IN_ROOT)
    except OSError:
        return  # its mount point is itself on a virtual file system
    try:
        tree = overlay((disk,), f"{store}/upper", f"{store}/work")
    except OSError:  # such as vfat on /boot/efi, whose names overlayfs does not understand: to be seen, not written
        tree = syscalls.open_tree(syscalls.AT_FDCWD, disk, syscalls.OPEN_TREE_CLONE)
        readonly = True
    if readonly:
        syscalls.mount_setattr(tree, False, syscalls.ATTR_RDONLY)
    syscalls.move_mount(tree, target, disk)
    os.close(tree)
    os.close(target)


def _hide(root: int, path: str) -> None:
    try:
        target = syscalls.openat2(root, path, os.O_PATH | os.O_DIRECTORY, syscalls.RESOLVE_IN_ROOT)
    except FileNotFoundError:
        return
    tree = empty()
    syscalls.move_mount(tree, target, path)
    os.close(tree)
    os.close(target)


def empty() -> int:
    """A detached, empty, read-only folder."""
    attributes = syscalls.ATTR_RDONLY | syscalls.ATTR_NOSUID | syscalls.ATTR_NODEV | syscalls.ATTR_NOEXEC
    return memory("0555", attributes, "4k")


def memory(mode: str, attributes: int = 0, size: str = "") -> int:
    """A detached mount of a new tmpfs."""
    context = syscalls.fsopen("tmpfs")
    try:
        syscalls.fsconfig_string(context, "mode", mode)
        if size:
            syscalls.fsconfig_string(context, "size", size)
        syscalls.fsconfig_create(context, "tmpfs")
        return syscalls.fsmount(context, attributes, "tmpfs")
    finally:
        os.close(context)
