"""`down`: removal of containers and networks, and on request of volumes and images."""

from __future__ import annotations

import click
from pycompose.compose.app import locate
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.command import command
from pycompose.compose.cli.options import SERVICES, TIMEOUT
from pycompose.compose.cli.output import terminal


@command("down")
@click.option("-v", "--volumes", is_flag=True, help="Remove named and anonymous volumes too.")
@click.option(
    "--remove-orphans",
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
    rmi: str | None,
    timeout: float | None,
    services: tuple[str, ...],
) -> None:
    """Stop and remove containers and networks. Volumes stay, unless -v is given."""
    from pycompose.compose.app import images
    from pycompose.compose.cli import run_plan
    from pycompose.compose.plan import reconcile
    from pycompose.compose.state import observe

    places, known = locate.target(choices, services)
    used = [seen.image for seen in observe.observe(places).containers] if rmi else []
    options = reconcile.DownOptions(services, volumes, remove_orphans, timeout)
    plan = run_plan.run(choices, places, known, lambda seen: reconcile.down(known, seen, options), "down")
    if not plan.steps and not plan.warnings and not choices.dry_run:
        terminal.warn(f"no resource found to remove for project {places.project!r}")
    if not choices.dry_run:
        run_plan.shut_down_if_empty(places)
    for name in images.to_remove(known, used, rmi) if rmi else ():
        if choices.dry_run:
            terminal.note(f"would remove image {name}")
        elif stays := images.remove(name):
            terminal.warn(stays)
        else:
            terminal.note(f" Image {name}  Removed")
