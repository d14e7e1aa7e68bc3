"""Union of an image's layers without a mount: what overlayfs would show at a path, and copies of it.

For volumes that start with the image's content, and for containers where overlayfs cannot be. Layers are someone else's
trees: they are walked by descriptor, and no link in them is followed by the kernel.
Rules: synchronous, standard library only; layers come topmost first; nobody else writes to the target.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40


def merge(layers: Sequence[str], target: str) -> None:
    """Copy the union of the layers into the empty folder `target`. Raises OSError."""
    with contextlib.ExitStack() as held:
        sources = [_opened(held, os.open(layer, _FOLDER)) for layer in layers]
        _copy_all(sources, _opened(held, os.open(target, _FOLDER)))


def copy_out(layers: Sequence[str], path: str, target: str) -> bool:
    """Copy what the image has in the folder `path` into the empty folder `target`; False if it has no such folder."""
    with contextlib.ExitStack() as held:
        sources = _find(held, layers, path)
        if sources:
            _copy_all(sources, _opened(held, os.open(target, _FOLDER)))
        return bool(sources)


def _opened(held: contextlib.ExitStack, fd: int) -> int:
    held.callback(os.close, fd)
    return fd


def _copy_all(sources: Sequence[int], target: int) -> None:
    for source in reversed(sources):
        _copy(source, target, {}, f"/proc/self/fd/{target}", "")  # hard links are within one layer


def _find(held: contextlib.ExitStack, layers: Sequence[str], path: str) -> list[int]:
    """The folders that make up `path`, topmost first; links are resolved inside the image."""
    roots = [_opened(held, os.open(layer, _FOLDER)) for layer in layers]
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
                below.append(_opened(held, os.open(part, _FOLDER, dir_fd=folder)))
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


def _drop(parent: int, name: str) -> None:
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=parent)
        return
    folder = os.open(name, _FOLDER, dir_fd=parent)
    try:
        for inner in os.listdir(folder):
            _drop(folder, inner)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=parent)


def _copy(source: int, target: int, known: dict[tuple[int, int], str], root: str, path: str) -> None:
    if is_opaque(source):
        for name in os.listdir(target):
            _drop(target, name)
    for name in os.listdir(source):
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            _copy_folder(source, target, name, known, root, f"{path}/{name}")
            continue
        _drop(target, name)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            continue  # a whiteout
        first = known.get((status.st_dev, status.st_ino)) if status.st_nlink > 1 else None
        if first is not None:
            os.link(root + first, name, dst_dir_fd=target, follow_symlinks=False)
            continue
        if stat.S_ISREG(status.st_mode):
            _copy_file(source, target, name)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        elif not stat.S_ISSOCK(status.st_mode):
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)
        os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)
        known[status.st_dev, status.st_ino] = f"{path}/{name}"
    _take_on(source, target)


def _copy_folder(source: int, target: int, name: str, known: dict[tuple[int, int], str], root: str, path: str) -> None:
    try:
        there = os.stat(name, dir_fd=target, follow_symlinks=False)
        is_folder = stat.S_ISDIR(there.st_mode)
    except FileNotFoundError:
        is_folder = False
    if not is_folder:
        _drop(target, name)
        os.mkdir(name, 0o700, dir_fd=target)
    with contextlib.ExitStack() as held:
        inner = _opened(held, os.open(name, _FOLDER, dir_fd=source))
        _copy(inner, _opened(held, os.open(name, _FOLDER, dir_fd=target)), known, root, path)


def _copy_file(source: int, target: int, name: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.ExitStack() as held:
        old = _opened(held, os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source))
        new = _opened(held, os.open(name, flags, 0o600, dir_fd=target))
        while os.sendfile(new, old, None, 1 << 24):
            pass
        _take_on(old, new)


def _take_on(source: int, target: int) -> None:
    """Owner, mode, attributes and time of one open file for another, in the order that loses none."""
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if name == "security.capability" or (name.startswith("user.") and not name.startswith("user.overlay.")):
            with contextlib.suppress(OSError):
                os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
