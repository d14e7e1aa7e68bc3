"""Union of an image's layers without a mount: what overlayfs would show at a path, and copies of it.

For volumes that start with the image's content, for exports, and for containers where overlayfs cannot be. Layers are
someone else's trees, and one may change meanwhile: they are walked by descriptor (`descent`), and no link in them is
followed by the kernel. Rules: synchronous, standard library only; layers come topmost first; nobody else writes to the
target.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Sequence

from pycompose.frozen import dataclass

from .descent import FOLDER, Descent, open_regular, set_mode
from .remove import drop

_MAX_LINKS = 40
TRIES = 3  # to copy a name that is something else each time one looks
PATH_MAX = 4096  # linux/limits.h
CHANGED = (errno.ENOTDIR, errno.ELOOP, errno.EINVAL)  # a folder, or a regular file, is something else meanwhile


def merge(layers: Sequence[str], target: str) -> None:
    """Copy the union of the layers into the empty folder `target`. Raises OSError."""
    with contextlib.ExitStack() as held:
        sources = [_opened(held, os.open(layer, FOLDER)) for layer in layers]
        _copy_all(sources, _opened(held, os.open(target, FOLDER)))


def copy_out(layers: Sequence[str], path: str, target: str) -> bool:
    """Copy what the image has in the folder `path` into the empty folder `target`; False if it has no such folder."""
    with contextlib.ExitStack() as held:
        sources = _find(held, layers, path)
        if sources:
            _copy_all(sources, _opened(held, os.open(target, FOLDER)))
        return bool(sources)


def places(layers: Sequence[str], path: str) -> tuple[str, ...]:
    """Where the layers have what the image has at `path`: folders, topmost first, or one regular file; else none.

    Raises OSError.
    """
    with contextlib.ExitStack() as held:
        if folders := _find(held, layers, path):
            return tuple(os.readlink(f"/proc/self/fd/{folder}") for folder in folders)
        parent, _, name = path.rstrip("/").rpartition("/")
        for folder in _find(held, layers, parent):
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                is_file = stat.S_ISREG(status.st_mode)
                return (os.readlink(f"/proc/self/fd/{folder}") + f"/{name}",) if is_file else ()
    return ()


def _opened(held: contextlib.ExitStack, fd: int) -> int:
    held.callback(os.close, fd)
    return fd


def _copy_all(sources: Sequence[int], target: int) -> None:
    for source in reversed(sources):
        _lay(source, target)


def _find(held: contextlib.ExitStack, layers: Sequence[str], path: str) -> list[int]:
    """The folders that make up `path`, topmost first; links are resolved inside the image."""
    roots = [_opened(held, os.open(layer, FOLDER)) for layer in layers]
    here, todo, done, links = roots, list(reversed(path.split("/"))), list[str](), 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            todo += reversed(done[:-1])
            here, done = roots, []
            continue
        below: list[int] = []
        for folder in here:
            try:
                status = os.stat(part, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(status.st_mode):
                below.append(_opened(held, os.open(part, FOLDER, dir_fd=folder)))
                if is_opaque(below[-1]):
                    break
                continue
            if stat.S_ISLNK(status.st_mode) and not below:
                links += 1
                target = os.readlink(part, dir_fd=folder)
                if links > _MAX_LINKS or len(todo) > 4096:
                    return []
                todo += reversed(target.split("/"))
                if not target.startswith("/"):
                    todo += reversed(done)
                below, done = roots, []
                break
            break  # a whiteout or a file covers what is below
        else:
            done.append(part)
            here = below
            if not here:
                return []
            continue
        if below is not roots:
            done.append(part)
        here = below
        if not here:
            return []
    return here


def is_opaque(folder: int) -> bool:
    for name in ("trusted.overlay.opaque", "user.overlay.opaque"):
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"y":
                return True
    return False


# One layer, laid over what is there


@dataclass(frozen=True, slots=True)
class _Look:
    """What a file looks like beside its content."""

    status: os.stat_result
    attributes: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class _Level:
    """One of the folders that one is in: what of it is still to be copied, and what is put on it at last."""

    path: str  # in the target
    names: list[str]
    look: _Look
    empty: bool  # nothing of a layer before lies in the target


def _lay(source: int, target: int) -> None:
    """Copy a layer into the folder `target`, which nobody else writes to, over what is there.

    What changes in the layer meanwhile (an export reads what a container writes) is there as it was, as it is, or not.
    """
    with contextlib.closing(Descent(source)) as origin, contextlib.closing(Descent(target)) as copy:
        links: dict[tuple[int, int], str] = {}  # a file of several names -> where in the target it is
        levels = [_level(origin.folder, copy.folder, "", not os.listdir(target))]
        while levels[-1].names or origin.depth:
            if levels[-1].names:
                if (below := _lay_one(origin, copy, levels[-1], links, target)) is not None:
                    levels.append(below)
                continue
            origin.leave()
            while copy.depth > origin.depth:
                _put_on(levels.pop().look, copy.folder)
                copy.leave()
        _put_on(levels.pop().look, copy.folder)


def _level(origin: int, copy: int, path: str, empty: bool) -> _Level:
    if is_opaque(origin) and not empty:
        for name in os.listdir(copy):
            drop(copy, name)
    return _Level(path, os.listdir(origin), _look(origin), empty)


def _lay_one(
    origin: Descent, copy: Descent, level: _Level, links: dict[tuple[int, int], str], top: int
) -> _Level | None:
    """Copy the next name of a level; the level of a folder, which both go down to."""
    name = level.names.pop()
    path = f"{level.path}/{name}"
    for count in range(TRIES):
        try:
            status = os.stat(name, dir_fd=origin.folder, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                if count or not level.empty:
                    drop(copy.folder, name)
                if not _linked(links.get((status.st_dev, status.st_ino), ""), copy.folder, name, top):
                    _copy_file(origin.folder, copy.folder, name, status)
                    if status.st_nlink > 1:
                        links[status.st_dev, status.st_ino] = path
                return None
            origin.enter(name)
        except FileNotFoundError:
            return None  # it went meanwhile
        except OSError as error:
            if error.errno not in CHANGED:
                raise
        else:
            is_new = _enter_folder(copy, name)
            return _level(origin.folder, copy.folder, path, is_new)
    return None


def _enter_folder(copy: Descent, name: str) -> bool:
    """Go down to the folder of that name; whether it had to be made."""
    try:
        is_folder = stat.S_ISDIR(os.stat(name, dir_fd=copy.folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        is_folder = False
    if not is_folder:
        drop(copy.folder, name)
        os.mkdir(name, 0o700, dir_fd=copy.folder)
    copy.enter(name)
    return not is_folder


def _linked(first: str, target: int, name: str, top: int) -> bool:
    """Whether a further name of a file could be made; past the length that a path may have it is a file of its own."""
    if not first or len(os.fsencode(first)) >= PATH_MAX:
        return False
    os.link(first.lstrip("/"), name, src_dir_fd=top, dst_dir_fd=target, follow_symlinks=False)
    return True


def _copy_file(source: int, target: int, name: str, status: os.stat_result) -> None:
    """Copy what is no folder; no whiteout, and no socket, which is nothing without who listens. Raises OSError."""
    if stat.S_ISREG(status.st_mode):
        _copy_regular(source, target, name)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)
    elif not stat.S_ISSOCK(status.st_mode) and not (stat.S_ISCHR(status.st_mode) and status.st_rdev == 0):
        os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        set_mode(target, name, stat.S_IMODE(status.st_mode))
        os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _copy_regular(source: int, target: int, name: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    old = open_regular(source, name)
    try:
        new = os.open(name, flags, 0o600, dir_fd=target)
        try:
            look = _look(old)
            left = look.status.st_size
            while left > 0 and (count := os.sendfile(new, old, None, min(left, 1 << 24))):
                left -= count
            _put_on(look, new)
        finally:
            os.close(new)
    finally:
        os.close(old)


def _look(fd: int) -> _Look:
    attributes = []
    for name in os.listxattr(fd):
        if name == "security.capability" or (name.startswith("user.") and not name.startswith("user.overlay.")):
            with contextlib.suppress(OSError):
                attributes.append((name, os.getxattr(fd, name)))
    return _Look(os.fstat(fd), tuple(attributes))


def _put_on(look: _Look, target: int) -> None:
    """Owner, mode, attributes and time for an open file, in the order that loses none."""
    status = look.status
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name, value in look.attributes:
        with contextlib.suppress(OSError):
            os.setxattr(target, name, value)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
