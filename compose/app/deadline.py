"""Deadline of a command (`--wait-timeout`): one for all that it does; pulls, builds and other commands' locks included.

What is under way then is broken off as by an interrupt, so that it ends in order: by a signal in a main thread, by an
`Interruption` in another.
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
        if self.seconds is None:
            yield
            return
        if threading.current_thread() is not threading.main_thread():
            with self._over_in_thread(lacking):
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

        armed, others = time.monotonic(), signal.getitimer(signal.ITIMER_REAL)  # the caller's own, which goes on after
        before = signal.signal(signal.SIGALRM, ring)
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, max(self.seconds - self.spent, 1e-6))
                yield
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except BaseException:
            if rung:
                raise self._failed(lacking) from None
            raise
        finally:
            signal.signal(signal.SIGALRM, before)
            if others[0]:
                signal.setitimer(signal.ITIMER_REAL, max(others[0] - (time.monotonic() - armed), 1e-6), others[1])

    @contextmanager
    def _over_in_thread(self, lacking: str) -> Iterator[None]:
        from pycompose import interruption

        assert self.seconds is not None
        with interruption.after(max(self.seconds - self.spent, 0)) as ring:
            try:
                yield
            except KeyboardInterrupt:
                if ring.over:
                    raise self._failed(lacking) from None
                raise

    def _failed(self, lacking: str) -> ConditionFailed:
        return ConditionFailed(f"application not healthy after {self.seconds:g}s: {lacking}")


NO_DEADLINE = Deadline(None)
