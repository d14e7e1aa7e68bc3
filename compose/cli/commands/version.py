"""`version`: what this program is."""

from __future__ import annotations

import fnmatch
import json
import os

import click
from pycompose.compose.cli.command import command
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.output.terminal import version_text


@command("version")
@click.option("-f", "--format", "form", type=click.Choice(["pretty", "json"]), default="pretty", help="pretty or json.")
@click.option("--short", is_flag=True, help="The number alone.")
@click.pass_context
def version(context: click.Context, form: str, short: bool) -> None:
    """Say which version this is; called as docker compose, which of its versions this speaks as."""
    for_docker = context.find_root().info_name != "pycompose"
    number = version_text(short=True, for_docker=for_docker)
    if form == "json" and not short:
        terminal.say(json.dumps({"version": f"v{number}" if for_docker else number}, separators=(",", ":")))
    else:
        terminal.say(version_text(short=short, for_docker=for_docker))
    for name in _strangers():
        text = "another project whose package has the same name; uninstall both, and install this one again"
        terminal.warn(f"{name}: {text}")


def _strangers() -> list[str]:
    """Distributions called "pycompose" beside this one, as their folders tell: "pycompose 1.2.1"."""
    import pycompose

    site = os.path.dirname(os.path.dirname(os.path.abspath(pycompose.__file__)))
    records = fnmatch.filter(os.listdir(site), "pycompose-*.dist-info")
    return [name.removesuffix(".dist-info").replace("-", " ") for name in records]
