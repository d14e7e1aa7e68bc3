"""`down`: removal of containers and networks, and on request of volumes and images."""

from __future__ import annotations

from typing import Literal

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.arguments import SERVICES, TIMEOUT, Switch
from pycompose.compose.cli.command import command
from pycompose.compose.cli.drawing import Drawing, shown


@command("down", interrupted="`pycompose down` again goes on")
@click.option("-v", "--volumes", is_flag=True, help="Remove named and anonymous volumes too.")
@click.option(
    "--remove-orphans",
    cls=Switch,
    is_flag=True,
    envvar="COMPOSE_REMOVE_ORPHANS",
    help="Remove containers of services that the file does not have.",
)
@click.option(
    "--rmi",
    type=click.Choice(["local", "all"]),
    help="Remove images too: all, or those that are built and that the file does not name (local).",
)
@TIMEOUT
@SERVICES
@click.pass_obj
def down(
    choices: Choices,
    volumes: bool,
    remove_orphans: bool,
    rmi: Literal["local", "all"] | None,
    timeout: float | None,
    services: tuple[str, ...],
) -> None:
    """Stop and remove containers and networks. Volumes stay, unless -v is given."""
    from pycompose.compose.app import operations
    from pycompose.compose.plan.commands import DownOptions

    options = DownOptions(services, volumes, remove_orphans, timeout)
    shown(choices, operations.down(choices, options, Drawing(), images=rmi))
