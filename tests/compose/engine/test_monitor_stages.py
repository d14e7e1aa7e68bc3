"""The stages of a container in the monitor: the table is whole, drawn as in its docstring, and leads where it must."""

from __future__ import annotations

import itertools

from pycompose.compose.engine import monitor_stages
from pycompose.compose.engine.monitor_stages import TRANSITIONS, MonitorEffect, MonitorEvent, MonitorStage


def test_the_drawing_is_the_table() -> None:
    assert monitor_stages.__doc__
    assert monitor_stages.drawing() in monitor_stages.__doc__


def test_everything_may_happen_in_every_stage() -> None:
    assert set(TRANSITIONS) == set(itertools.product(MonitorStage, MonitorEvent))


def test_every_stage_and_every_effect_is_reached() -> None:
    assert {after for after, _ in TRANSITIONS.values()} == set(MonitorStage)
    assert {effect for _, effect in TRANSITIONS.values()} == set(MonitorEffect)


def test_a_container_waits_exactly_while_its_back_off_goes_on() -> None:
    for (before, _), (after, effect) in TRANSITIONS.items():
        if after is MonitorStage.WAITING:
            assert effect is MonitorEffect.BACK_OFF, before
        else:
            assert effect is not MonitorEffect.BACK_OFF, before


def test_what_is_stopped_or_refused_while_it_waits_stays_ended() -> None:
    for event in (MonitorEvent.STOPPING, MonitorEvent.REFUSED):
        assert TRANSITIONS[MonitorStage.WAITING, event][0] is MonitorStage.EXITED
        assert TRANSITIONS[MonitorStage.RUNNING, event][0] is MonitorStage.RUNNING
