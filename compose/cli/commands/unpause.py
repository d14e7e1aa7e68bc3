"""`unpause`: thawing of containers."""

from __future__ import annotations

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.command import command
from pycompose.compose.cli.options import SERVICES


@command("unpause")
@SERVICES
@click.pass_obj
def unpause(choices: Choices, services: tuple[str, ...]) -> None:
    """Let frozen containers go on."""
    from pycompose.compose.cli import run_plan

    run_plan.act(choices, services, "unpause", services)
