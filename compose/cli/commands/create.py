"""`create`: everything that a project needs made, and nothing started."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click
from pycompose.compose.cli.command import command

from .up import Making, conflicts, make, shared_options


@command("create", interrupted="`pycompose create` goes on, `pycompose down` clears up")
@shared_options
@click.pass_context
def create(context: click.Context, /, services: tuple[str, ...], **more: Any) -> None:
    """Make containers, networks and volumes without starting anything."""
    conflicts(context)
    making = Making(**more)
    make(making.choices(context.obj), making, replace(making.options(services), no_start=True))
