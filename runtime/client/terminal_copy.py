"""The caller's terminal beside a pseudo-terminal inside a container: raw mode, size, job control."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType


def size(terminal: int) -> tuple[int, int]:
    """Rows and columns; zeros where it is no terminal."""
    with suppress(OSError):
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8)))
        return rows, columns
    return 0, 0


@contextmanager
def raw(ours: int, master: int, *, leaving: bool = True) -> Iterator[None]:
    """Our terminal raw, as large as the other one, and as it was afterwards, whatever ends us but SIGKILL.

    `leaving`: SIGTERM and SIGHUP end us, in order.

    A shell that stopped us and lets us go on again in the foreground has set its own modes meanwhile: raw again.
    """
    if not os.isatty(ours):
        yield
        return

    def fit(*_: object) -> None:
        with suppress(OSError):
            fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(ours, termios.TIOCGWINSZ, bytes(8)))

    def go_on(*_: object) -> None:
        with suppress(OSError, termios.error):
            if os.tcgetpgrp(ours) == os.getpgrp():
                tty.setraw(ours, termios.TCSANOW)
        fit()

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    staying = ((signal.SIGWINCH, fit), (signal.SIGCONT, go_on))
    handlers = (*staying, (signal.SIGTERM, leave), (signal.SIGHUP, leave)) if leaving else staying
    before = [(number, signal.signal(number, handler)) for number, handler in handlers]
    saved = termios.tcgetattr(ours)
    try:
        tty.setraw(ours, termios.TCSANOW)  # what was typed ahead is not lost
        fit()
        yield
    finally:
        with suppress(termios.error):  # it may have hung up
            termios.tcsetattr(ours, termios.TCSADRAIN, saved)
        for number, handler in before:
            signal.signal(number, handler)
