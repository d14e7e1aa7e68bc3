"""The keeper's loop: handlers, timers, and what one of them does to another."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

import pytest
from pycompose.runtime.keeper.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        os.close(fd)


def test_a_handler_is_called_with_what_is_there(loop: Loop, pipe: tuple[int, int]) -> None:
    events: list[int] = []
    loop.watch(pipe[0], events.append)
    os.write(pipe[1], b"x")
    loop.turn()
    assert events == [select.EPOLLIN]


def test_timers_go_off_in_order_and_a_cancelled_one_not_at_all(loop: Loop) -> None:
    done: list[str] = []
    loop.later(0.002, lambda: done.append("second"))
    loop.later(0.0, lambda: done.append("first"))
    loop.later(0.001, lambda: done.append("never")).cancel()
    while len(done) < 2:
        loop.turn()
    assert done == ["first", "second"]


def test_what_a_handler_raises_ends_neither_the_loop_nor_the_others(
    loop: Loop, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[int] = []
    monkeypatch.setattr("pycompose.runtime.keeper.loop.complain", lambda: complaints.append(1))
    done: list[int] = []

    def fails(_: int) -> None:
        raise ValueError

    def fails_later() -> None:
        raise ZeroDivisionError

    second = os.dup(pipe[0])
    loop.watch(pipe[0], fails)
    loop.watch(second, done.append)
    loop.later(0, fails_later)
    os.write(pipe[1], b"x")
    loop.turn()
    assert done == [select.EPOLLIN]
    assert complaints == [1, 1]
    os.close(second)


def test_a_handler_that_another_took_away_in_the_same_turn_is_not_called(loop: Loop, pipe: tuple[int, int]) -> None:
    second = os.dup(pipe[0])
    done: list[int] = []

    def first_only(fd: int, other: int) -> None:
        done.append(fd)
        loop.unwatch(other)

    loop.watch(pipe[0], lambda _: first_only(pipe[0], second))
    loop.watch(second, lambda _: first_only(second, pipe[0]))
    os.write(pipe[1], b"x")
    loop.turn()
    assert len(done) == 1
    os.close(second)


def test_what_is_not_watched_can_be_unwatched(loop: Loop) -> None:
    loop.unwatch(1_000_000)
