"""The root of a container of the image `host`: the machine's files, copy-on-write, without what is to be hidden.

An overlay on `/`, and one on each disk below it. Right above the machine's files lies a small layer in memory, the
veil: an empty, opaque folder for each folder that is hidden, a whiteout for each file, there or not. So nothing is
mounted for them, what is made there later stays hidden, and the container may make its own. What is shown below a
hidden folder is an overlay of its own.
Veils are the same for all containers from which the same is hidden: the keeper makes them once (`Grounds`), in a file
system that is mounted nowhere, so that nobody else can reach it, and its containers find its descriptor.
Rules: as in `rootfs`. What is to be hidden is `runtime.policy.host_secrets`'s. Without its veil there is no root.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Sequence

from pycompose.frozen import dataclass
from pycompose.runtime.files.descent import make_folder
from pycompose.runtime.files.union import merge
from pycompose.runtime.linux import syscalls
from pycompose.runtime.spec import HostRoot

from . import rootfs

OPAQUE = "trusted.overlay.opaque"  # Documentation/filesystems/overlayfs.rst
BURST = 0.05  # seconds for which a look at the machine holds: else 50 containers of one `up` are 6,000 looks
KEPT = 4  # grounds that a keeper has at once: a project has one, or one for each list of what is shown

Look = tuple[int, int, int] | None  # mode, user and group; None of what is not there


@dataclass(frozen=True, slots=True)
class Ground:
    """What lies between the machine's files and the container's own: `lower<n>` and `veil<n>` in the folder `place`."""

    place: str
    memory: int  # the descriptor of the file system in memory
    begin: tuple[str, ...]  # where overlays begin: as `tops`, one for each veil
    looks: dict[str, Look]  # paths of the machine, as they were: what the veils were made by

    def holds(self) -> bool:
        """Whether the machine's paths look as they did: a folder that came since may hold what is to be hidden."""
        return all(_look(_status(path)) == look for path, look in self.looks.items())

    def close(self) -> None:
        os.close(self.memory)


class Grounds:
    """Grounds that the containers of this process share, those used last."""

    def __init__(self) -> None:
        self._kept: dict[object, tuple[Ground, float]] = {}  # with when it was looked at, in monotonic seconds
        self._can_share = rootfs.kernel() >= (6, 15)

    def ground(self, root: HostRoot) -> Ground | None:
        """For children that are forked now. None if they must make their own: before 6.15 a layer has to be mounted.

        Raises OSError.
        """
        if not self._can_share:
            return None
        disks = tuple(disk for disk in rootfs.disks() if disk != root.store and not below(disk, root.store))
        statuses = [os.stat(layer) for layer in root.lower]
        layers = tuple((status.st_dev, status.st_ino, status.st_mtime_ns) for status in statuses)
        key = (disks, root.hidden, root.shown, root.lower, layers)
        ground, looked = self._kept.pop(key, (None, 0.0))
        now = time.monotonic()
        if ground is not None and now - looked > BURST:
            looked = now
            if not ground.holds():
                ground.close()
                ground = None
        if ground is None:
            memory, looked = rootfs.memory("0700"), now
            try:
                ground = _make_ground(root, disks, f"/proc/self/fd/{memory}", memory)
            except BaseException:
                os.close(memory)
                raise
        self._kept[key] = ground, looked
        while len(self._kept) > KEPT:
            self._kept.pop(next(iter(self._kept)))[0].close()
        return ground


def _make_ground(root: HostRoot, disks: Sequence[str], place: str, memory: int) -> Ground:
    begin = tuple(tops(root, disks))
    for count, layer in enumerate(root.lower):  # overlayfs refuses a lower layer that lies inside another one (ELOOP)
        os.close(make_folder(f"{place}/lower{count}", 0o755))
        merge((layer,), f"{place}/lower{count}")
    looks: dict[str, Look] = {}
    for count, top in enumerate(begin):
        hidden = [path for path in root.hidden if innermost(path, begin) == top]
        points = [path for path in begin if innermost(path, begin) == top and innermost(path, hidden)]
        veil(f"{place}/veil{count}", top, hidden, points, looks)
    return Ground(place, memory, begin, looks)


def below(path: str, folder: str) -> bool:
    return path != folder and path.startswith(folder.rstrip("/") + "/")


def innermost(path: str, folders: Iterable[str]) -> str:
    """The longest of the folders that a path lies below; "" if there is none."""
    return max((folder for folder in folders if below(path, folder)), key=len, default="")


def is_shown(path: str, root: HostRoot) -> bool:
    """What the nearest of the hidden and shown paths says, that path or one above it; without any it is shown."""
    nearest = max(
        (item for item in (*root.hidden, *root.shown) if path == item or below(path, item)), key=len, default="/"
    )
    return nearest not in root.hidden or nearest in root.shown


def tops(root: HostRoot, disks: Sequence[str]) -> list[str]:
    """Where an overlay begins, outer ones first: at `/`, at disks that are seen, at what is shown in what is hidden."""
    visible = [disk for disk in disks if is_shown(disk, root) and disk != root.store and not below(disk, root.store)]
    inner = [path for path in root.shown if not is_shown(os.path.dirname(path), root)]
    return ["/", *sorted({*visible, *inner}, key=lambda path: (path.count("/"), path))]


