"""The supervisor's half of the control socket, over trio. Only the supervisor's own user and root may ask.

One request a connection; while it is dealt with, the client may tell how steps went that it does itself. A client that
goes away cancels what it asked for; a request that goes wrong ends nothing but itself, because the same process looks
after running containers.
"""

from __future__ import annotations

import errno
import math
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio
from pycompose import shortages
from pycompose.errors import PycomposeError, SystemRefused
from pycompose.log_lines import complain

from . import protocol
from .protocol import Answer, ControlError, Hello, ProviderEnded, Request, RequestDone, RequestFailed

LONGEST_LINE = 64 << 20  # bytes; a plan of thousands of containers is far below
SPACE = socket.CMSG_SPACE(16 * 4)
CREDENTIALS = struct.Struct("3i")  # pid, uid, gid of SO_PEERCRED

Reply = Callable[..., Awaitable[None]]  # of Reports: what is told at once is one message
Endings = trio.MemoryReceiveChannel[ProviderEnded]
Handler = Callable[[Request, Reply, Endings], Awaitable[None]]


async def serve(listener: socket.socket, handler: Handler) -> None:
    """Answer everyone who connects to `listener` (bound, listening), until cancelled.

    `handler` gets the request, a function that sends an answer, and what the client tells meanwhile; when it returns,
    RequestDone is sent. Its
    PycomposeError becomes RequestFailed; any other exception too, with its traceback on stderr.
    """
    async with trio.open_nursery() as nursery:
        accepting = trio.socket.from_stdlib_socket(listener)
        while True:
            try:
                connection, _ = await accepting.accept()
            except OSError as error:
                if error.errno in shortages.NO_SOCKET:
                    await trio.sleep(shortages.PAUSE)
                continue
            nursery.start_soon(_attend, trio.SocketStream(connection), handler)


async def _attend(stream: trio.SocketStream, handler: Handler) -> None:
    """One connection that goes wrong is no reason to end the others."""
    descriptors: list[int] = []
    try:
        async with stream:
            if peer_allowed(stream):
                await _converse(stream, handler, descriptors)
    except Exception:
        complain()
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def peer_allowed(connection: trio.SocketStream) -> bool:
    """Whether the other end runs as our user or as root."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    _, uid, _ = CREDENTIALS.unpack(credentials)
    return uid in (0, os.geteuid())


async def _converse(stream: trio.SocketStream, handler: Handler, descriptors: list[int]) -> None:
    gone = False
    sending = trio.Lock()  # answers of several tasks must not mix

    async def reply(*answers: Answer) -> None:
        nonlocal gone
        async with sending:
            try:
                await stream.send_all(b"".join(map(protocol.encode, answers)))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                gone = True

    sender, endings = trio.open_memory_channel[ProviderEnded](math.inf)

    async def watch(scope: trio.CancelScope) -> None:
        nonlocal gone
        with sender, suppress(trio.BrokenResourceError, trio.ClosedResourceError, OSError, PycomposeError):
            while True:
                for line in (await _line(stream, descriptors)).splitlines():
                    with suppress(trio.BrokenResourceError):  # nobody asks for it
                        sender.send_nowait(protocol.decode_ended(line))
        gone = True
        scope.cancel()

    try:
        request = protocol.decode_request(await _line(stream, descriptors))
    except (ControlError, SystemRefused) as error:
        await reply(RequestFailed(error.message, error.hint))
        return
    except (OSError, trio.BrokenResourceError):
        return
    await reply(Hello(os.getpid()))
    outcome: RequestDone | RequestFailed | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, nursery.cancel_scope)
        with endings:
            outcome = await _outcome(handler, request, reply, endings)
        nursery.cancel_scope.cancel()
    if outcome is not None and not gone:
        await reply(outcome)


async def _outcome(handler: Handler, request: Request, reply: Reply, endings: Endings) -> RequestDone | RequestFailed:
    try:
        await handler(request, reply, endings)
    except PycomposeError as error:
        return RequestFailed(str(error), error.hint, error.exit_code)
    except Exception as error:
        if short := shortages.number(error):
            return RequestFailed(shortages.reason(error), shortages.hint(short))
        complain()
        return RequestFailed(f"internal error: {type(error).__name__}: {error}", internal=True)
    return RequestDone()


async def _line(stream: trio.SocketStream, descriptors: list[int]) -> bytes:
    """Everything up to the first newline; descriptors that come along are added to `descriptors`."""
    line = bytearray()
    while not line.endswith(b"\n"):
        part, ancillary, flags, _ = await stream.socket.recvmsg(1 << 18, SPACE, socket.MSG_CMSG_CLOEXEC)
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors += [int.from_bytes(content[n : n + 4], sys.byteorder) for n in range(0, len(content), 4)]
        if flags & socket.MSG_CTRUNC:  # the project's lock among them: without it nothing may be begun
            raise SystemRefused(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
        if not part:
            raise ControlError("a request broke off")
        line += part
        if len(line) > LONGEST_LINE:
            raise ControlError("a request is too long")
    return bytes(line)
