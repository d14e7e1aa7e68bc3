"""The container's root as one detached mount: an overlay of layers, of the host itself, or a folder.

Done in the container's own mount namespace, before anything of the image is looked at.
Rule: what is returned is a descriptor.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, suppress

from pycompose.runtime.files.descent import FOLDER
from pycompose.runtime.linux import syscalls
from pycompose.runtime.spec import FolderRoot, LayeredRoot

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


LONGEST_OPTION = 255  # bytes of a value, for fsconfig(2)
# Attributes in someone else's layers must not steer the overlay, whatever the kernel's build prefers.
_OPTIONS = (("index", "off"), ("metacopy", "off"), ("redirect_dir", "nofollow"))


def kernel() -> tuple[int, ...]:
    """The first two numbers of this kernel's version."""
    return tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])


def overlay(lower: tuple[str, ...], upper: str, work: str) -> int:
    """A detached overlay mount, topmost lower first; `upper` and `work` are made if they are missing."""
    os.makedirs(upper, 0o755, exist_ok=True)
    os.makedirs(work, 0o700, exist_ok=True)
    # Asked by its version: before 6.5 the kernel takes any option, and says EINVAL only when all are given.
    if kernel() < (6, 7):
        return overlay_in_one_string(lower, upper, work)
    with ExitStack() as opened:
        context = syscalls.fsopen("overlay")
        opened.callback(os.close, context)
        for folder in lower:
            syscalls.fsconfig_string(context, "lowerdir+", _short(folder, opened))  # from 6.7
        for key, value in _OPTIONS:
            syscalls.fsconfig_string(context, key, value)
        syscalls.fsconfig_string(context, "upperdir", _short(upper, opened))
        syscalls.fsconfig_string(context, "workdir", _short(work, opened))
        syscalls.fsconfig_create(context, f"overlay on {upper}")
        return syscalls.fsmount(context, 0, "overlay")


def _short(folder: str, opened: ExitStack) -> str:
    """A name of a folder that fsconfig(2) takes, 255 bytes at most: a longer path's is that of a descriptor."""
    if len(os.fsencode(folder)) <= LONGEST_OPTION:
        return folder
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    opened.callback(os.close, descriptor)
    return f"/proc/self/fd/{descriptor}"


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
    with suppress(OSError), ExitStack() as opened:
        context = syscalls.fsopen("overlay")
        opened.callback(os.close, context)
        for key, value in (("lowerdir", lower), ("upperdir", upper), ("workdir", work)):
            syscalls.fsconfig_string(context, key, _short(value, opened))
        syscalls.fsconfig_create(context, "overlay")
        folder = os.open(upper, FOLDER)
        opened.callback(os.close, folder)
        os.setxattr(folder, "trusted.overlay.try", b"y")  # without it there are no opaque folders
        return True
    return False


def _unescape(text: str) -> str:
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, letter)
    return text


def disks() -> list[str]:
    """Mount points below `/` of disk file systems, parents first, each once (man 5 proc_pid_mountinfo)."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        rows = [line.split(" - ", 1) for line in table]
    kinds: dict[str, str] = {}
    for left, right in rows:
        kinds[_unescape(left.split()[4])] = right.split()[0]  # the last mount on a place is the visible one
    return sorted(place for place, kind in kinds.items() if place != "/" and kind in DISKS and os.path.isdir(place))


def attach(root: LayeredRoot | FolderRoot) -> int:
    """Mount the root where nobody looks (beside its upper folder) and return an O_PATH descriptor of it."""
    match root:
        case LayeredRoot(lower, upper, work):
            place = os.path.dirname(upper.rstrip("/")) + "/merged"
            tree = overlay(lower, upper, work)
        case FolderRoot(place):
            tree = syscalls.open_tree(syscalls.AT_FDCWD, place, syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE)
    attach_at(tree, place)
    return tree


def attach_at(tree: int, place: str) -> None:
    """Mount a detached mount at a folder, which is made if it is missing."""
    os.makedirs(place, 0o700, exist_ok=True)
    target = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    syscalls.move_mount(tree, target, place)
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
