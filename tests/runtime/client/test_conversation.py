"""A client's side of the keeper's protocol, without I/O."""

from __future__ import annotations

import array
import os
import socket

import pytest
from pycompose.runtime.client.conversation import Conversation
from pycompose.runtime.errors import KeeperGone, NoSuchContainer, StartFailed
from pycompose.runtime.keeper.messages import (
    Done,
    Ended,
    Go,
    Message,
    OutOfMemory,
    Prepared,
    Refusal,
    Start,
    decode,
    encode,
)


def hear(conversation: Conversation, wanted: type[Done | Prepared], message: Message) -> object:
    return conversation.hear(wanted, encode(message), [], 0)


def test_a_request_and_its_answer() -> None:
    conversation = Conversation()
    assert decode(conversation.ask(Start("a"))) == Start("a")
    assert hear(conversation, Prepared, Prepared(7)) == (Prepared(7), [])


def test_events_before_an_answer_are_kept_in_order() -> None:
    conversation = Conversation()
    conversation.ask(Start("a"))
    events = (OutOfMemory("b"), Ended("b", 137, True))
    for event in events:
        assert hear(conversation, Prepared, event) is None
    assert hear(conversation, Prepared, Prepared(7)) == (Prepared(7), [])
    assert tuple(conversation.events) == events


def test_a_refusal_is_an_error_of_the_container_that_was_asked_about() -> None:
    conversation = Conversation()
    conversation.ask(Go("a"))
    with pytest.raises(NoSuchContainer) as missing:
        hear(conversation, Done, Refusal("it does not run", "find"))
    assert missing.value.container_id == "a"
    with pytest.raises(StartFailed) as failed:
        hear(conversation, Done, Refusal("no such file", "exec", 2, 127))
    assert (failed.value.container_id, failed.value.step, failed.value.errno) == ("a", "exec", 2)
    assert (failed.value.reason, failed.value.exit_code) == ("no such file", 127)


def test_the_end_nonsense_and_another_answer_are_a_keeper_that_is_gone() -> None:
    for data in (b"", b"nonsense", encode(Prepared(7))):
        with pytest.raises(KeeperGone):
            Conversation().hear(Done, data, [], 0)


def test_descriptors_of_an_answer_that_nobody_wants_are_closed() -> None:
    reader, writer = os.pipe()
    beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writer]).tobytes())]
    with pytest.raises(StartFailed):
        Conversation().hear(Done, encode(Refusal("no")), beside, 0)
    assert os.read(reader, 1) == b""
    os.close(reader)
