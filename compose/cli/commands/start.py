"""`start`: starting of containers that exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from pycompose.compose.app import locate
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.command import command
from pycompose.compose.cli.options import SECONDS, SERVICES

if TYPE_CHECKING:
    from pycompose.compose.plan.steps import Plan


@command("start")
@click.option("--wait", is_flag=True, help="Wait until services run or are healthy.")
@click.option("--wait-timeout", type=SECONDS, metavar="SECONDS", help="How long to wait at most.")
@SERVICES
@click.pass_obj
def start(choices: Choices, wait: bool, wait_timeout: float | None, services: tuple[str, ...]) -> None:
    """Start containers that exist."""
    from pycompose.compose.cli import run_plan
    from pycompose.compose.plan import reconcile

    places, known = locate.target(choices, services)
    run_plan.run(
        choices,
        places,
        known,
        lambda seen: (
            waiting(reconcile.start(known, seen, services), wait_timeout)
            if wait
            else reconcile.start(known, seen, services)
        ),
        "start",
    )


def waiting(plan: Plan, timeout: float | None) -> Plan:
    """The plan, with a wait for every container that it starts."""
    from dataclasses import replace

    from pycompose.compose.plan.steps import AwaitCondition, StartContainer, Step

    started: dict[str, list[Step]] = {}
    names: dict[str, list[str]] = {}
    for step in plan.steps:
        if isinstance(step.action, StartContainer):
            started.setdefault(step.action.service, []).append(step)
            names.setdefault(step.action.service, []).append(step.action.name)
    waits = []
    for service, steps in started.items():
        action = AwaitCondition(service, tuple(names[service]), "running_or_healthy", True, timeout)
        waits.append(Step(f"wait for {service}", action, "--wait", tuple(step.id for step in steps)))
    return replace(plan, steps=(*plan.steps, *waits))
