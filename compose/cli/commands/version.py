"""`version`: what this program is."""

from __future__ import annotations

import json

import click
from pycompose.compose.cli.command import command
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.output.terminal import version_text


@command("version")
@click.option("-f", "--format", "form", type=click.Choice(["pretty", "json"]), default="pretty", help="pretty or json.")
@click.option("--short", is_flag=True, help="The number alone.")
def version(form: str, short: bool) -> None:
    """Say which version this is."""
    if form == "json":
        terminal.say(json.dumps({"version": version_text(short=True)}))
    else:
        terminal.say(version_text(short=short))