def attach(root: HostRoot, readonly: bool, ground: Ground | None = None) -> int:
    """As `rootfs.attach`. `readonly` is for what lies below the root, which the caller makes so when all is mounted.

    Without a `ground` it makes one of its own.
    """
    store, place = root.store, f"{root.store}/merged"
    if ground is None:
        _mount_at(rootfs.memory("0755"), f"{store}/memory")
        ground = _make_ground(root, rootfs.disks(), f"{store}/memory", -1)
    begin = ground.begin
    copies = [f"{ground.place}/lower{count}" for count in range(len(root.lower))]
    veils = [f"{ground.place}/veil{count}" for count in range(len(begin))]
    bottom: tuple[str, ...] = (veils[0], "/")
    if root.layers:
        # Layers lie inside `/`, too: they may be stacked on an overlay of it.
        _mount_at(rootfs.overlay(bottom, f"{store}/below-upper", f"{store}/below-work"), f"{store}/below")
        bottom = (f"{store}/below",)
    # The upper lies inside the lower: the kernel allows it, and what is hidden keeps it out of sight.
    tree = rootfs.overlay((*copies, *root.layers, *bottom), f"{store}/upper", f"{store}/work")
    rootfs.attach_at(tree, place)
    for count, (top, veil) in enumerate(zip(begin[1:], veils[1:], strict=True)):
        _attach_inner(tree, top, veil, f"{store}/disks/{count}", readonly)
    return tree


def _mount_at(tree: int, place: str) -> None:
    rootfs.attach_at(tree, place)
    os.close(tree)


def _attach_inner(root: int, top: str, veil: str, store: str, readonly: bool) -> None:
    try:
        target = syscalls.openat2(root, top, os.O_PATH, syscalls.RESOLVE_IN_ROOT)
        status = os.stat(top)
    except OSError:
        return  # its place is itself on a virtual file system; or it is gone
    if not stat.S_ISDIR(status.st_mode):
        tree, readonly = syscalls.open_tree(syscalls.AT_FDCWD, top, syscalls.OPEN_TREE_CLONE), True
    else:
        try:
            if not os.path.isdir(f"{store}/upper"):
                os.makedirs(store, 0o700, exist_ok=True)
                os.close(_folder_like(f"{store}/upper", status))
            tree = rootfs.overlay((veil, top), f"{store}/upper", f"{store}/work")
        except OSError:
            # Such as vfat on /boot/efi, whose names overlayfs does not understand: to be seen, not written.
            if os.listdir(veil):
                raise  # there is something to hide
            tree, readonly = syscalls.open_tree(syscalls.AT_FDCWD, top, syscalls.OPEN_TREE_CLONE), True
    if readonly:
        syscalls.mount_setattr(tree, False, syscalls.ATTR_RDONLY)
    syscalls.move_mount(tree, target, top)
    os.close(tree)
    os.close(target)


# --- veils ---


def veil(
    place: str, top: str, hidden: Iterable[str], points: Iterable[str] = (), looks: dict[str, Look] | None = None
) -> None:
    """Make the folder `place` that hides these paths as a layer on the machine's `top`.

    `points` are paths below what is hidden that others are mounted at: made, as the machine has them. What it looks at
    is written to `looks`.
    """
    looks = {} if looks is None else looks
    status = _noted(top, looks)
    if status is None or not stat.S_ISDIR(status.st_mode):
        return  # a file, or gone since the container was made
    os.close(_folder_like(place, status))
    there = {top}  # folders that the veil has
    for path in sorted(hidden):
        if not _make_above(place, top, path, there, looks):
            continue  # nothing can be there
        status_of, target = _noted(path, looks), _in_veil(place, top, path)
        if status_of is not None and stat.S_ISDIR(status_of.st_mode):
            folder = _folder_like(target, status_of)
            _close_opaque(folder)
            there.add(path)
        else:
            os.mknod(target, stat.S_IFCHR, os.makedev(0, 0))
    for path in sorted(points):
        if _make_above(place, top, path, there, looks) and (status_of := _noted(path, looks)) is not None:
            if stat.S_ISDIR(status_of.st_mode):
                os.close(_folder_like(_in_veil(place, top, path), status_of))
                there.add(path)
            else:
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
                os.close(os.open(_in_veil(place, top, path), flags, 0o444))


def _close_opaque(folder: int) -> None:
    os.setxattr(folder, OPAQUE, b"y")
    os.close(folder)


def _in_veil(place: str, top: str, path: str) -> str:
    return place + path[len(top.rstrip("/")) :]


def _make_above(place: str, top: str, path: str, there: set[str], looks: dict[str, Look]) -> bool:
    """Make the folders above a path in the veil, as the machine has them; False if it has none of them."""
    missing = []
    while (path := os.path.dirname(path)) not in there:
        missing.append(path)
    for folder in reversed(missing):
        status = _noted(folder, looks)
        if status is None or not stat.S_ISDIR(status.st_mode):
            return False
        os.close(_folder_like(_in_veil(place, top, folder), status))
        there.add(folder)
    return True


def _folder_like(path: str, status: os.stat_result) -> int:
    """A new folder with this mode and owner; open."""
    folder = make_folder(path, 0o700)
    if status.st_uid or status.st_gid:
        os.fchown(folder, status.st_uid, status.st_gid)
    os.fchmod(folder, stat.S_IMODE(status.st_mode))
    return folder


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _noted(path: str, looks: dict[str, Look]) -> os.stat_result | None:
    status = _status(path)
    looks[path] = _look(status)
    return status


def _look(status: os.stat_result | None) -> Look:
    return None if status is None else (status.st_mode, status.st_uid, status.st_gid)
