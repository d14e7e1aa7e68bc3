"""exec: processes inside containers that run. The keeper makes the process; this side lends it its descriptors."""

from __future__ import annotations

import os
from typing import Any

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import subject
from pycompose.compose.cli.command import command
from pycompose.compose.state import lookup, observe
from pycompose.errors import PycomposeError
from pycompose.runtime.places import ProjectPlaces


@command("exec", context_settings={"allow_interspersed_args": False}, accepted=("-i/--interactive", "-t/--tty"))
@click.option("-d", "--detach", is_flag=True, help="Do not wait for it.")
@click.option("-e", "--env", "environment", multiple=True, metavar="KEY=VALUE", help="A variable for it.")
@click.option("-T", "--no-tty", "--no-TTY", is_flag=True, help="Without a terminal.")
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
    detach: bool,
    service: str,
    arguments: tuple[str, ...],
    index: int,
    **options: Any,
) -> None:
    """Run a command in a running container, with a terminal where there is one; ends with its exit code."""
    choices: Choices = context.obj
    places = subject.places_of(choices)
    container = lookup.one_of(observe.containers(places), service, index)
    if choices.dry_run:
        click.echo(f"exec {container.name}  ({' '.join(arguments)})")
        return
    terminal = not (no_tty or detach) and os.isatty(0) and os.isatty(1)
    context.exit(run_inside(places, container.id, arguments, terminal=terminal, detach=detach, **options))


def run_inside(
    places: ProjectPlaces,
    container_id: str,
    arguments: tuple[str, ...],
    *,
    terminal: bool,
    detach: bool,
    environment: tuple[str, ...],
    user: str,
    folder: str,
    privileged: bool,
) -> int:
    """The process's exit code; 0 at once where it is detached."""
    import dataclasses

    from pycompose.runtime import spec
    from pycompose.runtime.client.process import exec_interactive
    from pycompose.runtime.errors import RuntimeFailure, StartFailed

    with open(f"{places.container(container_id)}/bundle.json", "rb") as file:
        first = spec.from_json(spec.Bundle, file.read()).spec.process
    variables = dict(entry.partition("=")[::2] for entry in first.env)
    for entry in environment:
        key, equals, value = entry.partition("=")
        variables[key] = value if equals else os.environ.get(key, "")
    if terminal:
        variables.setdefault("TERM", os.environ.get("TERM", "xterm"))
    process = dataclasses.replace(
        first,
        args=arguments,
        env=tuple(f"{key}={value}" for key, value in variables.items()),
        cwd=folder or first.cwd,
        user=spec.User(username=user) if user else first.user,
        terminal=terminal,
    )
    if detach and os.fork():
        return 0
    stdio = (0, 1, 2)
    if detach:  # the child stays as the process's client
        os.setsid()
        nothing = os.open("/dev/null", os.O_RDWR)
        for fd in stdio:
            os.dup2(nothing, fd)
    code = 125
    try:
        code = exec_interactive(places, container_id, process, stdio, privileged)
    except RuntimeFailure as error:
        if not detach:
            text = error.reason if isinstance(error, StartFailed) and error.step == "exec" else str(error)
            raise PycomposeError(text, exit_code=error.exit_code if isinstance(error, StartFailed) else 125) from error
    finally:
        if detach:
            os._exit(code)
    return code
