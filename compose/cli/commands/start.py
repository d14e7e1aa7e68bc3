"""`start`: starting of containers that exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.arguments import SECONDS, SERVICES
from pycompose.compose.cli.command import command
from pycompose.compose.cli.drawing import Drawing, shown

if TYPE_CHECKING:
    pass


@command("start", interrupted="`pycompose start` again goes on")
@click.option("--wait", is_flag=True, help="Wait until services run or are healthy.")
@click.option("--wait-timeout", type=SECONDS, metavar="SECONDS", help="How long to wait at most.")
@SERVICES
@click.pass_obj
def start(choices: Choices, wait: bool, wait_timeout: float | None, services: tuple[str, ...]) -> None:
    """Start containers that exist."""
    from pycompose.compose.app import operations

    shown(choices, operations.start(choices, services, Drawing(), wait=wait, wait_timeout=wait_timeout))
