"""`debug`: all that is on record of a project in one file."""

from __future__ import annotations

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import subject
from pycompose.compose.cli.command import command
from pycompose.compose.cli.image_options import output_file
from pycompose.compose.cli.output import terminal


@command("debug")
@click.option("-o", "--output", metavar="FILE", help="A file; standard output without it.")
@click.pass_obj
def debug(choices: Choices, output: str | None) -> None:
    """Write records, plan traces, events and logs of a project as a tar.gz. Values of environment variables, configs
    and secrets are left out; what a program logs or a command line holds besides is in it."""
    from pycompose.compose.app import debug_archive

    places = subject.places_of(choices)
    if choices.dry_run:
        return
    with output_file(output) as out:
        debug_archive.write(places, out)
    terminal.warn("look at the archive before you hand it on: logs hold whatever the programs wrote")
