"""The class of docker's own commands, of what belongs to the machine: images, volumes, networks, the builder.

They have no plan that could be printed. Rule: `--dry-run` before such a command is an error that names it, unless the
command says of itself that it then changes nothing.
"""

from __future__ import annotations

from typing import Any

import click
from pycompose.compose.app.choices import Choices
from pycompose.errors import PycomposeError

from .go_arguments import GoArguments, GoGroup


class MachineCommand(GoArguments):
    """`harmless`: with --dry-run it changes nothing, because it only reads, or because it heeds that itself."""

    def __init__(self, *arguments: Any, harmless: bool = False, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.harmless = harmless

    def invoke(self, ctx: click.Context) -> Any:
        if not self.harmless and isinstance(ctx.obj, Choices) and ctx.obj.dry_run:
            raise PycomposeError(
                f"`{ctx.command_path}` cannot be tried with --dry-run: it makes no plan", hint="leave --dry-run out"
            )
        return super().invoke(ctx)


class MachineGroup(GoGroup):
    """A group of such commands."""

    command_class = MachineCommand
