"""`rm`: removal of stopped containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from pycompose.compose.app import locate
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.command import command
from pycompose.compose.cli.options import SERVICES
from pycompose.compose.cli.output import terminal

if TYPE_CHECKING:
    from pycompose.compose.model.observed import Observed
    from pycompose.compose.plan.steps import Plan


@command("rm", accepted=("-a/--all",))
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("-s", "--stop", "halt", is_flag=True, help="Stop containers that run, and remove them too.")
@click.option("-v", "--volumes", is_flag=True, help="Remove their anonymous volumes too.")
@SERVICES
@click.pass_obj
def rm(choices: Choices, force: bool, halt: bool, volumes: bool, services: tuple[str, ...]) -> None:
    """Remove stopped containers."""
    from pycompose.compose.cli import run_plan
    from pycompose.compose.plan import reconcile
    from pycompose.compose.plan.steps import RemoveContainer
    from pycompose.compose.state import observe

    places, known = locate.target(choices, services)

    def decide(seen: Observed) -> Plan:
        return reconcile.rm(known, seen, services, stop=halt, volumes=volumes)

    plan = decide(observe.observe(places))
    names = [step.action.name for step in plan.steps if isinstance(step.action, RemoveContainer)]
    if not names:
        terminal.note("no stopped containers")
        return
    if not (force or choices.dry_run):
        click.confirm(f"Going to remove {', '.join(names)}\nAre you sure?", abort=True, err=True)
    run_plan.run(choices, places, known, decide, "rm")
