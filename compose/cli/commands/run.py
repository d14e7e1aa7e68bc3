"""`run`: a command in a new container of a service, beside its replicas."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.arguments import Switch
from pycompose.compose.cli.attached_input import DetachKeys, chosen_keys
from pycompose.compose.cli.command import command
from pycompose.compose.cli.drawing import Drawing, shown
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.remote_stack import confirm
from pycompose.compose.model.own_variables import switched_on
from pycompose.errors import PycomposeError

from .up import PULL, orphans_both_ways

if TYPE_CHECKING:
    from pycompose.compose.app.one_off import RunOptions

GROUPS = {
    "How it runs": ("--detach", "--rm", "--no-TTY", "--interactive", "--quiet"),
    "What is run": (
        "--entrypoint",
        "--env",
        "--env-from-file",
        "--user",
        "--workdir",
        "--cap-add",
        "--cap-drop",
        "--volume",
    ),
    "How it is known": ("--name", "--label", "--publish", "--service-ports", "--use-aliases"),
    "What it needs": ("--no-deps", "--remove-orphans"),
    "Images": ("--pull", "--quiet-pull", "--build", "--quiet-build"),
}


@command(
    "run",
    context_settings={"allow_interspersed_args": False},
    groups=GROUPS,
    interrupted="`pycompose down` clears up",
)
@click.option("-d", "--detach", "detached", is_flag=True, help="Leave it in the background, and print its id.")
@click.option("--rm", "auto_remove", is_flag=True, help="Remove it when it ends.")
@click.option("-T", "--no-TTY", "--no-tty", "no_tty", is_flag=True, help="Without a terminal, even where there is one.")
@click.option("-t", "--tty", "tty", is_flag=True, default=None, hidden=True, help="With a terminal.")
@click.option("-i", "--interactive", is_flag=True, default=True, help="With stdin open (so it is).")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing of what is done before.")
@click.option("--entrypoint", metavar="COMMAND", help="Instead of the image's.")
@click.option("-e", "--env", "environment", multiple=True, metavar="KEY=VALUE", help="A variable for it.")
@click.option("--env-from-file", "env_files", multiple=True, metavar="FILE", help="Variables for it.")
@click.option("-u", "--user", default="", metavar="USER", help="Run it as this user.")
@click.option("-w", "--workdir", "folder", default="", metavar="FOLDER", help="Run it in this folder.")
@click.option("--cap-add", multiple=True, metavar="NAME", help="A capability more.")
@click.option("--cap-drop", multiple=True, metavar="NAME", help="A capability less.")
@click.option("-v", "--volume", "--volumes", "volumes", multiple=True, metavar="SOURCE:TARGET", help="A mount more.")
@click.option("--name", default="", metavar="NAME", help="Its name.")
@click.option("-l", "--label", "--labels", "labels", multiple=True, metavar="KEY=VALUE", help="A label for it.")
@click.option("-p", "--publish", multiple=True, metavar="PORTS", help="Publish ports of it.")
@click.option("-P", "--service-ports", is_flag=True, help="Publish the service's ports.")
@click.option("--use-aliases", is_flag=True, help="Be found by the service's names on its networks.")
@click.option("--no-deps", is_flag=True, help="Leave out what the service depends on.")
@click.option(
    "--remove-orphans",
    cls=Switch,
    is_flag=True,
    envvar="COMPOSE_REMOVE_ORPHANS",
    help="Remove containers of services that the file does not have.",
)
@PULL
@click.option("--quiet-pull", is_flag=True, help="Fetch images without showing it.")
@click.option("--build", is_flag=True, help="Build images first.")
@click.option("--quiet-build", is_flag=True, help="Build images without showing it.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.argument("service")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND] [ARGS]...")
@click.pass_context
def run(
    context: click.Context,
    /,
    quiet: bool,
    pull: Any,
    quiet_pull: bool,
    build: bool,
    quiet_build: bool,
    yes: bool,
    **more: Any,
) -> None:
    """Run a command in a new container of a service, and end with its exit code.

    What the service depends on is started first. The container stays when it has ended, unless --rm is there.
    """
    choices: Choices = replace(context.obj, approve=lambda _: True) if yes else context.obj
    options = _options(context, **more)
    keys = DetachKeys(chosen_keys(None))
    if quiet:
        terminal.progress = "quiet"
    confirm(choices, yes=yes, typed=options.environment)

    from pycompose.compose.app import one_off
    from pycompose.compose.app.image_operations import ImageOptions

    drawing = Drawing(quiet_transfers=quiet_pull, quiet_builds=quiet_build)
    outcome, container = one_off.start(choices, options, ImageOptions(pull, build or None), drawing)
    if choices.dry_run:
        shown(choices, outcome)
        return
    if options.detached:
        terminal.say(container.id)
        return

    from pycompose.compose.cli.forwarding import forwarded

    with forwarded(container.signal):
        code = container.copy(keys.take)
    if code is None:
        terminal.end_line()  # what asks next has a line of its own
    if container.unwritable:
        error = OSError(container.unwritable, os.strerror(container.unwritable))
        if not isinstance(error, BrokenPipeError):
            raise PycomposeError(f"its output cannot be written: {error.strerror}")
    context.exit(code or 0)


def _options(
    context: click.Context,
    *,
    no_tty: bool,
    tty: bool | None,
    labels: tuple[str, ...],
    entrypoint: str | None,
    service: str,
    arguments: tuple[str, ...],
    **more: Any,
) -> RunOptions:
    from pycompose.compose.app.one_off import RunOptions

    if more["publish"] and more["service_ports"]:
        raise click.UsageError("--service-ports and --publish are incompatible")
    orphans_both_ways(context, removed=more["remove_orphans"])
    options = RunOptions(
        service,
        arguments,
        labels=_labels(labels),
        entrypoint=None if entrypoint is None else _words(entrypoint),
        terminal=_terminal(context, no_tty, tty),
        ignore_orphans=switched_on(os.environ.get("COMPOSE_IGNORE_ORPHANS")),
        **more,
    )
    if options.terminal and options.interactive and not os.isatty(0):
        raise PycomposeError(
            "cannot attach stdin to a TTY-enabled container because stdin is not a terminal",
            hint="the input device is not a TTY: -T runs without one",
        )
    return options


def _terminal(context: click.Context, no_tty: bool, tty: bool | None) -> bool:
    """Whether it has a terminal: as asked, or where the caller's stdout is one, and stdin too if nothing was asked."""

    def asked(name: str) -> bool:
        return context.get_parameter_source(name) is not ParameterSource.DEFAULT

    if asked("tty"):
        if asked("no_tty"):
            raise click.UsageError("--tty and --no-tty can't be used together")
        return bool(tty)
    if asked("no_tty"):
        return not no_tty
    return os.isatty(1) and (asked("interactive") or os.isatty(0))


def _labels(texts: tuple[str, ...]) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise click.BadParameter("label must be set as KEY=VALUE", param_hint="--label")
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}", param_hint="--entrypoint") from error
