"""`attach`: the output of one container from now on, and what is typed for it."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import click
from pycompose.compose.cli import subject
from pycompose.compose.cli.attached_input import chosen_keys, passed_on
from pycompose.compose.cli.command import command
from pycompose.compose.state import lookup, observe

if TYPE_CHECKING:
    from pycompose.runtime.places import ProjectPlaces


@command("attach")
@click.option("--detach-keys", "keys", metavar="KEYS", help="What leaves a container's terminal.")
@click.option("--index", type=int, default=0, metavar="N", help="The number of the container.")
@click.option("--no-stdin", is_flag=True, help="Only listen.")
@click.option(
    "--sig-proxy", "proxy", is_flag=True, default=True, help="Pass signals on to it (so it is; not with a terminal)."
)
@click.argument("service")
@click.pass_context
def attach(context: click.Context, /, keys: str | None, index: int, no_stdin: bool, proxy: bool, service: str) -> None:
    """Follow one container's output from now on; ends, with its exit code, when it does.

    What is typed reaches it where the service has `stdin_open`, and signals do where it has no terminal.
    """
    from datetime import UTC, datetime

    from pycompose.compose.app.following import Following
    from pycompose.compose.cli.output.log_printer import Printer, TerminalPrinter, manner
    from pycompose.compose.control import client
    from pycompose.compose.control.protocol import Attach, ControlError
    from pycompose.runtime import spec

    detach_keys = chosen_keys(keys)
    places = subject.places_of(context.obj)
    container = lookup.one_of(observe.containers(places), service, index)
    with open(f"{places.container(container.id)}/bundle.json", "rb") as file:
        bundle = spec.from_json(spec.Bundle, file.read())
    terminal = bundle.spec.process.terminal
    plain = manner(prefix=False, colour=False, timestamps=False)
    codes: list[int | None] = []
    left = threading.Event()
    following = Following(
        places,
        lambda other: other.id == container.id,
        TerminalPrinter(places.project) if terminal else Printer(places.project, plain),
        since=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode(),
        ended=lambda _, code, again: None if again else codes.append(code),
        attached=True,
    )

    def leave() -> None:
        left.set()
        following.wake()

    with ExitStack() as held:
        if proxy and not terminal:  # before anything of it is seen
            from pycompose.compose.cli.forwarding import forwarded

            held.enter_context(forwarded(lambda number: _pass_on(places, container.id, number)))
        held.callback(following.close)
        following.begin()
        with suppress(ControlError):  # its output can be read without a supervisor
            list(client.request(places.control_socket, Attach(container.name)))
        if bundle.stdin_open and not no_stdin and container.runs:
            from pycompose.runtime.client.process import open_input

            target = open_input(places, container.id)
            held.callback(os.close, target)
            held.enter_context(passed_on(target, detach_keys, terminal, leave))
        while following.turn() and not codes and not left.is_set():
            pass
    context.exit((codes[0] if codes else 0) or 0)


def _pass_on(places: ProjectPlaces, container_id: str, number: int) -> None:
    from pycompose.runtime.client.process import signal_first
    from pycompose.runtime.errors import KeeperGone

    with suppress(KeeperGone):
        signal_first(places, container_id, number)
