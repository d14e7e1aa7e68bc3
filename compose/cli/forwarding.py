"""Signals of a command that stands for a process elsewhere: they go there, and the command waits for its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from pycompose.errors import PycomposeError

FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
ENOUGH = 3  # requests to end, after which the command leaves a process that does not heed them


@contextmanager
def forwarded(send: Callable[[int], None]) -> Iterator[None]:
    """While it lasts, signals go to `send`. One that is ignored (nohup) stays so.

    Whose terminal has hung up leaves (SystemExit), as does one who was asked to end three times; the process goes on.
    """
    requests, terminals = 0, [number for number in range(3) if os.isatty(number)]

    def forward(number: int, _: FrameType | None) -> None:
        nonlocal requests
        send(number)
        if number == signal.SIGHUP and terminals and not any(map(os.isatty, terminals)):
            raise SystemExit(128 + number)
        if number in (signal.SIGINT, signal.SIGTERM):
            requests += 1
            if requests == ENOUGH:
                hint = "the container goes on; with `init: true` a signal ends a program that has no handler for it"
                raise PycomposeError(f"got {ENOUGH} SIGTERM/SIGINTs, forcefully exiting", hint=hint)

    before = {number: signal.getsignal(number) for number in FORWARDED}
    for number, handler in before.items():
        if number != signal.SIGHUP or handler is not signal.SIG_IGN:
            signal.signal(number, forward)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
