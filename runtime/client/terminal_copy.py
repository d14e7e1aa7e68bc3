"""Our terminal and a pseudo-terminal inside a container: raw mode, size, and the bytes both ways."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType


@contextmanager
def raw(ours: int, master: int) -> Iterator[None]:
    """Our terminal raw, as large as the other one, and as it was afterwards, whatever ends us but SIGKILL."""
    if not os.isatty(ours):
        yield
        return

    def fit(*_: object) -> None:
        with suppress(OSError):
            fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(ours, termios.TIOCGWINSZ, bytes(8)))

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = [
        (number, signal.signal(number, handler))
        for number, handler in ((signal.SIGWINCH, fit), (signal.SIGTERM, leave), (signal.SIGHUP, leave))
    ]
    saved = termios.tcgetattr(ours)
    try:
        tty.setraw(ours)
        fit()
        yield
    finally:
        with suppress(termios.error):  # it may have hung up
            termios.tcsetattr(ours, termios.TCSADRAIN, saved)
        for number, handler in before:
            signal.signal(number, handler)


def copy_until(ended: int, code: Callable[[], int], master: int, stdio: tuple[int, int, int]) -> int:
    """Copy both ways until the descriptor `ended` is readable; what `code` then returns.

    A program that does not read its terminal does not stop its output.
    """
    os.set_blocking(master, False)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(master, select.POLLIN)
    poll.register(stdio[0], select.POLLIN)
    typed = b""
    while True:
        for fd, events in poll.poll():
            if fd == ended:
                outcome = code()
                while _copy(master, stdio[1]):
                    pass
                return outcome
            if fd == master:
                if events & select.POLLOUT and typed:
                    with suppress(OSError):
                        typed = typed[os.write(master, typed) :]
                if events & ~select.POLLOUT and not _copy(master, stdio[1]):
                    poll.unregister(master)  # its last user is gone
                    continue
            elif not typed:
                try:
                    typed = os.read(fd, 1 << 12)
                except OSError:
                    typed = b""
                if not typed:
                    poll.unregister(fd)
                    stdio = (-1, stdio[1], stdio[2])
            with suppress(OSError):
                poll.modify(master, select.POLLIN | (select.POLLOUT if typed else 0))
                if stdio[0] >= 0:
                    poll.modify(stdio[0], 0 if typed else select.POLLIN)


def _copy(master: int, target: int) -> bool:
    """A chunk of what a terminal shows; False when there will be no more."""
    try:
        chunk = os.read(master, 1 << 16)
    except BlockingIOError:
        return False
    except OSError:  # EIO
        return False
    while chunk:
        chunk = chunk[os.write(target, chunk) :]
        if not chunk:
            return True
    return False
