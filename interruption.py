"""Interruption of blocking calls by another thread: what ^C is to a main thread, for calls in any other.

Whoever runs a call in an `Interruption` may break it off: what it waits for lets go, it raises `Interrupted`, and what
was under way is undone as after ^C. Rules: standard library only; without one in force everything here costs nothing.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Protocol

SHUT_RDWR = 2  # of socket, whose import is left to those that have one
PATIENCE = 0.02  # seconds between two looks at a lock, whose holder the kernel does not tell of


class Severable(Protocol):
    def shutdown(self, how: int, /) -> None: ...


class Interrupted(KeyboardInterrupt):
    """The call was broken off."""


class Interruption:
    """May be broken off by any thread, once; `over` tells whether it was."""

    def __init__(self) -> None:
        import threading  # not for commands, which need none

        self._lock = threading.Lock()
        self._over = threading.Event()
        self._wakes: dict[object, Callable[[], None]] = {}

    @property
    def over(self) -> bool:
        return self._over.is_set()

    def break_off(self) -> None:
        """Let what is waited for return, now and from now on."""
        with self._lock:
            self._over.set()
            for wake in self._wakes.values():
                wake()

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Have `wake` called when it is broken off; at once, if it is over."""
        key = object()
        with self._lock:
            self._wakes[key] = wake
            if self.over:
                wake()
        try:
            yield
        finally:
            with self._lock:
                del self._wakes[key]

    @contextmanager
    def in_force(self) -> Iterator[Interruption]:
        """For what the body calls in this thread; one that is in force already breaks this one off, too."""
        outer = _current.get()
        token = _current.set(self)
        try:
            if outer is None:
                yield self
            else:
                with outer.waking(self.break_off):
                    yield self
        finally:
            _current.reset(token)

    def wait(self, seconds: float) -> None:
        self._over.wait(seconds)


_current: ContextVar[Interruption | None] = ContextVar("interruption", default=None)


def check() -> None:
    """Raises Interrupted where the call was broken off."""
    current = _current.get()
    if current is not None and current.over:
        raise Interrupted


@contextmanager
def waking(wake: Callable[[], None]) -> Iterator[None]:
    """Have `wake` called when the call is broken off while the body runs."""
    current = _current.get()
    if current is None:
        yield
    else:
        with current.waking(wake):
            yield


@contextmanager
def hanging_up(connection: Severable) -> Iterator[None]:
    """Have a connection end when the call is broken off. What is told of that end as an error is an Interrupted."""

    def hang_up() -> None:
        with suppress(OSError):
            connection.shutdown(SHUT_RDWR)

    try:
        with waking(hang_up):
            yield
    except Exception:
        check()
        raise


@contextmanager
def after(seconds: float) -> Iterator[Interruption]:
    """The body, broken off in so many seconds. Raises Interrupted then."""
    import threading

    interruption = Interruption()
    timer = threading.Timer(seconds, interruption.break_off)
    timer.daemon = True
    timer.start()
    try:
        with interruption.in_force():
            yield interruption
    finally:
        timer.cancel()


def lock(descriptor: int) -> None:
    """Wait for flock(2). Raises Interrupted, OSError."""
    current = _current.get()
    if current is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    while True:
        check()
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        current.wait(PATIENCE)


@contextmanager
def instead(wake: Callable[[], None]) -> Iterator[None]:
    """What the body calls is not broken off: `wake` is called, by which it comes to its end."""
    current = _current.get()
    token = _current.set(None)
    try:
        if current is None:
            yield
        else:
            with current.waking(wake):
                yield
    finally:
        _current.reset(token)
