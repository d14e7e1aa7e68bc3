"""Runs of providers while a plan is carried out: each in a thread of the command, once its step has begun.

The command has what a provider needs of the caller, its PATH, folder and tokens, which a supervisor does not have. How
a run went is told to the supervisor, with the project as it is then; the steps after it go by that. Rules: the threads
are over before the plan is; when the command breaks off, what runs is killed.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pycompose import shortages
from pycompose.compose.control.protocol import Notice, ProviderEnded, StepProgress
from pycompose.compose.model.project import Project
from pycompose.compose.plan.steps import Plan, RunProvider
from pycompose.compose.state import generations
from pycompose.errors import PycomposeError, SystemRefused
from pycompose.runtime.places import ProjectPlaces

from .phases import ProviderProgress
from .provider_program import ProviderCall, ProviderStopped, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pycompose.compose.control.client import Answering
    from pycompose.compose.model.observed import Observed

    from .phases import Phase, Tell
    from .providers import Provided


class ProviderRuns:
    """The runs of the providers of one plan, as a context.

    `provided` is that of a plan that makes containers: what providers tell becomes part of its project, which is kept,
    with `keep` as the newest generation. `variables` are those of the project.
    """

    def __init__(
        self,
        places: ProjectPlaces,
        project: Project,
        plan: Plan,
        observed: Observed,
        tell: Tell,
        *,
        variables: Mapping[str, str],
        provided: Provided | None,
        keep: bool,
    ) -> None:
        self._places, self._project, self._observed, self._tell = places, project, observed, tell
        self._variables, self._provided, self._keep = variables, provided, keep
        self._steps = {step.id: step.action for step in plan.steps if isinstance(step.action, RunProvider)}
        self._telling, self._changing = threading.Lock(), threading.Lock()
        self._threads: list[threading.Thread] = []
        self._answer: Answering = _nobody
        self._stopped, self._stop = os.pipe()
        self.superseded = False  # some steps were given up, and what is left has to be planned anew

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        os.close(self._stop)
        try:
            for thread in self._threads:
                thread.join()
        finally:
            os.close(self._stopped)

    def connected(self, answer: Answering) -> None:
        """Takes what tells the supervisor how steps went."""
        self._answer = answer

    def tell(self, event: Phase) -> None:
        """Hands an event on, from any thread, and begins the run whose step has begun. Raises SystemRefused."""
        with self._telling:
            self._tell(event)
        if isinstance(event, StepProgress) and event.state == "started" and event.step in self._steps:
            thread = threading.Thread(target=self._run, args=(event.step, self._steps[event.step]), daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise SystemRefused(error) from error
            self._threads.append(thread)

    def _run(self, step: str, action: RunProvider) -> None:
        """A thread."""
        try:
            self._outcome(step, action)
        except ProviderStopped:
            pass
        except PycomposeError as error:
            self._end(ProviderEnded(step, failure=str(error), hint=error.hint))
        except Exception as error:  # whatever it is: a step without an outcome would be waited for for ever
            self._end(ProviderEnded(step, failure=shortages.reason(error)))

    def _outcome(self, step: str, action: RunProvider) -> None:
        service = self._project.services[action.service]

        def say(text: str, debug: bool) -> None:
            self.tell(ProviderProgress(action.service, text, debug))

        values = run(ProviderCall(self._project, service, self._variables, self._stopped, say), action.verb)
        if self._provided is None:
            self._end(ProviderEnded(step))
            return
        for text in self._provided.overridden(action.service, values):
            self.tell(Notice(text))
        with self._changing:  # the supervisor hears of projects in the order in which they were made
            superseded = self._provided.take(action.service, values, self._observed)
            generation = generations.keep(self._places, self._provided.project, newest=self._keep)
            self.superseded |= superseded
            self._end(ProviderEnded(step, generation, superseded))

    def _end(self, ended: ProviderEnded) -> None:
        with suppress(OSError):  # the connection is gone: whoever reads from it hears of that
            self._answer(ended)


def _nobody(_: ProviderEnded) -> None:
    raise AssertionError("a step has begun, and nobody is to hear how it went")
