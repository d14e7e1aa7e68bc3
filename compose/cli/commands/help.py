"""`help`: the help of a command, or of the program."""

from __future__ import annotations

import click
from pycompose.compose.cli.command import command


@command("help")
@click.option("--man", is_flag=True, help="Print the manual page: `pycompose help --man | man -l -`.")
@click.argument("names", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def show_help(context: click.Context, man: bool, names: tuple[str, ...]) -> None:
    """Print the help of a command, or of a command's command (`help image pull`)."""
    if man:
        from pycompose.compose.cli.manual import page

        click.echo(page(), nl=False)
        return
    place = context.find_root()
    for name in names:
        if not isinstance(place.command, click.Group):
            raise click.UsageError(f"`{place.info_name}` has no commands of its own", place)
        resolved, below, _ = place.command.resolve_command(place, [name])
        if below is None:
            raise click.UsageError(f"there is no command {name!r}", place)
        place = click.Context(below, info_name=resolved, parent=place, **below.context_settings)
    click.echo(place.command.get_help(place))
