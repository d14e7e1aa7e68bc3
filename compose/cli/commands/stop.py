"""`stop`: stopping of containers, which are kept."""

from __future__ import annotations

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.arguments import SERVICES, TIMEOUT
from pycompose.compose.cli.command import command
from pycompose.compose.cli.drawing import Drawing, shown


@command("stop", interrupted="`pycompose stop` again goes on")
@TIMEOUT
@SERVICES
@click.pass_obj
def stop(choices: Choices, timeout: float | None, services: tuple[str, ...]) -> None:
    """Stop containers, and keep them: `start` begins where they were."""
    from pycompose.compose.app import operations

    shown(choices, operations.stop(choices, services, Drawing(), timeout=timeout))
