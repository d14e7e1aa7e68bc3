"""The table of a step's states, and that the scheduler goes by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import get_args

import pytest
import trio
from pycompose.compose.engine import scheduler, step_states
from pycompose.compose.engine.scheduler import StepEvent, StepsFailed
from pycompose.compose.engine.step_states import TRANSITIONS, Occurrence, Reached
from pycompose.compose.model.project import Project
from pycompose.compose.plan.steps import AwaitCondition, Plan, RemoveNetwork, Step

from tests.contract.fake_host import FakeHost


def test_the_drawing_is_the_table() -> None:
    assert step_states.__doc__
    assert step_states.drawing() in step_states.__doc__


def test_every_state_is_reached_and_everything_that_may_happen_is_in_the_table() -> None:
    assert set(TRANSITIONS.values()) == set(get_args(Reached))
    assert {occurrence for _, occurrence in TRANSITIONS} == set(get_args(Occurrence))


@pytest.mark.parametrize("last", ["done", "failed", "skipped"])
def test_nothing_follows_an_end(last: str) -> None:
    assert last not in {state for state, _ in TRANSITIONS}


class NoConditions:
    async def await_ready(
        self, waits: tuple[AwaitCondition, ...], tell: Callable[[str], None] = lambda _: None
    ) -> Mapping[str, str]:
        raise AssertionError("no step of these waits for one")

    def explanation(self, waits: Iterable[AwaitCondition]) -> str:
        return ""

    async def await_return(self, name: str) -> None:
        await trio.lowlevel.checkpoint()

    def stopping(self, name: str, *, returns: bool = False) -> bool:
        return True

    def starting(self, name: str) -> None:
        pass

    def staying(self, name: str) -> None:
        pass


def test_each_step_goes_through_the_table_to_an_end() -> None:
    after = {"a": (), "b": ("a",), "c": (), "d": ("c",), "e": ("d",), "f": ("b", "c", "e")}
    plan = Plan("p", tuple(Step(name, RemoveNetwork(name), "down", before) for name, before in after.items()))
    host = FakeHost("p")
    host.fail.add("remove network c")
    events: list[StepEvent] = []
    with pytest.raises(StepsFailed):
        trio.run(scheduler.run, plan, Project("p", "/", ()), "", host, NoConditions(), events.append)
    states: dict[str, str] = dict.fromkeys(after, "waiting")
    for event in events:
        assert event.state in {reached for (state, _), reached in TRANSITIONS.items() if state == states[event.step]}
        states[event.step] = event.state
    assert states == {"a": "done", "b": "done", "c": "failed", "d": "skipped", "e": "skipped", "f": "skipped"}
