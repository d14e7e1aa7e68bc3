"""`images`: the images that a project's containers are made from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from pycompose.compose.app.image_store import ask_store, translated_errors
from pycompose.compose.cli.go_arguments import GoArguments
from pycompose.compose.cli.image_options import FORMAT, QUIET
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.output.tables import decimal_size, table

if TYPE_CHECKING:
    from pycompose.compose.app.choices import Choices


@click.command(name="images", cls=GoArguments)
@QUIET
@FORMAT
@click.argument("services", nargs=-1)
@click.pass_obj
def project_images(choices: Choices, quiet: bool, form: str, services: tuple[str, ...]) -> None:
    """List the images that the project's containers are made from."""
    from pycompose.compose.cli.subject import places_of
    from pycompose.compose.state.observe import observe

    with translated_errors():
        store = ask_store()
        rows = []
        for container in sorted(observe(places_of(choices)).containers, key=lambda c: c.name):
            if services and container.service not in services:
                continue
            size = next((i.size for i in store.ls() if i.digest == container.image_digest), 0)
            rows.append((container.name, container.image, container.image_digest, size))
    if quiet:
        for digest in dict.fromkeys(row[2] or row[1] for row in rows):
            terminal.say(digest)
    elif form == "json":
        for name, of, digest, size in rows:
            terminal.say(json.dumps({"ContainerName": name, "Image": of, "ID": digest, "Size": size}))
    else:
        cells = [(n, i, d[7:19] or "-", decimal_size(s)) for n, i, d, s in rows]
        terminal.say(table(("CONTAINER", "IMAGE", "ID", "SIZE"), cells), end="")
