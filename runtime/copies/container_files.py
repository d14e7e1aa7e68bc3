"""Copies into a container's root and out of it, with docker's rules of names, owners and links.

Rules: a path inside is opened by openat2 in the root, and then only the descriptor is used. What goes in keeps its
owner's numbers, or, as an archive copy, becomes the container's user's; what comes out is the caller's.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import field
from typing import IO

from pycompose.frozen import dataclass
from pycompose.runtime.linux import syscalls

from .container_root import INSIDE
from .copy_errors import CopyFailed
from .placement import CopySource, CopyTarget, asserts_folder, base_name, means_contents, placed
from .tar_entries import TarWriter, tar_entries
from .tree_entries import CopyEntry, entries
from .tree_writer import TreeWriter

_MAX_LINKS = 40


@dataclass(frozen=True, slots=True)
class CopyManner:
    """`archive`: what goes in becomes the container's user's. `follow`: a link is copied as what it leads to.

    `progress` is told of bytes, `passed_over` of what is not copied.
    """

    archive: bool = False
    follow: bool = False
    progress: Callable[[int], None] | None = None
    passed_over: Callable[[str], None] = field(default=lambda _: None)


def copy_in(
    root: int, name: str, source: str | IO[bytes], target: str, owner: tuple[int, int] | None, manner: CopyManner
) -> None:
    """Copy a path of this machine, or a tar, to a path below `root`, the root of the container called `name`.

    Raises CopyFailed, OSError.
    """
    with ExitStack() as held:
        aim = _target_inside(root, target)
        if isinstance(source, str):
            base = held.enter_context(_opened_here(source, manner.follow))
            folder, name_there = placed(_source(base, source, os.path.abspath(source)), aim)
            arriving = entries(base, name_there)
        else:
            if not aim.is_folder:
                raise CopyFailed(f'destination "{name}:{target}" must be a directory')
            folder, arriving = aim.path, tar_entries(source)
        top = held.enter_context(_opened_inside(root, folder, name, os.O_RDONLY | os.O_DIRECTORY))
        writer = TreeWriter(
            top,
            lambda entry: owner or (entry.uid, entry.gid),
            root=-1 if isinstance(source, str) else root,
            place=folder,
            passed_over=manner.passed_over,
            progress=manner.progress,
        )
        _write(arriving, writer)


def copy_out(root: int, name: str, source: str, target: str | IO[bytes], manner: CopyManner) -> None:
    """Copy a path below `root`, the root of the container called `name`, to a path of this machine, or as a tar.

    Raises CopyFailed, OSError.
    """
    with ExitStack() as held:
        follow = manner.follow or asserts_folder(source)
        flags = os.O_PATH if follow else os.O_PATH | os.O_NOFOLLOW
        base = held.enter_context(_opened_inside(root, source, name, flags))
        leaving = _source(base, source, os.path.normpath(f"/{source}"))
        if not isinstance(target, str):
            _write(entries(base, "" if leaving.contents else leaving.name), TarWriter(target, manner.progress))
            return
        folder, name_here = placed(leaving, _target_here(target))
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        held.callback(os.close, top)
        writer = TreeWriter(top, lambda _: None, passed_over=manner.passed_over, progress=manner.progress)
        _write(entries(base, name_here), writer)


def _write(arriving: Iterator[CopyEntry], writer: TreeWriter | TarWriter) -> None:
    name = ""
    with closing(writer):
        try:
            for entry in arriving:
                name = entry.name
                writer.put(entry)
            writer.finish()
        except BrokenPipeError:
            raise  # who reads the archive has enough
        except OSError as error:
            readonly = "it is mounted read-only, or is a tmpfs of a container that does not run"
            raise CopyFailed(f"{name}: {readonly if error.errno == errno.EROFS else _reason(error)}") from error


def _source(base: int, text: str, absolute: str) -> CopySource:
    is_folder = stat.S_ISDIR(os.fstat(base).st_mode)
    if not is_folder and asserts_folder(text):
        raise CopyFailed(f"{text}: not a directory")
    contents = is_folder and (means_contents(text) or absolute == "/")
    return CopySource(base_name(absolute), is_folder, contents)


# --- Paths in a container ---


@contextmanager
def _opened_inside(root: int, path: str, container: str, flags: int) -> Iterator[int]:
    try:
        opened = syscalls.openat2(root, path or "/", flags | os.O_CLOEXEC, INSIDE)
    except FileNotFoundError:
        raise CopyFailed(f"Could not find the file {path} in container {container}") from None
    except OSError as error:
        raise CopyFailed(f"{container}:{path}: {_reason(error)}") from error
    try:
        yield opened
    finally:
        os.close(opened)


def _target_inside(root: int, path: str) -> CopyTarget:
    """The path with links at its end resolved, inside the root. Raises CopyFailed."""
    path = f"/{path}" if not path.startswith("/") else path
    for _ in range(_MAX_LINKS):
        try:
            opened = syscalls.openat2(root, path or "/", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, INSIDE)
        except FileNotFoundError:
            return CopyTarget(path, exists=False, is_folder=False)
        except OSError as error:
            raise CopyFailed(f"{path}: {_reason(error)}") from error
        try:
            mode = os.fstat(opened).st_mode
            if not stat.S_ISLNK(mode):
                return _checked(CopyTarget(path, exists=True, is_folder=stat.S_ISDIR(mode)), mode)
            path = os.path.join(os.path.dirname(path), os.readlink("", dir_fd=opened))
        finally:
            os.close(opened)
    raise CopyFailed(f"{path}: {os.strerror(errno.ELOOP)}")


def _checked(target: CopyTarget, mode: int) -> CopyTarget:
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise CopyFailed(f'destination "{target.path}" must be a directory or a regular file')
    return target


def _reason(error: OSError) -> str:
    return "its links do not end, or lead through /proc" if error.errno == errno.ELOOP else str(error.strerror)


# --- Paths on this machine ---


@contextmanager
def _opened_here(path: str, follow: bool) -> Iterator[int]:
    try:
        base = os.open(path, os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    except OSError as error:
        raise CopyFailed(f"lstat {os.path.abspath(path)}: {str(error.strerror).lower()}") from error
    try:
        yield base
    finally:
        os.close(base)


def _target_here(path: str) -> CopyTarget:
    """Raises CopyFailed."""
    full = os.path.realpath(path)
    if asserts_folder(path):
        full = f"{full.rstrip('/')}/"
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        above = os.path.dirname(full.rstrip("/")) or "/"
        if not os.path.isdir(above):
            raise CopyFailed(f'invalid output path: directory "{above}" does not exist') from None
        return CopyTarget(full, exists=False, is_folder=False)
    except OSError as error:
        raise CopyFailed(f"{path}: {error.strerror}") from error
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise CopyFailed(f'invalid output path: "{path}" must be a directory or a regular file')
    return CopyTarget(full, exists=True, is_folder=stat.S_ISDIR(mode))
