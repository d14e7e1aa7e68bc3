"""`ls`: the projects of this machine, from records alone."""

from __future__ import annotations

import os

import click
from pycompose.compose.cli.arguments import FORMAT
from pycompose.compose.cli.command import command
from pycompose.compose.cli.misuse import Misuse
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.output.listing import Listing
from pycompose.compose.model.observed import Label, ObservedContainer
from pycompose.compose.state import observe

LISTING = Listing({"Name": "NAME", "Status": "STATUS", "ConfigFiles": "CONFIG FILES"}, as_array=True)


@command("ls")
@click.option("-a", "--all", "every", is_flag=True, help="Projects without a running container too.")
@click.option("-q", "--quiet", is_flag=True, help="Print names only.")
@FORMAT
@click.option("--filter", "filters", multiple=True, metavar="name=TEXT", help="Only those whose name matches.")
def list_projects(every: bool, quiet: bool, form: str | None, filters: tuple[str, ...]) -> None:
    """List the projects of this machine."""
    import re

    from pycompose.runtime.places import Places

    form = LISTING.form(form)
    places = Places.default()
    try:
        names = sorted(os.listdir(places.projects))
    except FileNotFoundError:
        names = []
    for text in filters:
        key, equals, value = text.partition("=")
        if not equals:
            fault = "bad format of filter (expected name=value)"
            raise Misuse(f'invalid argument "{text}" for "--filter" flag: {fault}')
        if key != "name":
            raise Misuse(f"invalid filter {key!r}", "name=TEXT")
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
    else:
        LISTING.show(form, [dict(zip(LISTING.columns, row, strict=True)) for row in rows])


def _config_files(container: ObservedContainer) -> str:
    return str(container.labels.get(Label.CONFIG_FILES, ""))
