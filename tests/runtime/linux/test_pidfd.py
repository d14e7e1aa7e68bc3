"""The end of a process, as far as the kernel tells it."""

from __future__ import annotations

import os
import signal

import pytest
from pycompose.runtime.linux import pidfd
from pycompose.runtime.state import container_record


def ended(code: int) -> int:
    """A zombie of ours."""
    pid = os.fork()
    if not pid:
        os._exit(code)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


@pytest.mark.parametrize("code", [0, 3, 255])
def test_a_zombie_tells_its_code_without_a_pidfd(code: int) -> None:
    pid = ended(code)
    try:
        assert pidfd.exit_code(pid) == code
        assert pidfd.exit_code(pid, start_time=1) is None, "the number was given to another process"
    finally:
        os.waitpid(pid, 0)


def test_a_signal_is_told_as_a_shell_does() -> None:
    pid = os.fork()
    if not pid:
        signal.pause()
        os._exit(0)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert pidfd.exit_code(pid) == 137
    assert pidfd.as_code(os.waitpid(pid, 0)[1]) == 137


def test_one_that_runs_or_never_was_has_no_code() -> None:
    assert pidfd.exit_code(os.getpid(), start_time=container_record.start_time(os.getpid())) is None
    own = os.pidfd_open(os.getpid())
    assert pidfd.exit_code(os.getpid(), own) is None
    os.close(own)
    assert pidfd.exit_code(2**22 + 1) is None
