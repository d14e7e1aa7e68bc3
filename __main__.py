"""The command line: `python -m pycompose` and the `pycompose` script."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Run one command and end the process."""
    gc.set_threshold(100_000)  # a command makes what it needs and ends: looking for garbage while importing is 3 ms
    try:
        from .compose.cli import main as cli_main
        from .compose.cli.interrupts import hear_signals

        hear_signals()
        code = cli_main()
    except KeyboardInterrupt:  # while modules were imported; later it is cli_main's
        code = 130
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = code or 141
    os._exit(code)  # nothing is left to undo; taking the interpreter down by the book is 7 ms


if __name__ == "__main__":
    main()
