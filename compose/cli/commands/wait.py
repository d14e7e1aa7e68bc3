"""`wait`: the ends of containers, and their exit codes."""

from __future__ import annotations

import os
import select
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click
from pycompose.compose.cli import subject
from pycompose.compose.cli.command import command
from pycompose.compose.cli.output import terminal
from pycompose.compose.state import lookup, observe
from pycompose.errors import PycomposeError

if TYPE_CHECKING:
    from pycompose.compose.model.observed import ObservedContainer
    from pycompose.runtime.places import ProjectPlaces

RECORD_PATIENCE = 3.0  # seconds for the keeper to write down how a process ended that is gone


@command("wait")
@click.option("--down-project", is_flag=True, help="Take the project down when the first has stopped.")
@click.argument("services", nargs=-1, required=True)
@click.pass_context
def wait(context: click.Context, /, down_project: bool, services: tuple[str, ...]) -> None:
    """Wait until containers have stopped; print their exit codes and end with the last one."""
    places = subject.places_of(context.obj)
    containers = lookup.of_services(observe.containers(places), services)
    codes: list[int] = []
    with ExitStack() as open_files:
        poll, running = select.poll(), {}
        for container in containers:
            if container.runs:
                descriptor = _process(container)
                if descriptor >= 0:
                    open_files.callback(os.close, descriptor)
                    running[descriptor] = container
                    poll.register(descriptor, select.POLLIN)
                    continue
            if container.status != "created":
                codes.append(_code(places, container))
                terminal.say(str(codes[-1]))
        if not running and not codes:
            raise PycomposeError(f"no container of {', '.join(services)} runs", exit_code=1)
        while running and not (down_project and codes):
            for descriptor, _ in poll.poll():
                poll.unregister(descriptor)
                codes.append(_code(places, running.pop(descriptor)))
                terminal.say(str(codes[-1]))
    if down_project:
        from pycompose.compose.app import operations
        from pycompose.compose.cli.drawing import Drawing, shown
        from pycompose.compose.plan.commands import DownOptions

        shown(context.obj, operations.down(context.obj, DownOptions(), Drawing()))
    context.exit(codes[-1])


def _process(container: ObservedContainer) -> int:
    """A pidfd; -1 where the process is gone."""
    try:
        return os.pidfd_open(container.pid or 0)
    except (ProcessLookupError, OSError):
        return -1


def _code(places: ProjectPlaces, container: ObservedContainer) -> int:
    """The exit code of a process that is gone, which the keeper may be about to write. Raises PycomposeError."""
    from pycompose.runtime.state.container_record import read_container
    from pycompose.runtime.state.line_follower import LineFollower

    follower = LineFollower()
    try:
        follower.watch(places.container(container.id))
        while True:
            record = read_container(places, container.id)
            if record is not None and record.exit_code is not None:
                return record.exit_code
            if record is None or record.finished or not select.select([follower], [], [], RECORD_PATIENCE)[0]:
                raise PycomposeError(f"nobody can tell how {container.name} ended", exit_code=1)
            follower.folder_changed()
    finally:
        follower.close()
