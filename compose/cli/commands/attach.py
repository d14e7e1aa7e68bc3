"""`attach`: the output of one container from now on."""

from __future__ import annotations

from contextlib import suppress

import click
from pycompose.compose.cli import subject
from pycompose.compose.cli.command import command
from pycompose.compose.state import lookup, observe


@command("attach", accepted=("--detach-keys=", "--sig-proxy="))
@click.option("--index", type=int, default=0, metavar="N", help="The number of the container.")
@click.option("--no-stdin", is_flag=True, help="Only listen.")
@click.argument("service")
@click.pass_context
def attach(context: click.Context, /, index: int, no_stdin: bool, service: str) -> None:
    """Follow one container's output from now on; ends, with its exit code, when it does."""
    from datetime import UTC, datetime

    from pycompose.compose.cli.output.log_follower import Following, Printer, manner
    from pycompose.compose.control import client
    from pycompose.compose.control.protocol import Attach, ControlError

    places = subject.places_of(context.obj)
    container = lookup.one_of(observe.containers(places), service, index)
    codes: list[int | None] = []
    printer = Printer(places.project, manner(prefix=False, colour=False, timestamps=False))
    following = Following(
        places,
        lambda other: other.id == container.id,
        printer,
        since=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode(),
        ended=lambda _, code, again: None if again else codes.append(code),
    )
    following.begin()
    with suppress(ControlError):  # its output can be read without a supervisor
        list(client.request(places.control_socket, Attach(container.name)))
    try:
        while following.turn() and not codes:
            pass
    finally:
        following.close()
    context.exit((codes[0] if codes else 0) or 0)
