"""Display of an operation that goes on: its phases, drawn or printed, and the warnings beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pycompose.compose.app import phases
from pycompose.compose.app.choices import Choices

from .output import terminal

if TYPE_CHECKING:
    from pycompose.compose.app.operations import Outcome
    from pycompose.compose.app.phases import Phase
    from pycompose.compose.plan.steps import Plan

    from .output.live import Live

Take = Callable[["Phase"], None]


class Drawing:
    """`tell` of an operation. `plain`: lines even on a terminal; the others name phases that are not to be shown."""

    def __init__(self, *, plain: bool = False, quiet_transfers: bool = False, quiet_builds: bool = False) -> None:
        self._plain, self._quiet_transfers, self._quiet_builds = plain, quiet_transfers, quiet_builds
        self._live: Live | None = None
        self._take: Take = _passed_over

    def __call__(self, event: Phase) -> None:
        match event:
            case phases.FileWarning(problem):
                terminal.problem(problem, "warning")
            case phases.OperationWarning(text):
                terminal.warn(text)
            case phases.Remark(text):
                terminal.note(text)
            case phases.LockAwaited(project):
                terminal.note(f"another command acts on project {project!r}; waiting for it")
            case phases.ImagePlanned("build", image, context) if context:
                terminal.say(f"build {image} from {context}")
            case phases.ImagePlanned(verb, image):
                terminal.note(f"would {verb} image {image}")
            case phases.ImageRemoved(image):
                terminal.note(f" Image {image} Removed")
            case phases.ImageBuilt(image):
                if not self._quiet_builds:
                    terminal.note(f" Image {image} Built")
            case phases.PlanBegin() | phases.TransfersBegin() | phases.BuildsBegin():
                self._begin(event)
            case phases.PhaseEnd():
                self.end()
            case _:
                self._take(event)

    def _begin(self, beginning: phases.Beginning) -> None:
        match beginning:
            case phases.PlanBegin(plan, title):
                self._live, self._take = _plan(plan, title, self._plain)
            case phases.TransfersBegin(verb, images, skipped):
                self._live, self._take = _transfers(verb, images, skipped, self._quiet_transfers)
            case phases.BuildsBegin(names):
                self._live, self._take = _builds(names, self._quiet_builds, self._plain)
        self._live.__enter__()

    def end(self) -> None:
        """Draw the last picture of the phase that goes on, if one does."""
        if self._live is not None:
            self._live.__exit__(None, None, None)
        self._live, self._take = None, _passed_over


def _passed_over(_: Phase) -> None:
    """Events of no phase: of a later supervisor."""


def _plan(plan: Plan, title: str, plain: bool) -> tuple[Live, Take]:
    from pycompose.compose.control.protocol import Notice, StepProgress

    from .output import plan_progress
    from .output.live import Live

    board = plan_progress.PlanBoard(plan, title, time.monotonic())
    live = Live(board, plain=plain or terminal.verbose)
    text = plan_progress.as_json if terminal.progress == "json" else plan_progress.plain

    def take(event: Phase) -> None:
        match event:
            case Notice(warning):
                live.interject(lambda: terminal.warn(warning))
            case StepProgress(step, state, cause, ready):
                if terminal.verbose:
                    _traced(step, state, cause)
                live.update(lambda now: map(text, board.take(step, state, cause, now, ready)))
            case phases.ProviderProgress(service, said, debug=False):
                live.update(lambda _: map(text, board.say(f"Service {service}", said)))
            case phases.ProviderProgress(service, said) if terminal.verbose:
                live.interject(lambda: terminal.note(f" Service {service} {said}"))

    live.update(lambda _: map(text, board.running))
    return live, take


def _transfers(verb: str, images: tuple[str, ...], skipped: Mapping[str, str], quiet: bool) -> tuple[Live, Take]:
    from pycompose.runtime.images.registry.progress import Transfer

    from .output.live import Live
    from .output.transfer_progress import TransferBoard

    board = TransferBoard(verb, [*skipped, *images], time.monotonic())
    live = Live(board, quiet=quiet)
    as_json = terminal.progress == "json"

    def skip(now: float) -> list[str]:
        return [line for image, why in skipped.items() for line in board.skip(image, why, now, as_json=as_json)]

    live.update(skip)

    def take(event: Phase) -> None:
        if isinstance(event, Transfer):
            live.update(lambda now: board.as_lines(event, now, as_json=as_json))

    return live, take


def _builds(names: tuple[str, ...], quiet: bool, plain: bool) -> tuple[Live, Take]:
    from .output.build_progress import BuildBoard
    from .output.live import Live

    board = BuildBoard(time.monotonic(), several=len(names) > 1)
    live = Live(board, quiet=quiet, plain=plain)

    def take(event: Phase) -> None:
        match event:
            case phases.BuildEvent(_, happened) if happened.kind == "warning":
                where = f"{happened.step.position}: " if happened.step else ""
                live.interject(lambda: terminal.warn(f"{where}{happened.text}"))
            case phases.BuildEvent(name, happened):
                live.update(lambda now: board.as_lines(name, happened, now, as_json=terminal.progress == "json"))

    return live, take


def _traced(step: str, state: str, cause: str) -> None:
    """A step as in the trace of its plan."""
    from datetime import UTC, datetime

    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    terminal.note(f"{now} {step}: {state} ({cause})" if cause else f"{now} {step}: {state}")


def shown(choices: Choices, outcome: Outcome) -> None:
    """Print the plan of a dry run; what was done has been shown."""
    if not choices.dry_run:
        return
    from dataclasses import replace

    from pycompose.compose.plan.steps import render

    terminal.say(render(replace(outcome.plan, warnings=())) or "nothing to do\n", end="")
