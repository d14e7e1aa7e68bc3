"""What is short is told in words that a person can act on, whatever class and number the error has."""

from __future__ import annotations

import errno
import os
import threading

import pytest
from pycompose import shortages
from pycompose.errors import SystemRefused
from pycompose.runtime.errors import StartFailed


def no_thread() -> RuntimeError:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("_start_new_thread", "_start_joinable_thread"):
            if hasattr(threading, name):
                patch.setattr(threading, name, refuse)
        with pytest.raises(RuntimeError) as caught:
            threading.Thread(target=print).start()
    return caught.value


@pytest.mark.parametrize(
    ("error", "reason", "word"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/a/b"), "/a/b: No space left on device", "df -i"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), b"/a"), "/a: Disk quota exceeded", "df -h"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "Too many open files", "ulimit -n"),
        (OSError(errno.ENFILE, os.strerror(errno.ENFILE)), "Too many open files in system", "fs.file-max"),
        (BlockingIOError(errno.EAGAIN, "no process", "clone3"), "no process", "pids.max"),
        (MemoryError(), "Cannot allocate memory", "memory"),
        (ExceptionGroup("tasks", [MemoryError(), OSError(errno.ENOSPC, "full")]), "Cannot allocate memory", "memory"),
        (no_thread(), "Resource temporarily unavailable", "thread"),
    ],
)
def test_a_shortage_has_a_reason_and_a_hint(error: Exception, reason: str, word: str) -> None:
    assert shortages.reason(error) == reason
    assert word in shortages.hint(shortages.number(error))


@pytest.mark.parametrize("error", [ValueError("odd"), RuntimeError("odd"), OSError(errno.EIO, "odd")])
def test_what_is_no_shortage_has_no_hint(error: Exception) -> None:
    assert shortages.number(error) == 0
    assert shortages.reason(error) == "odd"
    assert shortages.hint(0) == ""


def test_errors_of_ours_carry_the_hint() -> None:
    assert "df -i" in SystemRefused(OSError(errno.ENOSPC, "full", "/a")).hint
    assert "root" in SystemRefused(PermissionError(errno.EPERM, "no", "/a")).hint
    assert "pids.max" in StartFailed("c", "start", "no process", errno.EAGAIN).hint
