"""Unix sockets at paths of any length: an address has room for 107 bytes (unix(7)).

A longer path is reached through a descriptor of its folder, by /proc. Standard library only; the calls do not wait.
What it does not do: names longer than that, which no folder of ours has.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 107  # bytes, the one that ends it apart


def bind(unix: socket.socket, path: str) -> None:
    """Make the socket's file. Raises OSError."""
    with _address(path) as address:
        unix.bind(address)


def connect(unix: socket.socket, path: str) -> None:
    """Raises OSError, as connect(2)."""
    with _address(path) as address:
        unix.connect(address)


@contextmanager
def _address(path: str) -> Iterator[str]:
    if len(os.fsencode(path)) <= LONGEST:
        yield path
        return
    folder, name = os.path.split(path)
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)
