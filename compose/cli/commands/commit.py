"""`commit`: an image of what a container has changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.app.image_store import ask_store, translated_errors
from pycompose.compose.cli.command import command
from pycompose.compose.cli.drawing import Drawing
from pycompose.compose.cli.image_options import INDEX, container_of
from pycompose.compose.cli.output import terminal

if TYPE_CHECKING:
    from pycompose.compose.model.observed import Observed
    from pycompose.compose.plan.steps import Plan


@command("commit")
@click.option("-a", "--author", default="", metavar="TEXT", help="Who made it.")
@click.option("-c", "--change", "changes", multiple=True, metavar="INSTRUCTION", help='As in a Dockerfile: CMD ["sh"].')
@click.option("-m", "--message", default="", metavar="TEXT", help="A word about it, for its history.")
@click.option("-p", "--pause/--no-pause", default=True, help="Freeze the container meanwhile.")
@INDEX
@click.argument("service")
@click.argument("name", required=False, metavar="[REPOSITORY[:TAG]]")
@click.pass_obj
def commit(
    choices: Choices,
    author: str,
    changes: tuple[str, ...],
    message: str,
    pause: bool,
    index: int,
    service: str,
    name: str | None,
) -> None:
    """Make an image of what a service's container has changed."""
    from pycompose.compose.app import operations
    from pycompose.compose.plan import commands
    from pycompose.runtime.images import commit

    located, container = container_of(choices, service, index)
    if choices.dry_run:
        return
    freeze = pause and container.status == "running"

    def only(plan: Plan) -> Plan:
        """The plan, for this one of the service's containers."""
        return replace(
            plan, steps=tuple(step for step in plan.steps if getattr(step.action, "name", "") == container.name)
        )

    def paused(observed: Observed) -> Plan:
        return only(commands.pause(located.project, observed, (service,)))

    def unpaused(observed: Observed) -> Plan:
        return only(commands.unpause(located.project, observed, (service,)))

    if freeze:
        operations.apply(choices, located, paused, "pause", Drawing())
    try:
        with translated_errors():
            note = commit.Note(author, message, changes)
            image = commit.commit(ask_store(), located.places.container(container.id), name or "", note)
    finally:
        if freeze:
            operations.apply(choices, located, unpaused, "unpause", Drawing())
    terminal.say(image.digest)
