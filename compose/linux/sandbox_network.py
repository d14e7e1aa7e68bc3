"""What whoever joins a container to its networks asks of this machine: the ports of its sockets, the host's /etc files.

`wiring` says what is to be; this looks. It joins nothing itself.
"""

from __future__ import annotations

import os
import socket


def port_of(fd: int) -> int:
    """The port that a bound socket got. Raises OSError."""
    with socket.socket(fileno=os.dup(fd)) as made:
        return int(made.getsockname()[1])


def host_text(path: str) -> str:
    """A text file of the host; "" where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
