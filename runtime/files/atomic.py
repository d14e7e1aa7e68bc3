"""Atomic writes of files: a crash leaves the old or the new, never half of either (a temporary file, fsync, rename).

Temporary files are called `.new-…`; whoever sweeps a folder may remove those that nobody is writing.
"""

from __future__ import annotations

import os
import tempfile

TEMPORARY = ".new-"


def write(path: str, data: bytes, *, durable: bool = True) -> None:
    """The whole file, in place of what was there. Not `durable`: a crash of the machine may lose it. Raises OSError."""
    fd, made = tempfile.mkstemp(prefix=TEMPORARY, dir=os.path.dirname(path))
    try:
        with open(fd, "wb") as out:
            out.write(data)
            if durable:
                out.flush()
                os.fsync(fd)
        os.rename(made, path)
    except BaseException:
        os.unlink(made)
        raise


def sync(folder: str) -> None:
    """Everything of the folder's file system is on the disk when this returns (man 2 syncfs)."""
    from pycompose.runtime.linux import syscalls

    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syscalls.syncfs(fd)
    finally:
        os.close(fd)
