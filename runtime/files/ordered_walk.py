"""A walk through a tree that others write to: a folder before what is in it, names in order of their bytes.

No descriptor is held for each level, and nothing recurses: a container can make a tree of any depth. No link is
followed; what changes meanwhile is there as it was, as it is, or not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from pycompose.runtime.linux import syscalls

from .descent import FOLDER
from .union import CHANGED as REPLACED

LONGEST = 4096 - 8  # bytes of a path: linux/limits.h, and room for what marks a whiteout
CHANGED = (errno.ENOENT, *REPLACED)  # of what was listed and is not there any more, or is something else
INSIDE = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS


def walk(root: int) -> Iterator[tuple[str, int, str, os.stat_result]]:
    """(path, descriptor of its folder, name, what it is) of all below the folder `root`.

    Raises OSError: ENAMETOOLONG for a path that no archive can hold.
    """
    pending = [""]
    while pending:
        path = pending.pop()
        with contextlib.ExitStack() as held:
            try:
                folder = held.enter_context(opened(root, path or "."))
            except OSError as error:
                if path and error.errno in CHANGED:
                    continue
                raise
            inner = []
            for name in sorted(os.listdir(folder), key=os.fsencode):
                whole = f"{path}/{name}" if path else name
                if len(os.fsencode(whole)) > LONGEST:
                    raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), whole)
                try:
                    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield whole, folder, name, status
                if stat.S_ISDIR(status.st_mode):
                    inner.append(whole)
            pending += reversed(inner)


@contextlib.contextmanager
def opened(parent: int, path: str) -> Iterator[int]:
    """A folder below another one, no link in its path. Raises OSError."""
    fd = syscalls.openat2(parent, path, FOLDER, INSIDE)
    try:
        yield fd
    finally:
        os.close(fd)
