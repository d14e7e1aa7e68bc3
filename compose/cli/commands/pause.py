"""`pause`: freezing of containers."""

from __future__ import annotations

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.arguments import SERVICES
from pycompose.compose.cli.command import command
from pycompose.compose.cli.drawing import Drawing, shown


@command("pause", interrupted="`pycompose pause` again goes on")
@SERVICES
@click.pass_obj
def pause(choices: Choices, services: tuple[str, ...]) -> None:
    """Freeze containers: they keep their memory and get no time."""
    from pycompose.compose.app import operations

    shown(choices, operations.pause(choices, services, Drawing()))
