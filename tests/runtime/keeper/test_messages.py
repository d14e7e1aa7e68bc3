"""The keeper's messages: each comes back as it went, and nothing else is taken for one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pycompose.runtime.keeper import messages
from pycompose.runtime.keeper.messages import Ended, Exec, Keep, Malformed, Message, Prepared, Refusal, Start

VALUES = {
    "str": "a",
    "int": 3,
    "bool": True,
    "int | None": None,
    "tuple[str, ...]": ("a", "b"),
    "Mapping[str, Any]": {"args": ["a"]},
    "Streams": messages.Streams.DETACHED,
}


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("kind", get_args(Message), ids=lambda kind: kind.__name__)
def test_a_message_comes_back_as_it_went(kind: type[Message]) -> None:
    values: dict[str, Any] = {name: VALUES[form] for name, form in kind.__annotations__.items()}
    message: Message = kind(**values)
    assert messages.decode(messages.encode(message)) == message


@pytest.mark.parametrize("kind", get_args(Message), ids=lambda kind: kind.__name__)
def test_a_message_is_listed_at_the_head_of_the_module(kind: type[Message]) -> None:
    assert messages.__doc__
    assert kind.__name__ in messages.__doc__


def test_what_a_message_leaves_out_is_as_it_is_declared() -> None:
    assert messages.decode(b'{"is": "Exec", "id": "a", "process": {}}') == Exec(
        "a", {}, messages.Streams.CAPTURED, privileged=False, bound=False
    )
    assert messages.decode(b'{"is": "Refusal", "message": "no"}') == Refusal("no", "request", 0, 125)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"{",
        b"[]",
        b"\xff",
        b"7",
        b"{}",
        b'{"is": []}',
        b'{"is": "__init__"}',
        b'{"is": "Start"}',
        b'{"is": "Start", "id": 7}',
        b'{"is": "RecordExit", "id": "a", "code": true}',
        b'{"is": "Ended", "id": "a", "code": "7", "oom_killed": false}',
        b'{"is": "Keep", "id": "a", "names": ["a", 7]}',
        b'{"is": "Exec", "id": "a", "process": []}',
        b"[" * 100_000,
    ],
)
def test_nonsense_is_malformed(nonsense: bytes) -> None:
    with pytest.raises(Malformed):
        messages.decode(nonsense)


def test_a_message_that_was_cut_off_is_malformed() -> None:
    with pytest.raises(Malformed):
        messages.decode(messages.encode(Start("a")), socket.MSG_TRUNC)


def test_descriptors_go_beside_a_message_and_are_closed_on_exec(pair: tuple[socket.socket, socket.socket]) -> None:
    reader, writer = os.pipe()
    messages.send(pair[0], Keep("a", ("out",)), [reader])
    os.close(reader)
    message, passed = messages.receive(pair[1])
    assert message == Keep("a", ("out",))
    assert not os.get_inheritable(passed[0])
    os.write(writer, b"x")
    assert os.read(passed[0], 2) == b"x"
    messages.close_all([*passed, writer])


def test_descriptors_beside_nonsense_are_closed(pair: tuple[socket.socket, socket.socket]) -> None:
    reader, writer = os.pipe()
    messages.send_bytes(pair[0], b"nonsense", [writer])
    os.close(writer)
    with pytest.raises(Malformed):
        messages.receive(pair[1])
    assert os.read(reader, 1) == b"", "nobody holds the other end any more"
    os.close(reader)


def test_the_end_of_a_connection_is_no_message(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].close()
    assert messages.receive(pair[1]) == (None, [])


def test_a_code_that_nobody_knows_is_none() -> None:
    assert messages.decode(messages.encode(Ended("a", None, True))) == Ended("a", None, True)
    assert messages.decode(messages.encode(Prepared(3, ("a note",)))) == Prepared(3, ("a note",))
