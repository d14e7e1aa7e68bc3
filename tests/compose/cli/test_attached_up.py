"""The printing thread of an attached `up` ends when its plan is carried out and nothing runs any more."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from pycompose.compose.cli.attached_up import Attached


class TurnsThatWait:
    """Turns as `Following` has them: the first takes every wake that comes while it goes on."""

    def __init__(self, settle: Any) -> None:
        self._settle, self._woken = settle, threading.Event()
        self.turns = 0

    def begin(self) -> None:
        self.wake()

    def wake(self) -> None:
        self._woken.set()

    def turn(self) -> bool:
        self.turns += 1
        assert self._woken.wait(5), "it waits for ever"
        if self.turns == 1:
            self._settle()
            self.wake()
        self._woken.clear()
        return False


def test_a_plan_that_is_carried_out_during_a_turn_ends_it() -> None:
    attached = Attached(prepared=SimpleNamespace())  # type: ignore[arg-type]
    following = TurnsThatWait(attached._settled.set)
    attached._print(following)  # type: ignore[arg-type]
    assert following.turns == 2
    assert attached._ends.get(timeout=0) is None
