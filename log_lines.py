"""Lines of a helper process's log, which is its standard error: stamped with the time, and kept small.

Standard library only, and no `traceback`: the keeper writes them too.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress

LARGEST_LOG = 1 << 20  # bytes


def note(text: str) -> None:
    """Write a line."""
    with suppress(OSError, ValueError):
        if os.fstat(2).st_size > LARGEST_LOG:
            os.ftruncate(2, 0)
        sys.stderr.write(time.strftime("%Y-%m-%dT%H:%M:%SZ ", time.gmtime()) + text + "\n")
        sys.stderr.flush()


def complain() -> None:
    """Write the exception that is being handled, by the interpreter's own hook."""
    note("unexpected:")
    with suppress(OSError, ValueError):
        sys.__excepthook__(*sys.exc_info())
        sys.stderr.flush()
