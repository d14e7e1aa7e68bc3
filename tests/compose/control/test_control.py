"""The control socket: answers in order, errors with their exit code, and a client that goes away cancels."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
import trio
from pycompose.compose.control import protocol
from pycompose.errors import PycomposeError


def listening(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    listener.setblocking(False)
    return listener


async def asked(handler: protocol.Handler, path: str, message: protocol.Message) -> list[protocol.Message]:
    """All answers to one request."""
    with listening(path) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(protocol.serve, listener, handler)
            try:
                return await trio.to_thread.run_sync(lambda: list(protocol.request(path, message)))
            finally:
                nursery.cancel_scope.cancel()
    raise AssertionError("unreachable")


async def test_answers_come_in_order_and_end_with_done(tmp_path: Path) -> None:
    async def count(message: protocol.Message, reply: protocol.Reply) -> None:
        for number in range(message["to"]):
            await reply({"number": number})

    found = await asked(count, str(tmp_path / "s"), {"to": 3})
    assert found == [{"number": 0}, {"number": 1}, {"number": 2}, {"done": True}]


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
                connection.sendall(protocol.encode({"hello": 1}) + protocol.encode({"done": True}))

    later = threading.Timer(0.1, replaced)
    later.start()
    assert list(protocol.request(str(path), {})) == [{"done": True}]
    later.join()


async def test_an_error_keeps_its_text_and_exit_code(tmp_path: Path) -> None:
    async def fail(message: protocol.Message, reply: protocol.Reply) -> None:
        raise PycomposeError("no such image", exit_code=125)

    listener = listening(str(tmp_path / "s"))
    found: list[protocol.ControlError] = []

    def ask() -> None:
        try:
            list(protocol.request(str(tmp_path / "s"), {}))
        except protocol.ControlError as error:
            found.append(error)

    with listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(protocol.serve, listener, fail)
            await trio.to_thread.run_sync(ask)
            nursery.cancel_scope.cancel()
    assert [(error.message, error.exit_code) for error in found] == [("no such image", 125)]


async def test_a_client_that_goes_away_cancels(tmp_path: Path) -> None:
    cancelled = trio.Event()

    async def forever(message: protocol.Message, reply: protocol.Reply) -> None:
        await reply({"began": True})
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    path = str(tmp_path / "s")
    with listening(path) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(protocol.serve, listener, forever)

            def begin_and_leave() -> None:
                answers = protocol.request(path, {})
                assert next(answers) == {"began": True}
                answers.close()  # type: ignore[attr-defined]

            await trio.to_thread.run_sync(begin_and_leave)
            with trio.fail_after(5):
                await cancelled.wait()
            nursery.cancel_scope.cancel()


def test_nobody_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "TAKING_NOTE", 0.0)
    with pytest.raises(protocol.ControlError, match="cannot reach"):
        list(protocol.request(str(tmp_path / "none"), {}))


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(protocol.ControlError):
        protocol.decode(b"[1]\n")
