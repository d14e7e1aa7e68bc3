"""The control socket: answers in order, errors with their exit code, and a client that goes away cancels."""

from __future__ import annotations

import errno
import os
import socket
import threading
from pathlib import Path

import pytest
import trio
from pycompose.compose.control import client, protocol, server
from pycompose.compose.control.protocol import (
    Attach,
    CarryOut,
    Hello,
    Notice,
    Ping,
    Report,
    Request,
    RequestDone,
    RequestFailed,
    StepProgress,
)
from pycompose.compose.plan.steps import Plan, StartContainer, Step
from pycompose.errors import PycomposeError

PLAN = Plan("p", (Step("start p-web-1", StartContainer("p-web-1", "web"), "no such container"),), ("careful",))


def listening(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    listener.setblocking(False)
    return listener


async def asked(handler: server.Handler, path: str, message: Request) -> list[Report]:
    """All answers to one request."""
    with listening(path) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve, listener, handler)
            try:
                return await trio.to_thread.run_sync(lambda: list(client.request(path, message)))
            finally:
                nursery.cancel_scope.cancel()
    raise AssertionError("unreachable")


@pytest.mark.parametrize("request_", [CarryOut(PLAN, "ab", 3, ("web",)), Attach("p-web-1"), Ping()])
def test_a_request_arrives_as_it_was_sent(request_: Request) -> None:
    assert protocol.decode_request(protocol.encode(request_)) == request_


@pytest.mark.parametrize(
    "answer",
    [
        Hello(7),
        StepProgress("start", "failed", "why"),
        Notice("careful"),
        RequestDone(),
        RequestFailed("no", "try", 125),
    ],
)
def test_an_answer_arrives_as_it_was_sent(answer: protocol.Answer) -> None:
    assert protocol.decode_answer(protocol.encode(answer)) == answer


def test_a_plan_is_an_object_in_its_message_and_no_text() -> None:
    assert b'"plan":{' in protocol.encode(CarryOut(PLAN))


def test_an_answer_of_a_later_version_is_passed_over() -> None:
    assert protocol.decode_answer(b'{"kind":"Forecast","sunny":true}\n') is None


@pytest.mark.parametrize("line", [b'{"kind":"Forecast"}\n', b"[1]\n", b"{}\n", b"no\n"])
def test_what_is_no_request_is_refused(line: bytes) -> None:
    with pytest.raises(protocol.ControlError):
        protocol.decode_request(line)


async def test_answers_come_in_order_and_end_with_done(tmp_path: Path) -> None:
    async def count(request: Request, reply: server.Reply, _: server.Endings) -> None:
        assert request == CarryOut(PLAN, parallel=3)
        for number in range(3):
            await reply(Notice(str(number)))

    answers = await asked(count, str(tmp_path / "s"), CarryOut(PLAN, parallel=3))
    assert answers == [Notice("0"), Notice("1"), Notice("2")]


def test_a_supervisor_that_is_being_replaced_is_waited_for(tmp_path: Path) -> None:
    """The old one's socket is there and nobody listens; the new one comes a moment later."""
    path = tmp_path / "s"
    listening(str(path)).close()

    def replaced() -> None:
        path.unlink()
        with listening(str(path)) as listener:
            listener.setblocking(True)
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                for answer in (Hello(1), Notice("here"), RequestDone()):
                    connection.sendall(protocol.encode(answer))

    later = threading.Timer(0.1, replaced)
    later.start()
    assert list(client.request(str(path), Ping())) == [Notice("here")]
    later.join()


async def test_an_error_keeps_its_text_and_exit_code(tmp_path: Path) -> None:
    async def fail(request: Request, reply: server.Reply, _: server.Endings) -> None:
        raise PycomposeError("no such image", exit_code=125)

    with pytest.raises(ExceptionGroup) as caught:
        await asked(fail, str(tmp_path / "s"), Ping())
    (error,) = caught.value.exceptions
    assert isinstance(error, protocol.ControlError)
    assert (error.message, error.exit_code) == ("no such image", 125)


async def test_a_client_that_goes_away_cancels(tmp_path: Path) -> None:
    cancelled = trio.Event()

    async def forever(request: Request, reply: server.Reply, _: server.Endings) -> None:
        await reply(Notice("began"))
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    path = str(tmp_path / "s")
    with listening(path) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve, listener, forever)

            def begin_and_leave() -> None:
                answers = client.request(path, Ping())
                assert next(answers) == Notice("began")
                answers.close()

            await trio.to_thread.run_sync(begin_and_leave)
            with trio.fail_after(5):
                await cancelled.wait()
            nursery.cancel_scope.cancel()


def test_nobody_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TAKING_NOTE", 0.0)
    with pytest.raises(protocol.ControlError, match="cannot reach"):
        list(client.request(str(tmp_path / "none"), Ping()))


async def test_a_supervisor_without_descriptors_answers_once_it_has_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """accept(2) fails for want of a descriptor: that ends no process that looks after containers."""
    refusals = iter([errno.EMFILE, errno.ENFILE, errno.ECONNABORTED])
    real = trio.socket.from_stdlib_socket

    class Short:
        def __init__(self, listener: socket.socket) -> None:
            self.listener = real(listener)

        async def accept(self) -> object:
            if (number := next(refusals, None)) is not None:
                raise OSError(number, os.strerror(number))
            return await self.listener.accept()

    async def handler(request: Request, reply: server.Reply, _: server.Endings) -> None:
        pass

    monkeypatch.setattr(trio.socket, "from_stdlib_socket", Short)
    assert await asked(handler, str(tmp_path / "socket"), Ping()) == []


@pytest.mark.parametrize(
    ("error", "word"),
    [(OSError(errno.ENOSPC, "full", "/x"), "df -i"), (MemoryError(), "memory"), (OSError(5, "x"), "")],
)
async def test_a_request_that_fails_for_want_of_something_says_what_to_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, word: str
) -> None:
    complaints: list[int] = []
    monkeypatch.setattr(server, "complain", lambda: complaints.append(1))

    async def handler(request: Request, reply: server.Reply, _: server.Endings) -> None:
        raise error

    with pytest.raises(ExceptionGroup) as caught:
        await asked(handler, str(tmp_path / "socket"), Ping())
    (failure,) = caught.value.exceptions
    assert isinstance(failure, PycomposeError)
    assert word in failure.hint
    assert complaints == ([] if word else [1])
