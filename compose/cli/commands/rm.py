"""`rm`: removal of stopped containers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.arguments import DEPRECATED, SERVICES
from pycompose.compose.cli.command import command
from pycompose.compose.cli.drawing import Drawing, shown
from pycompose.compose.cli.output import terminal

if TYPE_CHECKING:
    pass


@command("rm", interrupted="`pycompose rm` again goes on")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("-s", "--stop", "halt", is_flag=True, help="Stop containers that run, and remove them too.")
@click.option("-a", "--all", is_flag=True, expose_value=False, hidden=True, help=DEPRECATED)
@click.option("-v", "--volumes", is_flag=True, help="Remove their anonymous volumes too.")
@SERVICES
@click.pass_obj
def rm(choices: Choices, force: bool, halt: bool, volumes: bool, services: tuple[str, ...]) -> None:
    """Remove stopped containers."""
    from pycompose.compose.app import operations
    from pycompose.compose.plan.steps import RemoveContainer

    intended = operations.rm(replace(choices, dry_run=True), services, stop=halt, volumes=volumes)
    names = [step.action.name for step in intended.plan.steps if isinstance(step.action, RemoveContainer)]
    if not names:
        terminal.note("No stopped containers")
        return
    if not (force or choices.dry_run):
        click.confirm(f"Going to remove {', '.join(names)}\nAre you sure?", abort=True, err=True)
    shown(choices, operations.rm(choices, services, Drawing(), stop=halt, volumes=volumes))
