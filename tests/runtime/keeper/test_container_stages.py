"""The stages of a container in the keeper: the table is drawn as its docstring says, and leads where it must."""

from __future__ import annotations

import pytest
from pycompose.runtime.keeper import container_stages
from pycompose.runtime.keeper.container_stages import TRANSITIONS, ContainerStage, Effect, Occurrence


def test_the_drawing_is_the_table() -> None:
    assert container_stages.__doc__
    assert container_stages.drawing() in container_stages.__doc__


def test_every_stage_is_reached() -> None:
    assert {after for after, _ in TRANSITIONS.values()} == set(ContainerStage) - {ContainerStage.MAKING}


@pytest.mark.parametrize("stage", [s for s in ContainerStage if s not in (ContainerStage.ENDED, ContainerStage.FAILED)])
def test_whatever_dies_is_finished_once(stage: ContainerStage) -> None:
    after, effect = TRANSITIONS[stage, Occurrence.DIED]
    assert effect is Effect.FINISH
    assert (after, Occurrence.DIED) not in TRANSITIONS


def test_only_a_program_that_runs_has_an_end_to_tell() -> None:
    before = {stage for (stage, _), (after, _) in TRANSITIONS.items() if after is ContainerStage.ENDED}
    assert before == {ContainerStage.RUNNING}


def test_what_runs_cannot_be_given_up() -> None:
    refused = {stage for stage in ContainerStage if (stage, Occurrence.GIVEN_UP) not in TRANSITIONS}
    assert refused == set(container_stages.RAN)
