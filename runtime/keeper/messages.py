"""The keeper's messages: typed, one JSON object a SEQPACKET message, with descriptors beside it.

On keeper.sock, a client asks one thing at a time; "+" are descriptors beside a message:
    Start(id)                    -> Prepared(pid, notes) + pidfd, netns, sockets…   made, and waits for `Go`
    Go(id)                       -> Done                                           its program runs
    Abandon(id)                  -> Done       what `Start` made is gone; so it is if the connection closes
    FindSandbox(id)              -> SandboxAt(pid) + pidfd, netns, sockets…
    Exec(id, process, …)         -> Executing(pid) + our ends of its streams; at its end ExecEnded(code)
    OpenInput(id)                -> Done + what is written to reaches its stdin, or its terminal's master
    TakeStreams(id, rows, columns) -> Done; once its program runs StreamsTaken + pidfd, our ends of its streams; at its
                                    end RunEnded(code). Until the connection closes nothing of its output is logged
    DropOutput(id, stream)       -> Done       nobody reads that output of it any more: SIGPIPE
    ListRunning                  -> RunningIds(ids)
    RecordExit(id, code)         -> Done                  an exit code that the keeper could not know
    Subscribe                    -> Done; then Ended(id, code, oom_killed, pid), OutOfMemory(id),
                                    ExecBegan(id, execution, command) and ExecDied(id, execution, code)
    EndKeeper                    -> Done and the keeper ends; refused while a container runs
    any                          -> Refusal(message, step, errno, exit_code) if it cannot be done
On the channel of a container's first process:
    FirstReady(notes) + pty master, sockets…  then it waits for b"start"
    Refusal                                   it could not be made; a successful execve closes the channel
    4 bytes, an errno: NotExecuted(errno)     the same, from a program that is no Python (`runtime.init.reaper`)
On the channel of whoever joins a container:
    FirstReady + pty master                   if it has a terminal
    Refusal                                   it could not be made; else see `runtime.init.birth`
On store.sock, to and from the process that holds descriptors:
    Keep(id, names) + descriptors -> nothing;   Drop(id) -> nothing
    GiveBack                      -> Keep(id, names) + descriptors for each container, then GivenBack(pid)

Standard library only; never waits where the socket does not. Descriptors that arrive are closed on exec.
"""

from __future__ import annotations

import array
import errno
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from pycompose.frozen import dataclass

READY = "listening"  # to who launched a keeper; anything else is an errno (0: of another kind) and the reason
LIMIT = 1 << 18  # bytes of a message
MOST = 32  # descriptors beside it
ROOM = socket.CMSG_SPACE(MOST * 4)  # bytes for them


class Malformed(Exception):
    """A message that is none of these, or is cut off."""


# --- requests ---


@dataclass(frozen=True, slots=True)
class Start:
    id: str


@dataclass(frozen=True, slots=True)
class Go:
    id: str


@dataclass(frozen=True, slots=True)
class Abandon:
    id: str


@dataclass(frozen=True, slots=True)
class FindSandbox:
    id: str


class Streams(StrEnum):
    """What descriptors 0-2 of a process are, and which ends the answer brings. A process with a terminal has that."""

    INTERACTIVE = "interactive"  # three pipes: the writing end of the first, the reading ends of the others
    CAPTURED = "captured"  # nothing to read, and one pipe for both outputs: its reading end
    DETACHED = "detached"  # nothing to read, and nobody hears it: none


@dataclass(frozen=True, slots=True)
class Exec:
    """`process` is a Process in JSON's plain values. `bound`: it is killed when the connection closes.

    No descriptor of the caller's is ever passed on: the keeper makes them. `rows` and `columns` are a terminal's size.
    """

    id: str
    process: Mapping[str, Any]
    streams: Streams = Streams.CAPTURED
    privileged: bool = False
    bound: bool = False
    rows: int = 0
    columns: int = 0


@dataclass(frozen=True, slots=True)
class OpenInput:
    id: str


@dataclass(frozen=True, slots=True)
class TakeStreams:
    """Asked before a container is started: its stdin is a pipe then, which ends with whoever writes to it, and nobody
    reads its outputs but the client. `rows` and `columns` are the size of its terminal, should it have one."""

    id: str
    rows: int = 0
    columns: int = 0


@dataclass(frozen=True, slots=True)
class DropOutput:
    id: str
    stream: int  # 1 or 2


@dataclass(frozen=True, slots=True)
class ListRunning:
    pass


@dataclass(frozen=True, slots=True)
class RecordExit:
    id: str
    code: int


@dataclass(frozen=True, slots=True)
class Subscribe:
    pass


@dataclass(frozen=True, slots=True)
class EndKeeper:
    pass


Request = (
    Start
    | Go
    | Abandon
    | FindSandbox
    | Exec
    | OpenInput
    | TakeStreams
    | DropOutput
    | ListRunning
    | RecordExit
    | Subscribe
    | EndKeeper
)


# --- answers ---


@dataclass(frozen=True, slots=True)
class Done:
    pass


@dataclass(frozen=True, slots=True)
class Prepared:
    """`notes` are what this machine does not do of what was asked for."""

    pid: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SandboxAt:
    pid: int


@dataclass(frozen=True, slots=True)
class Executing:
    pid: int


@dataclass(frozen=True, slots=True)
class ExecEnded:
    """`code` is 128 + n for signal n."""

    code: int


