"""graph: which service waits for which, as a picture in the terminal or for other programs.

Where the project has containers, each service tells how it fares. Rules: needs no root and nobody running; records that
may not be read are as if there were none.
"""

from __future__ import annotations

import shutil
import sys
from typing import Literal

import click
from pycompose.compose.app import locate, service_graph
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.command import command
from pycompose.compose.cli.output import terminal


@command("graph")
@click.option(
    "--format",
    "form",
    type=click.Choice(["ascii", "mermaid", "dot", "json"]),
    default="ascii",
    help="ascii (the default, drawn for this terminal), mermaid, dot or json.",
)
@click.argument("services", nargs=-1)
@click.pass_obj
def graph(choices: Choices, form: Literal["ascii", "mermaid", "dot", "json"], services: tuple[str, ...]) -> None:
    """Draw which service waits for which, and for what.

    What is needed is above what needs it. With SERVICE: those services and what they depend on. Where the project runs,
    each service tells how it is.
    """
    from pycompose.compose.file.loader import load

    if form == "json":
        terminal.progress = "json"
    described = load(locate.options_of(choices), services).project  # warnings are for who runs it
    if form != "ascii":
        terminal.say(service_graph.drawn(described, services, form), end="")
        return
    glyphs: service_graph.GraphForm = (
        "unicode" if (sys.stdout.encoding or "").lower().replace("-", "") == "utf8" else "ascii"
    )
    room, on = shutil.get_terminal_size((120, 24)).columns, terminal.coloured(sys.stdout)
    picture = service_graph.drawn(
        described, services, glyphs, room, lambda text, style: terminal.paint(text, style, on)
    )
    for line in picture.splitlines():
        click.echo(line, color=True)  # whether there are colours is decided already
