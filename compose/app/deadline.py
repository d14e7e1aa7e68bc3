"""Deadline of a command (`--wait-timeout`): one for all that it does; pulls, builds and other commands' locks included.

What is under way then is broken off as by an interrupt, so that it ends in order. Rule: only a main thread can be
broken off; in another one the time that is spent counts all the same.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pycompose.compose.model.errors import ConditionFailed


class Deadline:
    """`seconds` from now on; None and 0 are without end."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds or None
        self._began = time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    @contextmanager
    def over(self, lacking: str) -> Iterator[None]:
        """Break off the body in time. Raises ConditionFailed, which says what was lacking: "images not ready"."""
        if self.seconds is None or threading.current_thread() is not threading.main_thread():
            yield
            return
        rung = False

        def ring(_: int, frame: FrameType | None) -> None:
            nonlocal rung
            rung = True
            handler = signal.getsignal(signal.SIGINT)  # trio's, while it runs: it lets go where its state is whole
            if not callable(handler):
                raise KeyboardInterrupt
            handler(signal.SIGINT, frame)

        before = signal.signal(signal.SIGALRM, ring)
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, max(self.seconds - self.spent, 1e-6))
                yield
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except BaseException:
            if rung:
                raise ConditionFailed(f"application not healthy after {self.seconds:g}s: {lacking}") from None
            raise
        finally:
            signal.signal(signal.SIGALRM, before)


NO_DEADLINE = Deadline(None)
