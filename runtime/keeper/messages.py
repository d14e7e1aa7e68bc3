"""Messages between the keeper and who talks to it: one JSON object a SEQPACKET message, with descriptors beside it.

Standard library only; never waits where the socket does not. Descriptors that arrive are closed on exec.
"""

from __future__ import annotations

import array
import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

LIMIT = 1 << 18  # bytes of a message
MOST = 32  # descriptors beside it


class Malformed(Exception):
    """What came is no message."""


def send(connection: socket.socket, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Raises OSError (BlockingIOError if the socket does not wait and is full)."""
    send_bytes(connection, json.dumps(message).encode(), descriptors)


def send_bytes(connection: socket.socket, data: bytes, descriptors: Sequence[int] = ()) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    connection.sendmsg([data], rights)


def receive(connection: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """A message and its descriptors; None at the end. Raises Malformed, and OSError (BlockingIOError)."""
    room = socket.CMSG_SPACE(MOST * 4)
    data, ancillary, flags, _ = connection.recvmsg(LIMIT, room, socket.MSG_CMSG_CLOEXEC)
    descriptors = rights(ancillary)
    try:
        return (parse(data, flags) if data else None), descriptors
    except Malformed:
        close_all(descriptors)
        raise


def rights(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(content[: len(content) - len(content) % found.itemsize])
    return list(found)


def parse(data: bytes, flags: int = 0) -> dict[str, Any]:
    """One message. Raises Malformed."""
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        raise Malformed("a message is too long")
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Malformed("a message is no JSON") from error
    if not isinstance(message, dict):
        raise Malformed("a message is no JSON object")
    return message


def close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
