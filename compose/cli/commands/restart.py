"""`restart`: stopping of containers, and starting them again."""

from __future__ import annotations

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.arguments import SERVICES, TIMEOUT
from pycompose.compose.cli.command import command
from pycompose.compose.cli.drawing import Drawing, shown


@command("restart", interrupted="`pycompose restart` again goes on")
@click.option("--no-deps", is_flag=True, help="Leave alone what depends on the services.")
@TIMEOUT
@SERVICES
@click.pass_obj
def restart(choices: Choices, no_deps: bool, timeout: float | None, services: tuple[str, ...]) -> None:
    """Stop containers and start them again. A changed file is not looked at: that is `up`."""
    from pycompose.compose.app import operations

    shown(choices, operations.restart(choices, services, Drawing(), timeout=timeout, no_deps=no_deps))
