"""The one deadline of a command: what it breaks off, and what is left as it was."""

from __future__ import annotations

import fcntl
import signal
import tempfile
import threading
import time
from collections.abc import Callable

import pytest
import trio
from pycompose import interruption
from pycompose.compose.app.deadline import Deadline
from pycompose.compose.control.trio_run import run_trio
from pycompose.compose.model.errors import ConditionFailed


def in_trio() -> None:
    trio.run(trio.sleep, 20)


def by_the_system() -> None:
    time.sleep(20)


def in_trio_to_be_interrupted() -> None:
    run_trio(trio.sleep, 20)


def for_a_lock() -> None:
    with tempfile.TemporaryFile() as file, open(f"/proc/self/fd/{file.fileno()}") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        interruption.lock(file.fileno())


@pytest.mark.parametrize("wait", [in_trio, by_the_system])
def test_what_takes_too_long_is_broken_off(wait: Callable[[], None]) -> None:
    before = signal.getsignal(signal.SIGALRM)
    message = r"application not healthy after 0\.1s: images not ready"
    with pytest.raises(ConditionFailed, match=message), Deadline(0.1).over("images not ready"):
        wait()
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("wait", [in_trio_to_be_interrupted, for_a_lock])
def test_what_takes_too_long_in_another_thread_is_broken_off(wait: Callable[[], None]) -> None:
    errors: list[BaseException] = []

    def call() -> None:
        try:
            with Deadline(0.1).over("images not ready"):
                wait()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(60)
    assert [type(error) for error in errors] == [ConditionFailed]


def test_an_alarm_of_the_callers_own_goes_on_afterwards() -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: rung.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(ConditionFailed), Deadline(0.05).over("images"):
            by_the_system()
        while not rung:
            signal.pause()
    finally:
        signal.signal(signal.SIGALRM, before)


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
