"""`unpause`: thawing of containers."""

from __future__ import annotations

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.arguments import SERVICES
from pycompose.compose.cli.command import command
from pycompose.compose.cli.drawing import Drawing, shown


@command("unpause", interrupted="`pycompose unpause` again goes on")
@SERVICES
@click.pass_obj
def unpause(choices: Choices, services: tuple[str, ...]) -> None:
    """Let frozen containers go on."""
    from pycompose.compose.app import operations

    shown(choices, operations.unpause(choices, services, Drawing()))
