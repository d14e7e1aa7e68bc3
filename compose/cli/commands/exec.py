"""`exec`: a process inside a container that runs."""

from __future__ import annotations

import os

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import subject
from pycompose.compose.cli.command import command
from pycompose.compose.cli.output.terminal import say
from pycompose.compose.state import lookup, observe


@command("exec", context_settings={"allow_interspersed_args": False})
@click.option("-d", "--detach", is_flag=True, help="Do not wait for it.")
@click.option("-e", "--env", "environment", multiple=True, metavar="KEY=VALUE", help="A variable for it.")
@click.option("-T", "--no-tty", "--no-TTY", is_flag=True, help="Without a terminal.")
@click.option("-i", "--interactive", is_flag=True, default=True, hidden=True, help="With stdin open (so it is).")
@click.option("-t", "--tty", is_flag=True, default=True, hidden=True, help="A terminal, where the caller has one.")
@click.option("-u", "--user", default="", metavar="USER", help="Run it as this user.")
@click.option("-w", "--workdir", "folder", default="", metavar="FOLDER", help="Run it in this folder.")
@click.option("--index", type=int, default=0, metavar="N", help="The number of the container, where there are several.")
@click.option("--privileged", is_flag=True, help="With all capabilities.")
@click.argument("service")
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND [ARGS]...")
@click.pass_context
def execute(
    context: click.Context,
    /,
    no_tty: bool,
    interactive: bool,
    tty: bool,
    detach: bool,
    service: str,
    arguments: tuple[str, ...],
    index: int,
    environment: tuple[str, ...],
    user: str,
    folder: str,
    privileged: bool,
) -> None:
    """Run a command in a running container, with a terminal where there is one; ends with its exit code."""
    choices: Choices = context.obj
    places = subject.places_of(choices)
    container = lookup.one_of(observe.containers(places), service, index)
    if choices.dry_run:
        say(f"exec {container.name}  ({' '.join(arguments)})")
        return
    from pycompose.compose.app import execution

    terminal = tty and not (no_tty or detach) and os.isatty(0) and os.isatty(1)
    options = execution.ExecOptions(_variables(environment), user, folder, privileged, terminal, detach)
    standard_input = 0 if interactive else os.open(os.devnull, os.O_RDONLY)
    context.exit(execution.execute(places, container.id, arguments, options, (standard_input, 1, 2)))


def _variables(texts: tuple[str, ...]) -> dict[str, str | None]:
    """`NAME=VALUE`, or `NAME` with the value that it has here; where it has none, None: it is taken away."""
    pairs = (text.partition("=") for text in texts)
    return {name: value if equals else os.environ.get(name) for name, equals, value in pairs}
