"""The one deadline of a command: what it breaks off, and what is left as it was."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
import trio
from pycompose.compose.app.deadline import Deadline
from pycompose.compose.model.errors import ConditionFailed


def in_trio() -> None:
    trio.run(trio.sleep, 20)


def by_the_system() -> None:
    time.sleep(20)


@pytest.mark.parametrize("wait", [in_trio, by_the_system])
def test_what_takes_too_long_is_broken_off(wait: Callable[[], None]) -> None:
    before = signal.getsignal(signal.SIGALRM)
    message = r"application not healthy after 0\.1s: images not ready"
    with pytest.raises(ConditionFailed, match=message), Deadline(0.1).over("images not ready"):
        wait()
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_one_deadline_is_over_for_what_comes_later() -> None:
    deadline = Deadline(0.1)
    with pytest.raises(ConditionFailed), deadline.over("images"):
        by_the_system()
    with pytest.raises(ConditionFailed, match="locks"), deadline.over("locks"):
        by_the_system()


@pytest.mark.parametrize("seconds", [None, 0, 30])
def test_what_is_done_in_time_and_what_fails_by_itself_are_as_without(seconds: float | None) -> None:
    with Deadline(seconds).over("images"):
        pass
    for kind in (KeyboardInterrupt, ValueError):
        with pytest.raises(kind), Deadline(seconds).over("images"):
            raise kind
