"""`create`: everything that a project needs made, and nothing started."""

from __future__ import annotations

from typing import Any

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.command import command

from .up import begin, shared_options


@command("create")
@shared_options
@click.pass_obj
def create(choices: Choices, /, services: tuple[str, ...], **given: Any) -> None:
    """Make containers, networks and volumes without starting anything."""
    begin(choices, services, no_start=True, detach=True, **given)
