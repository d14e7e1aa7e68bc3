"""The class of every command: --dry-run, grouped help, and what is said when a signal ends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import click
from pycompose.compose.app.choices import Choices

from .go_arguments import GoArguments
from .interrupts import interrupted_code
from .output import terminal


def _dry_run(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and isinstance(context.obj, Choices):
        context.obj = replace(context.obj, dry_run=True)


_DRY_RUN: dict[str, Any] = {
    "is_flag": True,
    "expose_value": False,
    "callback": _dry_run,
    "help": "Print the plan, do nothing.",
}
DRY_RUN = click.option("--dry-run", **_DRY_RUN)


class Command(GoArguments):
    """A command that takes --dry-run.

    `groups` are headings of the help, with the options under each; the others come last. `interrupted`, of a command
    that acts: the hint when a signal ends it.
    """

    def __init__(
        self,
        *arguments: Any,
        groups: Mapping[str, tuple[str, ...]] | None = None,
        interrupted: str = "",
        **more: Any,
    ) -> None:
        super().__init__(*arguments, **more)
        self.groups, self.interrupted = groups or {}, interrupted
        taken = {name for parameter in self.params for name in parameter.opts}
        if "--dry-run" not in taken:
            self.params.append(click.Option(["--dry-run"], **_DRY_RUN))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            if not self.interrupted:
                raise
            terminal.leave_if_hung_up()
            terminal.end_line()
            terminal.error("interrupted: what was finished stays", self.interrupted)
            ctx.exit(interrupted_code())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        left = [(p, record) for p in options if (record := p.get_help_record(ctx)) is not None]
        for heading, names in self.groups.items():
            chosen = [entry for entry in left if set(names) & {*entry[0].opts, *entry[0].secondary_opts}]
            left = [entry for entry in left if entry not in chosen]
            with formatter.section(heading):
                formatter.write_dl([record for _, record in chosen])
        with formatter.section("Other options" if self.groups else "Options"):
            formatter.write_dl([record for _, record in left])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [piece.replace("[SERVICES]...", "[SERVICE...]") for piece in super().collect_usage_pieces(ctx)]


def command(name: str, **more: Any) -> Callable[[Callable[..., Any]], Command]:
    """A command of this program: `@command("up")`."""
    settings = {"help_option_names": ["-h", "--help"], "max_content_width": 110, **more.pop("context_settings", {})}
    return click.command(name, cls=Command, context_settings=settings, **more)
