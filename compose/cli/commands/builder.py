"""`builder`: what builds remember on this machine."""

from __future__ import annotations

import click
from pycompose.compose.cli.machine_command import MachineGroup
from pycompose.compose.cli.output import terminal


@click.group(cls=MachineGroup)
def builder() -> None:
    """What builds remember on this machine."""


@builder.command(name="prune")
@click.option("-a", "--all", "everything", is_flag=True, hidden=True)  # docker has it; there is no less here
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
def prune(everything: bool, force: bool) -> None:
    """Forget the steps of builds, with the layers that no image has, and empty the caches of RUN --mount=type=cache."""
    from pycompose.compose.builds.service_builds import forget

    if not force:
        click.confirm("Going to remove all that builds remember\nAre you sure?", abort=True, err=True)
    steps, caches = forget()
    terminal.say(f"forgotten: {steps} steps, {caches} caches")
