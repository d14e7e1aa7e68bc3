"""`watch`: changes of files carried into containers as they are saved, as the file's `develop.watch` has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.command import command
from pycompose.compose.cli.drawing import Drawing, shown
from pycompose.compose.cli.interrupts import interrupted_code
from pycompose.compose.cli.output import terminal

if TYPE_CHECKING:
    from pycompose.compose.app.operations import PreparedUp


@command("watch", interrupted="`pycompose watch` goes on, `pycompose down` clears up")
@click.option("--no-up", is_flag=True, help="Do not build and start services first.")
@click.option(
    "--prune/--no-prune", default=True, help="Remove images that a rebuild leaves without a name; the default."
)
@click.option("--quiet", is_flag=True, help="Build images without showing it.")
@click.argument("services", nargs=-1)
@click.pass_context
def watch(context: click.Context, /, no_up: bool, prune: bool, quiet: bool, services: tuple[str, ...]) -> None:
    """Start services and carry changes of their files into their containers: copy, restart, or build anew.

    What is done when which file changes is in the compose file: develop.watch. Ctrl-C ends it; containers go on.
    """
    from pycompose.compose.app import operations
    from pycompose.compose.app.image_operations import ImageOptions
    from pycompose.compose.plan.reconcile import UpOptions

    choices: Choices = context.obj
    options = UpOptions(services=services)
    if no_up:
        _follow(context, operations.selection(choices, options, Drawing()), prune, quiet, up=False)
        return
    drawing = Drawing(quiet_builds=quiet, quiet_transfers=quiet)
    with operations.prepared_up(choices, options, ImageOptions(watched=True), drawing) as prepared:
        _follow(context, prepared, prune, quiet, up=True)


def _follow(context: click.Context, prepared: PreparedUp, prune: bool, quiet: bool, *, up: bool) -> None:
    from pycompose.compose.app.watcher import Watcher, WatchOptions, only_watch
    from pycompose.compose.cli.watch_words import telling

    tell = telling(Drawing(plain=True, quiet_builds=quiet))
    with Watcher(prepared, tell, WatchOptions(prune)) as watcher, only_watch(prepared.located.places):
        if up:
            shown(prepared.choices, prepared.apply(Drawing()))
        if prepared.choices.dry_run:
            return
        try:
            watcher.begin()
            watcher.run()
        except KeyboardInterrupt:
            terminal.leave_if_hung_up()
            terminal.end_line()
            context.exit(interrupted_code())
        terminal.note(f"project {prepared.project.name} has no containers any more: nothing is left to watch")
