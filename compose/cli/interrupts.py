"""Signals that ask a command to end: each is a KeyboardInterrupt, so that what is under way ends in order.

SIGTERM and SIGHUP take the way of SIGINT, whoever has that just now: trio, while it runs, lets an interrupt through
only where its own state is whole.
"""

from __future__ import annotations

import signal
from types import FrameType

_last: int = signal.SIGINT


def hear_signals() -> None:
    """SIGINT too where it was ignored: a shell ignores it for what a script starts with `&` (POSIX, 2.11), and docker
    compose hears it there. SIGHUP stays ignored: that is nohup."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _last
    _last = number
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)


def interrupted_code() -> int:
    """The exit code of a command that a signal ended, as a shell says it: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + _last
