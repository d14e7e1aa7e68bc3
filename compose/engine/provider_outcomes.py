"""Outcomes of the steps of a plan that run providers: the command does that, and tells how it went.

A step waits for its outcome from when it has begun. An outcome may bring the project with the variables that the
provider told: what is done after it goes by that one.
"""

from __future__ import annotations

import trio
from pycompose.compose.model.project import Project
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass


class ProviderStepFailed(PycomposeError):
    """A provider failed, as the command tells."""


@dataclass(frozen=True, slots=True)
class ProviderOutcome:
    """`superseded`: what comes after the step in its plan is not to be done, as it is planned anew."""

    project: Project | None = None
    generation: str = ""  # digest of the project
    superseded: bool = False
    failure: str = ""
    hint: str = ""


class ProviderOutcomes:
    """The outcomes of one plan, by step."""

    def __init__(self) -> None:
        self._told: dict[str, ProviderOutcome] = {}
        self._events: dict[str, trio.Event] = {}

    def tell(self, step: str, outcome: ProviderOutcome) -> None:
        self._told[step] = outcome
        self._event(step).set()

    async def of(self, step: str) -> ProviderOutcome:
        """The outcome of a step, once it is there. Raises ProviderStepFailed."""
        await self._event(step).wait()
        outcome = self._told[step]
        if outcome.failure:
            raise ProviderStepFailed(outcome.failure, hint=outcome.hint)
        return outcome

    def _event(self, step: str) -> trio.Event:
        return self._events.setdefault(step, trio.Event())
