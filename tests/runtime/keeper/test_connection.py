"""A client's connection in the keeper: it never makes the keeper wait."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from pycompose.runtime.keeper import connection, messages
from pycompose.runtime.keeper.connection import Client, Refused, Reply
from pycompose.runtime.keeper.loop import Loop
from pycompose.runtime.keeper.messages import Done, ListRunning, OutOfMemory, Refusal, Request, RunningIds


class Served:
    """A client in a loop, and the other end of its connection."""

    def __init__(self) -> None:
        self.loop = Loop()
        theirs, self.other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.other.settimeout(5)
        self.requests: list[Request] = []
        self.gone: list[Client] = []
        self.error: Exception | None = None
        self.client = Client(self.loop, theirs, self.serve, self.gone.append)

    def serve(self, request: Request, reply: Reply) -> None:
        self.requests.append(request)
        if self.error:
            raise self.error
        reply(RunningIds(("a",)))

    def answer(self) -> object:
        return messages.receive(self.other)[0]


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.client.close()
    served.other.close()
    served.loop.close()


def test_a_request_is_served_and_answered(served: Served) -> None:
    messages.send(served.other, ListRunning())
    served.loop.turn()
    assert served.requests == [ListRunning()]
    assert served.answer() == RunningIds(("a",))


def test_what_cannot_be_done_is_an_answer(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    complaints: list[int] = []
    monkeypatch.setattr(connection, "complain", lambda: complaints.append(1))
    for error, answer in (
        (Refused("it does not run", "find"), Refusal("it does not run", "find")),
        (OSError(errno.EIO, "no disk"), Refusal("OSError: [Errno 5] no disk", "request", errno.EIO)),
        (OSError(errno.ENOSPC, "no room", "/x"), Refusal("/x: no room", "start", errno.ENOSPC)),
        (BlockingIOError(errno.EAGAIN, "no process", "clone3"), Refusal("no process", "start", errno.EAGAIN)),
        (MemoryError(), Refusal("Cannot allocate memory", "start", errno.ENOMEM)),
    ):
        served.error = error
        messages.send(served.other, ListRunning())
        served.loop.turn()
        assert served.answer() == answer
    assert complaints == [1], "only what nobody expected is in the log"


@pytest.mark.parametrize("nonsense", [b"{", b'{"is": "Done"}', b'{"is": "Start"}'])
def test_what_is_no_request_is_refused_and_the_connection_stays(served: Served, nonsense: bytes) -> None:
    served.other.send(nonsense)
    served.loop.turn()
    assert isinstance(served.answer(), Refusal)
    messages.send(served.other, ListRunning())
    served.loop.turn()
    assert served.answer() == RunningIds(("a",))


def test_what_is_not_read_yet_waits_in_order_with_its_descriptors(served: Served) -> None:
    reader, writer = os.pipe()
    sent = [OutOfMemory(f"{number:0>500}") for number in range(1000)]
    for event in sent:
        served.client.send(event, [writer])
    os.close(writer)
    received: list[Any] = []
    while len(received) < len(sent):
        message, descriptors = messages.receive(served.other)
        assert len(descriptors) == 1
        messages.close_all(descriptors)
        received.append(message)
        served.loop.later(0, lambda: None)
        served.loop.turn()
    assert received == sent
    assert os.read(reader, 1) == b"", "no descriptor is left open"
    os.close(reader)


def test_a_client_that_lags_too_far_behind_is_dropped(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "note", lambda text: None)
    monkeypatch.setattr(connection, "LONGEST_QUEUE", 10)
    while not served.client.closed:
        served.client.send(Done())
    assert served.gone == [served.client]
    served.client.send(Done())  # nobody is there any more


def test_its_end_is_told_once(served: Served) -> None:
    served.other.close()
    served.loop.turn()
    served.client.close()
    assert served.gone == [served.client]
