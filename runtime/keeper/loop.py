"""The keeper's loop: descriptors and timers, each with what to do. One thread; no handler may wait.

Rule: what a handler raises is written to the log and ends neither the loop nor the other handlers.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable
from contextlib import suppress

from pycompose.log_lines import complain

Handler = Callable[[int], object]


class Timer:
    __slots__ = ("action",)

    def __init__(self, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self.action = None


class Loop:
    def __init__(self) -> None:
        self._poll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()

    def watch(self, fd: int, handler: Handler, events: int = select.EPOLLIN) -> None:
        """Call `handler(events)` whenever one of the events is there (a hang-up always is one)."""
        self._poll.register(fd, events)
        self._handlers[fd] = handler

    def change(self, fd: int, events: int) -> None:
        self._poll.modify(fd, events)

    def unwatch(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            with suppress(OSError):
                self._poll.unregister(fd)

    def later(self, seconds: float, action: Callable[[], None]) -> Timer:
        timer = Timer(action)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), timer))
        return timer

    def close(self) -> None:
        self._poll.close()

    def turn(self) -> None:
        """Wait for something, and do everything that is to be done now."""
        while self._timers and self._timers[0][2].action is None:
            heapq.heappop(self._timers)
        wait = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else -1
        ready = [(fd, events, self._handlers.get(fd)) for fd, events in self._poll.poll(wait)]
        for fd, events, handler in ready:
            # a handler before it may have closed this one, and its number may be another's already
            if handler is not None and self._handlers.get(fd) is handler:
                try:
                    handler(events)
                except Exception:
                    complain()
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            action = heapq.heappop(self._timers)[2].action
            if action is not None:
                try:
                    action()
                except Exception:
                    complain()
