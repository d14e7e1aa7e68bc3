"""The image store as the command line asks it: errors of the runtime in our words, and bytes being counted."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pycompose.errors import PycomposeError

if TYPE_CHECKING:
    from pycompose.runtime.images.store import Store


@contextmanager
def told() -> Iterator[None]:
    """Errors of the runtime become errors of ours."""
    from pycompose.runtime.errors import RuntimeFailure

    try:
        yield
    except RuntimeFailure as error:
        raise PycomposeError(str(error), hint=getattr(error, "hint", "")) from error
    except OSError as error:
        hint = "run it as root, or set PYCOMPOSE_STATE" if isinstance(error, PermissionError) else ""
        raise PycomposeError(f"{error.filename}: {error.strerror}", hint=hint) from error


def ask_store() -> Store:
    from pycompose.runtime.images.store import Store
    from pycompose.runtime.places import Places

    return Store(Places.default())


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None] | None]:
    """Megabytes read so far, on a terminal's last line, at most ten times a second."""
    if not sys.stderr.isatty():
        yield None
        return
    done, shown = 0, 0.0

    def tell(more: int) -> None:
        nonlocal done, shown
        done += more
        if time.monotonic() - shown > 0.1:
            shown = time.monotonic()
            print(f"\r{what}: {done / 1e6:.0f} MB\x1b[K", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
