"""Files that are written whole or not at all: a crash leaves the old or the new, never half of either.

A file is written under a temporary name beside its place, flushed to the disk where that is wanted, and renamed.
Temporary names begin with `.new-`; whoever sweeps a folder may remove those that nobody is writing. Standard library
only, for the keeper writes records with it.
"""

from __future__ import annotations

import os
from _thread import get_ident
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from .shortages import FULL

TEMPORARY = ".new-"


def write(path: str, data: bytes, *, flush: bool = True, padded: bool = False, mode: int = 0o600) -> None:
    """Replace the file at `path`. Raises OSError; then the old one is there.

    Without `flush` a crash of the machine (not of the process) may lose it. With `padded`, on a full disk data that
    does not grow is written over the old in one call, and blanks make up the length: for JSON, which may end in any
    number of them, so that what runs can be stopped.
    """
    try:
        with replacing(path, flush=flush, mode=mode) as file:
            file.write(data)
    except OSError as error:
        if not (padded and error.errno in FULL and _written_over(path, data)):
            raise


def flush(path: str) -> None:
    """Return when the file's content is on the disk, as if it had been written with `flush`. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: str, *, flush: bool = True, mode: int = 0o600) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of the one at `path` unless the body raises. Raises OSError."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f"{TEMPORARY}{name}.{os.getpid()}.{get_ident()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb") as file:
            yield file
            if flush:
                file.flush()
                os.fsync(descriptor)
        os.rename(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _written_over(path: str, data: bytes) -> bool:
    try:
        with open(path, "r+b", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            return len(data) <= size and file.write(data.ljust(size)) == size
    except OSError:
        return False


def private(path: str, flags: int) -> int:
    """Opener (`open`) of files that are nobody else's, whatever the umask is."""
    return os.open(path, flags, 0o600)


# --- room that is taken before it is needed ---


def reserve(path: str, size: int) -> None:
    """Take the room that `write_reserved` needs, so that it cannot fail for want of it. Raises OSError."""
    with open(f"{path}.reserved", "wb", opener=private) as file:
        file.write(b" " * size)


def write_reserved(path: str, data: bytes, size: int) -> None:
    """As `write` without flushing, padded, into the `size` bytes that `reserve` took. Raises OSError."""
    descriptor = os.open(f"{path}.reserved", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(descriptor, "r+b", buffering=0) as file:
        file.write(data.ljust(size))
    os.rename(f"{path}.reserved", path)


def touch(path: str) -> None:
    """Set a file's times to now. A link is not followed. Raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.utime(file)
    finally:
        os.close(file)