@dataclass(frozen=True, slots=True)
class StreamsTaken:
    """Beside it are a pidfd and: the master of its terminal; or its stdout, its stderr and, where it is open, its
    stdin."""


@dataclass(frozen=True, slots=True)
class RunEnded:
    """`code` is None where nobody could tell it."""

    code: int | None


@dataclass(frozen=True, slots=True)
class RunningIds:
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """`step` is what was being done ("find": there is no such container), `exit_code` 125, 126 or 127."""

    message: str
    step: str = "request"
    errno: int = 0
    exit_code: int = 125


Answer = Done | Prepared | SandboxAt | Executing | ExecEnded | StreamsTaken | RunEnded | RunningIds | Refusal


# --- events ---


@dataclass(frozen=True, slots=True)
class Ended:
    """`code` is None where nobody could tell it; `pid`, of the first process, tells one run of a container from the
    next, which may be under way when this is heard."""

    id: str
    code: int | None
    oom_killed: bool
    pid: int = 0


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """The kernel has killed a process in it for want of memory; the container may live on."""

    id: str


@dataclass(frozen=True, slots=True)
class ExecBegan:
    """A further process runs in it; `execution` is a name of its own, `command` its arguments in one line."""

    id: str
    execution: str
    command: str


@dataclass(frozen=True, slots=True)
class ExecDied:
    """`code` is 128 + n for a signal."""

    id: str
    execution: str
    code: int


Event = Ended | OutOfMemory | ExecBegan | ExecDied


# --- a process that is being made ---


@dataclass(frozen=True, slots=True)
class FirstReady:
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotExecuted:
    errno: int


# --- the store of descriptors ---


@dataclass(frozen=True, slots=True)
class Keep:
    """A descriptor beside it for each name."""

    id: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drop:
    id: str


@dataclass(frozen=True, slots=True)
class GiveBack:
    pass


@dataclass(frozen=True, slots=True)
class GivenBack:
    """`pid` is the store's own process."""

    pid: int


Message = Request | Answer | Event | FirstReady | NotExecuted | Keep | Drop | GiveBack | GivenBack

_KINDS: Mapping[str, Any] = {kind.__name__: kind for kind in Message.__args__}


# --- text ---


def _texts(value: Any) -> tuple[str, ...]:
    if type(value) is not list or any(type(item) is not str for item in value):
        raise Malformed("a list of texts is wanted")
    return tuple(value)


def _streams(value: Any) -> Streams:
    try:
        return Streams(value)
    except ValueError as error:
        raise Malformed("streams are wanted") from error


def _is(*kinds: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) not in kinds:
            raise Malformed(f"a value of type {kinds[0].__name__} is wanted")
        return value

    return read


_READERS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "str": _is(str),
        "int": _is(int),
        "bool": _is(bool),
        "int | None": _is(int, type(None)),
        "tuple[str, ...]": _texts,
        "Mapping[str, Any]": _is(dict),
        "Streams": _streams,
    }
)


def encode(message: Message) -> bytes:
    kind = type(message)
    return json.dumps({"is": kind.__name__} | {name: getattr(message, name) for name in kind.__annotations__}).encode(
        "ascii"
    )


def decode(data: bytes, flags: int = 0) -> Message:
    """A message; `flags` are those of recvmsg. Raises Malformed."""
    if flags & socket.MSG_TRUNC:
        raise Malformed("a message is too long")
    if len(data) == 4:
        return NotExecuted(int.from_bytes(data, sys.byteorder))
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Malformed("a message is no JSON") from error
    if type(tree) is not dict or type(tree.get("is")) is not str or tree["is"] not in _KINDS:
        raise Malformed("there is no such message")
    kind = _KINDS[tree["is"]]
    values = {name: _READERS[form](tree[name]) for name, form in kind.__annotations__.items() if name in tree}
    try:
        message: Message = kind(**values)
    except TypeError as error:
        raise Malformed("a message lacks something") from error
    return message


# --- sockets ---


def send(connection: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Raises OSError (BlockingIOError if the socket does not wait and is full)."""
    send_bytes(connection, encode(message), descriptors)


def send_bytes(connection: socket.socket, data: bytes, descriptors: Sequence[int] = ()) -> None:
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))  # man 7 unix
    connection.sendmsg([data], [rights] if descriptors else [])


def receive(connection: socket.socket) -> tuple[Message | None, list[int]]:
    """A message and its descriptors; None at the end. Raises Malformed, and OSError (BlockingIOError)."""
    data, ancillary, flags, _ = connection.recvmsg(LIMIT, ROOM, socket.MSG_CMSG_CLOEXEC)
    return parse(data, ancillary, flags)


def parse(data: bytes, ancillary: Sequence[tuple[int, int, bytes]], flags: int) -> tuple[Message | None, list[int]]:
    """A message and its descriptors out of what recvmsg returned; None at the end.

    Raises Malformed, and OSError where this process has no room for the descriptors.
    """
    arrived = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            arrived.frombytes(content[: len(content) - len(content) % arrived.itemsize])
    descriptors = list(arrived)
    if flags & socket.MSG_CTRUNC:
        close_all(descriptors)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    try:
        return (decode(data, flags) if data else None), descriptors
    except Malformed:
        close_all(descriptors)
        raise


def close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
