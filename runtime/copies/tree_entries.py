"""Entries of a copy, and a tree as such entries: a file, a folder with all below it, a link.

The tree is read by descriptors and may change meanwhile; no link in it is followed. Sockets are left out, as docker
does.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import IO

from pycompose.frozen import dataclass
from pycompose.runtime.files.descent import FOLDER, open_entry
from pycompose.runtime.files.ordered_walk import CHANGED, walk
from pycompose.runtime.images.pack import Padded, kept


@dataclass(frozen=True, slots=True)
class CopyEntry:
    """One thing to be written; `path` is below the folder that is copied into, empty for that folder itself.

    `content` is read once, before the next entry is asked for. `twin`: it is a further name of that earlier entry.
    """

    path: tuple[str, ...]
    mode: int  # kind and permission bits
    uid: int
    gid: int
    mtime_ns: int
    size: int = 0
    device: int = 0
    link: str = ""
    attributes: tuple[tuple[str, bytes], ...] = ()
    twin: tuple[str, ...] | None = None
    content: IO[bytes] | None = None

    @property
    def name(self) -> str:
        return "/".join(self.path)


def entries(base: int, name: str) -> Iterator[CopyEntry]:
    """What was opened with O_PATH at the descriptor `base`, by the name `name`; empty: what is in that folder.

    Raises OSError.
    """
    status = os.fstat(base)
    top = (name,) if name else ()
    if not stat.S_ISDIR(status.st_mode):
        if (entry := opened_entry(base, top, status)) is not None:
            with contextlib.closing(entry.content) if entry.content else contextlib.nullcontext():
                yield entry
        return
    folder = os.open(".", FOLDER, dir_fd=base)
    try:
        yield _entry(top, status, _attributes(folder))
        twins: dict[tuple[int, int], tuple[str, ...]] = {}
        for path, parent, inner, status in walk(folder):
            whole = (*top, *path.split("/"))
            several = not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1
            if several and (earlier := twins.get((status.st_dev, status.st_ino))):
                yield _entry(whole, status, twin=earlier)
                continue
            try:
                opened = os.open(inner, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            except OSError as error:
                if error.errno not in CHANGED:
                    raise
                continue  # it went meanwhile
            try:
                one = opened_entry(opened, whole, os.fstat(opened))
            finally:
                os.close(opened)
            if one is None:
                continue
            with contextlib.closing(one.content) if one.content else contextlib.nullcontext():
                yield one
            if several:
                twins[status.st_dev, status.st_ino] = whole
    finally:
        os.close(folder)


def opened_entry(opened: int, path: tuple[str, ...], status: os.stat_result) -> CopyEntry | None:
    """Of what an O_PATH descriptor is of; None for what is not copied."""
    match stat.S_IFMT(status.st_mode):
        case stat.S_IFSOCK:
            return None
        case stat.S_IFLNK:
            return _entry(path, status, link=os.readlink("", dir_fd=opened))
        case stat.S_IFREG:
            file = open(open_entry(opened), "rb", buffering=0)  # noqa: SIM115 - closed when the next is asked for
            return _entry(path, os.fstat(file.fileno()), _attributes(file.fileno()), content=file)
        case stat.S_IFDIR:
            folder = os.open(".", FOLDER, dir_fd=opened)
            try:
                return _entry(path, status, _attributes(folder))
            finally:
                os.close(folder)
        case _:
            return _entry(path, status)


def _entry(
    path: tuple[str, ...],
    status: os.stat_result,
    attributes: tuple[tuple[str, bytes], ...] = (),
    *,
    link: str = "",
    twin: tuple[str, ...] | None = None,
    content: IO[bytes] | None = None,
) -> CopyEntry:
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    return CopyEntry(
        path,
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns,
        size,
        status.st_rdev,
        link,
        attributes,
        twin,
        content,
    )


def _attributes(descriptor: int) -> tuple[tuple[str, bytes], ...]:
    try:
        names = [name for name in sorted(os.listxattr(descriptor)) if kept(name)]
        return tuple((name, os.getxattr(descriptor, name)) for name in names)
    except OSError:  # a file system without them
        return ()


def padded(entry: CopyEntry) -> IO[bytes]:
    """The content in the length that the entry says, whatever becomes of the file meanwhile."""
    assert entry.content is not None
    return Padded(entry.content)  # type: ignore[return-value]
