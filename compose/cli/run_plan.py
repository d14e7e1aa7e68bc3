"""What acting commands share: from a decision about what exists to a plan that the project's supervisor carries out.

Rules: the project's lock is held from looking until the last step, so two commands never act on one project at once.
`ask` is the only place that speaks to the supervisor.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from typing import TYPE_CHECKING, Any

import click
from pycompose.compose.app.choices import Choices

from .output import terminal

if TYPE_CHECKING:
    from pycompose.compose.control.protocol import Report
    from pycompose.compose.model.observed import Observed
    from pycompose.compose.model.project import Project
    from pycompose.compose.plan.steps import Plan
    from pycompose.runtime.places import ProjectPlaces

Decide = Callable[["Observed"], "Plan"]
Watch = Callable[["Report"], None]


def act(choices: Choices, services: tuple[str, ...], name: str, *arguments: Any, **options: Any) -> None:
    """Carry out the plan that `reconcile.<name>` makes of what exists."""
    from pycompose.compose.app.locate import target
    from pycompose.compose.plan import reconcile

    places, project = target(choices, services)
    decide = getattr(reconcile, name)
    run(choices, places, project, lambda seen: decide(project, seen, *arguments, **options), name)


def run(
    choices: Choices,
    places: ProjectPlaces,
    project: Project | None,
    decide: Decide,
    title: str,
    *,
    keep: bool = False,
    watch: Watch | None = None,
    planned: Callable[[Plan], None] | None = None,
    patient: bool = False,
    fresh: bool = False,
) -> Plan:
    """Carry out what `decide` makes of what exists, and return it. With `keep` the project becomes the newest.

    Progress is shown, or (after `planned` got the plan) goes to `watch`. Raises PycomposeError if a step fails,
    KeyboardInterrupt when interrupted. `patient`: who else has the lock is no news. `fresh`: the supervisor has just
    been started.
    """
    from pycompose.compose.plan.steps import render
    from pycompose.compose.state import observe

    if choices.dry_run:
        plan = decide(observe.observe(places))
        for warning in plan.warnings:
            terminal.warn(warning)
        click.echo(render(_unwarned(plan)) or "nothing to do\n", nl=False)
        return plan
    with locked(places, tell=not patient) as lock:
        plan = decide(observe.observe(places))
        if not plan.steps and not keep:
            _warn(plan)
            return plan
        if wake(places) or fresh:  # a supervisor that came up may have changed something
            plan = decide(observe.observe(places))
        _warn(plan)
        if planned is not None:
            planned(plan)
        ask(places, project, plan, title, keep=keep, watch=watch, parallel=choices.parallel, lock=lock)
        return plan


def _unwarned(plan: Plan) -> Plan:
    from dataclasses import replace

    return replace(plan, warnings=())


def _warn(plan: Plan) -> None:
    for warning in plan.warnings:
        terminal.warn(warning)


def ask(
    places: ProjectPlaces,
    project: Project | None,
    plan: Plan,
    title: str,
    *,
    keep: bool = False,
    watch: Watch | None = None,
    parallel: int | None = None,
    lock: int = -1,
) -> None:
    """Have the supervisor carry out `plan`. Going away early makes it undo what it has begun.

    `lock` is the descriptor of the project's lock, which must outlive this process while the supervisor acts.
    """
    from pycompose.compose.control import protocol, session

    from .output.live import Progress

    progress = Progress(plan, title) if watch is None else None
    reports = session.carry_out(places, project, plan, lock, keep=keep, parallel=parallel or 0)
    try:
        with progress or nullcontext(), closing(reports):
            for report in reports:
                (watch or progress.take)(report)  # type: ignore[union-attr]
    except protocol.ControlError as error:
        error.exit_code = 1  # 127 and the like are of a command that one runs, not of a plan
        raise


def shut_down_if_empty(places: ProjectPlaces) -> None:
    """End the supervisor and the keeper of a project that has no container left, and forget it."""
    from pycompose.compose.control.session import close_if_empty

    close_if_empty(places)


def wake(places: ProjectPlaces) -> bool:
    """Start the project's supervisor if none runs; whether that was so. Raises PycomposeError."""
    from pycompose.compose.control import session

    return session.wake(places)


def locked(places: ProjectPlaces, *, tell: bool = True) -> AbstractContextManager[int]:
    """Hold the project's lock; its descriptor. `tell`: say so when somebody else has it."""
    from pycompose.compose.control import session

    def waiting() -> None:
        if tell:
            terminal.note(f"another command acts on project {places.project!r}; waiting for it")

    return session.locked(places, waiting)
