"""The command line: `python -m pycompose` and the `pycompose` script."""

from __future__ import annotations

import gc
import os
import signal
import sys
from types import FrameType

from .errors import Interrupted, interrupted_code


def main() -> None:
    """Run one command and end the process."""
    gc.set_threshold(100_000)  # a command makes what it needs and ends: looking for garbage while importing is 3 ms
    try:
        _hear_signals()
        from .compose.cli import main as cli_main

        code = cli_main()
    except KeyboardInterrupt as interrupt:  # while modules were imported; later it is cli_main's
        code = interrupted_code(interrupt)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = code or 141
    os._exit(code)  # nothing is left to undo; taking the interpreter down by the book is 7 ms


def _hear_signals() -> None:
    """A signal that asks to end is an exception, so that what is under way ends in order.

    SIGINT too where it was ignored: a shell ignores it for what a script starts with `&` (POSIX, 2.11), and docker
    compose hears it there. SIGHUP stays ignored: that is nohup.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, _: FrameType | None) -> None:
    raise Interrupted(number)


if __name__ == "__main__":
    main()
