"""A count of megabytes on a terminal's last line."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from . import terminal


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None] | None]:
    """Megabytes read so far, on a terminal's last line, at most ten times a second.

    Whoever says something meanwhile takes the line away first (`clear`).
    """
    if not sys.stderr.isatty() or terminal.progress in ("json", "quiet"):
        yield None
        return
    done, printed = 0, 0.0

    def tell(more: int) -> None:
        nonlocal done, printed
        done += more
        if time.monotonic() - printed > 0.1:
            printed = time.monotonic()
            print(f"\r{what}: {done / 1e6:.0f} MB\x1b[K", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        clear()


def clear() -> None:
    """Take the count away."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
