"""Flushing a whole file system to the disk."""

from __future__ import annotations

import os

from pycompose.runtime.linux import syscalls


def flush_file_system(folder: str) -> None:
    """Everything of the folder's file system is on the disk when this returns (man 2 syncfs). Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syscalls.syncfs(descriptor)
    finally:
        os.close(descriptor)
