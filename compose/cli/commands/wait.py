"""`wait`: the ends of containers, and their exit codes."""

from __future__ import annotations

import click
from pycompose.compose.cli import subject
from pycompose.compose.cli.command import command
from pycompose.compose.cli.output import terminal
from pycompose.compose.state import lookup, observe
from pycompose.errors import PycomposeError


@command("wait")
@click.option("--down-project", is_flag=True, help="Take the project down when the first has stopped.")
@click.argument("services", nargs=-1, required=True)
@click.pass_context
def wait(context: click.Context, /, down_project: bool, services: tuple[str, ...]) -> None:
    """Wait until containers have stopped; print their exit codes and end with the last one."""
    from pycompose.compose.app import endings

    codes: list[int] = []
    places = subject.places_of(context.obj)
    present = observe.containers(places)
    if not present:
        raise PycomposeError(f'no containers for project "{places.project}"', hint="`pycompose up` makes them")
    containers = lookup.of_services(present, services)
    for _, code in endings.ends(places, containers, first=down_project):
        codes.append(code)
        terminal.say(str(code))
    if not codes:
        raise PycomposeError(f"no container of {', '.join(services)} runs", exit_code=1)
    if down_project:
        from pycompose.compose.app import operations
        from pycompose.compose.cli.drawing import Drawing, shown
        from pycompose.compose.plan.commands import DownOptions

        shown(context.obj, operations.down(context.obj, DownOptions(), Drawing()))
    context.exit(codes[-1])
