"""The line between the command line and a project's supervisor: JSON, one message a line, over a unix socket.

A request is one object; answers are any number of objects, the first {"hello": pid} at once, the last with the key
"done" or "error". Whoever connects must have the supervisor's own user id or be root. A client that goes away cancels
what it asked for. A request may bring descriptors: they stay open until it is dealt with, so a lock that a client holds
is held as long as its work is being undone, even when the client was killed.
The client's half is blocking and imports no trio, so that `ps` and `logs` start fast; `Server` is the supervisor's.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pycompose.errors import PycomposeError

if TYPE_CHECKING:
    import trio

PATIENCE = 15.0  # seconds until a supervisor says hello
TAKING_NOTE = 2.0  # seconds until a keeper has noticed that its supervisor died
LONGEST_LINE = 64 << 20  # bytes; a plan of thousands of containers is far below
SPACE = socket.CMSG_SPACE(16 * 4)
CREDENTIALS = struct.Struct("3i")  # pid, uid, gid of SO_PEERCRED

Message = dict[str, Any]
Reply = Callable[[Message], Awaitable[None]]
Handler = Callable[[Message, Reply], Awaitable[None]]


class ControlError(PycomposeError):
    """The supervisor cannot be reached, or broke off."""


def encode(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """One message. Raises ControlError for what is no JSON object."""
    try:
        message = json.loads(line)
    except ValueError as error:
        raise ControlError("the control socket carries something that is no JSON") from error
    if not isinstance(message, dict):
        raise ControlError("the control socket carries JSON that is no object")
    return message


def peer_allowed(connection: socket.socket | trio.SocketStream) -> bool:
    """Whether the other end runs as our user or as root."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    _, uid, _ = CREDENTIALS.unpack(credentials)
    return uid in (0, os.geteuid())


def request(path: str, message: Message, descriptors: Sequence[int] = ()) -> Iterator[Message]:
    """Ask the supervisor at `path`; yield its answers up to the last. Closing the iterator cancels the request.

    Raises ControlError, also when nobody answers within PATIENCE seconds: a supervisor may be starting just now.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.settimeout(PATIENCE)
            _connect(connection, path)
            data = encode(message)
            sent = socket.send_fds(connection, [data], list(descriptors)) if descriptors else 0
            if sent < len(data):  # an empty send is EPIPE where the work is done already
                connection.sendall(data[sent:])
        except OSError as error:
            raise ControlError(f"cannot reach the supervisor: {error.strerror}", hint=path) from error
        with connection.makefile("rb") as lines:
            for line in _lines(lines, connection, path):
                answer = decode(line)
                if "hello" in answer:
                    continue
                if "error" in answer:
                    raise ControlError(
                        str(answer["error"]),
                        hint=str(answer.get("hint", "")),
                        exit_code=int(answer.get("exit_code", 1)),
                    )
                yield answer
                if "done" in answer:
                    return
    raise ControlError("the supervisor went away before it was done", hint="run the command again: it goes on")


def _connect(connection: socket.socket, path: str) -> None:
    """Raises OSError. Between a supervisor's death and its keeper's taking note nobody listens, for milliseconds."""
    end = time.monotonic() + TAKING_NOTE
    while True:
        try:
            connection.connect(path)
            return
        except (ConnectionRefusedError, FileNotFoundError):
            if time.monotonic() > end:
                raise
        time.sleep(0.01)  # nothing tells who is no child and no parent of theirs


def _lines(lines: Iterable[bytes], connection: socket.socket, path: str) -> Iterator[bytes]:
    try:
        for line in lines:
            yield line
            connection.settimeout(None)  # it is there; how long its work takes is not for us to say
    except TimeoutError as error:
        log = os.path.join(os.path.dirname(path), "supervisor.log")
        raise ControlError("the supervisor does not come up", hint=f"see {log}") from error
    except OSError as error:
        raise ControlError(f"the supervisor broke off: {error.strerror}") from error


async def serve(listener: socket.socket, handler: Handler) -> None:
    """Answer everyone who connects to `listener` (bound, listening), until cancelled.

    `handler` gets the request and a function that sends an answer; when it returns, "done" is sent. Its PycomposeError
    becomes the answer "error"; any other exception too, with its traceback on stderr: one request that goes wrong must
    not end what looks after running containers. It is cancelled when the client goes away.
    """
    import trio

    async with trio.open_nursery() as nursery:
        accepting = trio.socket.from_stdlib_socket(listener)
        while True:
            connection, _ = await accepting.accept()
            nursery.start_soon(_attend, trio.SocketStream(connection), handler)


async def _attend(stream: trio.SocketStream, handler: Handler) -> None:
    """One connection that goes wrong is no reason to end the others."""
    try:
        await _converse(stream, handler)
    except Exception:
        traceback.print_exc(file=sys.stderr)


async def _converse(stream: trio.SocketStream, handler: Handler) -> None:
    import trio

    gone = False
    sending = trio.Lock()  # answers of several tasks must not mix

    async def reply(message: Message) -> None:
        nonlocal gone
        async with sending:
            try:
                await stream.send_all(encode(message))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                gone = True

    async def watch(scope: trio.CancelScope) -> None:
        nonlocal gone
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.receive_some(1)  # a client says nothing more: data or end, it is over
        gone = True
        scope.cancel()

    descriptors: list[int] = []
    try:
        async with stream:
            if not peer_allowed(stream):
                return
            answer: Message = {}
            try:
                message = decode(await _line(stream, descriptors))
            except ControlError as error:
                await reply({"error": error.message})
                return
            except (OSError, trio.BrokenResourceError):
                return
            await reply({"hello": os.getpid()})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch, nursery.cancel_scope)
                answer = await _outcome(handler, message, reply)
                nursery.cancel_scope.cancel()
            if answer and not gone:
                await reply(answer)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


async def _outcome(handler: Handler, message: Message, reply: Reply) -> Message:
    try:
        await handler(message, reply)
    except PycomposeError as error:
        return {"error": str(error), "hint": error.hint, "exit_code": error.exit_code}
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        return {"error": f"internal error: {type(error).__name__}: {error}", "internal": True, "exit_code": 1}
    return {"done": True}


async def _line(stream: trio.SocketStream, descriptors: list[int]) -> bytes:
    """Everything up to the first newline; descriptors that come along are added to `descriptors`."""
    found = bytearray()
    while not found.endswith(b"\n"):
        part, ancillary, _, _ = await stream.socket.recvmsg(1 << 18, SPACE, socket.MSG_CMSG_CLOEXEC)
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors += [int.from_bytes(content[n : n + 4], sys.byteorder) for n in range(0, len(content), 4)]
        if not part:
            raise ControlError("a request broke off")
        found += part
        if len(found) > LONGEST_LINE:
            raise ControlError("a request is too long")
    return bytes(found)
