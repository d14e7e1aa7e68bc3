"""`create`: everything that a project needs made, and nothing started."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click
from pycompose.compose.cli.command import command
from pycompose.compose.cli.remote_stack import confirm

from .up import Making, conflicts, make, shared_options


@command("create", interrupted="`pycompose create` goes on, `pycompose down` clears up")
@shared_options
@click.pass_context
def create(context: click.Context, /, services: tuple[str, ...], **more: Any) -> None:
    """Make containers, networks and volumes without starting anything."""
    conflicts(context)
    making = Making(**more)
    choices = making.choices(context.obj)
    confirm(choices, yes=making.yes)
    make(choices, making, replace(making.options(services), no_start=True))
