"""`wait`: the ends of containers, and their exit codes."""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING

import click
from pycompose.compose.cli import subject
from pycompose.compose.cli.command import command
from pycompose.compose.state import lookup, observe
from pycompose.errors import PycomposeError

if TYPE_CHECKING:
    from pycompose.compose.model.observed import ObservedContainer
    from pycompose.runtime.places import ProjectPlaces


@command("wait")
@click.option("--down-project", is_flag=True, help="Take the project down when the first has stopped.")
@click.argument("services", nargs=-1, required=True)
@click.pass_context
def wait(context: click.Context, /, down_project: bool, services: tuple[str, ...]) -> None:
    """Wait until containers have stopped; print their exit codes and end with the last one."""
    places = subject.places_of(context.obj)
    found = lookup.of_services(observe.containers(places), services)
    poll, pidfds, codes = select.poll(), {}, []
    for seen in found:
        if seen.runs:
            try:
                pidfds[fd := os.pidfd_open(seen.pid or 0)] = seen
            except ProcessLookupError:
                codes.append(_code_of(places, seen))
            else:
                poll.register(fd, select.POLLIN)
        elif seen.exit_code is not None:
            codes.append(seen.exit_code)
            click.echo(seen.exit_code)
    if not found or (not pidfds and not codes):
        raise PycomposeError(f"no container of {', '.join(services)} runs", exit_code=1)
    while pidfds and not (down_project and codes):
        for fd, _ in poll.poll():
            poll.unregister(fd)
            os.close(fd)
            codes.append(_code_of(places, pidfds.pop(fd)))
            click.echo(codes[-1])
    if down_project:
        from pycompose.compose.app import operations
        from pycompose.compose.cli.drawing import Drawing, shown
        from pycompose.compose.plan.reconcile import DownOptions

        shown(context.obj, operations.down(context.obj, DownOptions(), Drawing()))
    context.exit(codes[-1] if codes else 0)


def _code_of(places: ProjectPlaces, seen: ObservedContainer) -> int:
    """The exit code of a process that has just gone; the keeper may be about to write it."""
    from pycompose.runtime.state.container_record import read_container

    end = time.monotonic() + 3
    while True:
        record = read_container(places, seen.id)
        if record is None or record.exit_code is not None or time.monotonic() > end:
            return 42 if record is None or record.exit_code is None else record.exit_code
        time.sleep(0.01)
