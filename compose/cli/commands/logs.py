"""`logs`: what containers wrote, in the order of time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import subject
from pycompose.compose.cli.arguments import moment
from pycompose.compose.cli.command import command
from pycompose.compose.cli.misuse import Misuse
from pycompose.compose.cli.subject import check_services
from pycompose.compose.state import lookup, observe

if TYPE_CHECKING:
    from pycompose.compose.model.observed import ObservedContainer


@command("logs")
@click.option("-f", "--follow", is_flag=True, help="Go on while containers run.")
@click.option("-t", "--timestamps", is_flag=True, help="Put the time before each line.")
@click.option("-n", "--tail", default="all", metavar="NUM", help="Only the last lines of each container.")
@click.option("--since", default="", metavar="WHEN", help="Not what is older: a time, or an age as 42m.")
@click.option("--until", default="", metavar="WHEN", help="Not what is newer.")
@click.option("--no-log-prefix", is_flag=True, help="Do not put the container's name before each line.")
@click.option("--no-color", is_flag=True, help="No colours.")
@click.option("--index", type=int, default=0, metavar="N", help="Only the container with that number.")
@click.argument("services", nargs=-1)
@click.pass_obj
def logs(
    choices: Choices,
    follow: bool,
    timestamps: bool,
    tail: str,
    since: str,
    until: str,
    no_log_prefix: bool,
    no_color: bool,
    index: int,
    services: tuple[str, ...],
) -> None:
    """Print what containers wrote, in the order of time."""
    from pycompose.compose.app.following import Following
    from pycompose.compose.cli.output.log_printer import Printer, manner

    if tail != "all" and not tail.lstrip("-").isdecimal():
        raise click.BadParameter(f"{tail!r} is no number and not 'all'", param_hint="--tail")
    last = None if tail == "all" or int(tail) < 0 else int(tail)
    places = subject.places_of(choices)
    containers = observe.containers(places)
    check_services(choices, containers, services)
    if index:
        if len(services) != 1:
            raise Misuse("--index requires one service to be selected")
        lookup.one_of(containers, services[0], index, running=False)

    def chosen(container: ObservedContainer) -> bool:
        wanted = not services or container.service in services
        return wanted and not container.oneoff and (not index or container.number == index)

    now = time.time()
    how = manner(prefix=not no_log_prefix, colour=not no_color, timestamps=timestamps)
    printer = Printer(places.project, how)
    alone = [container for container in containers if chosen(container)]
    if len(alone) == 1 and not follow:  # nobody's lines have to be put between
        printer.all(alone[0], places, last, moment(since, now), moment(until, now))
        return
    following = Following(
        places, chosen, printer, since=moment(since, now), until=moment(until, now), tail=last, ended=None
    )
    following.begin()
    try:
        while follow and following.turn():
            pass
    finally:
        following.close()
