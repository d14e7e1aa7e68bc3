"""`ls`: the projects of this machine, from records alone."""

from __future__ import annotations

import json
import os

import click
from pycompose.compose.cli.arguments import output_form
from pycompose.compose.cli.command import command
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.output.tables import table
from pycompose.compose.model.observed import Label, ObservedContainer
from pycompose.compose.state import observe


@command("ls")
@click.option("-a", "--all", "every", is_flag=True, help="Projects without a running container too.")
@click.option("-q", "--quiet", is_flag=True, help="Print names only.")
@click.option("--format", "form", default="table", metavar="FORM", help="table (the default) or json.")
@click.option("--filter", "filters", multiple=True, metavar="name=TEXT", help="Only those whose name matches.")
def list_projects(every: bool, quiet: bool, form: str, filters: tuple[str, ...]) -> None:
    """List the projects of this machine."""
    import re

    from pycompose.runtime.places import Places

    form = output_form(form)
    places = Places.default()
    try:
        names = sorted(os.listdir(places.projects))
    except FileNotFoundError:
        names = []
    for text in filters:
        key, _, value = text.partition("=")
        if key != "name":
            raise click.BadParameter(f"{text!r} is not name=TEXT", param_hint="--filter")
        try:
            names = [name for name in names if re.search(value, name)]
        except re.error as error:
            raise click.BadParameter(f"{value!r} is no pattern: {error}", param_hint="--filter") from error
    rows = []
    for name in names:
        containers = observe.containers(places.project(name))
        states = [container.status for container in containers]
        if "running" in states or (every and states):
            counts = ", ".join(f"{state}({states.count(state)})" for state in sorted(set(states)))
            files = next((f for container in containers if (f := _config_files(container))), "")
            rows.append((name, counts, files))
    if quiet:
        for row in rows:
            terminal.say(row[0])
    elif form == "json":
        terminal.say(json.dumps([{"Name": n, "Status": s, "ConfigFiles": f} for n, s, f in rows]))
    else:
        terminal.say(table(("NAME", "STATUS", "CONFIG FILES"), rows), end="")


def _config_files(container: ObservedContainer) -> str:
    return str(container.labels.get(Label.CONFIG_FILES, ""))
