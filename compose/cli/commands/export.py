"""`export`: the file system of a container as a tar."""

from __future__ import annotations

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.app.image_store import ask_store, translated_errors
from pycompose.compose.cli.command import command
from pycompose.compose.cli.image_options import INDEX, container_of, output_file


@command("export")
@click.option("-o", "--output", metavar="FILE", help="A file; standard output without it.")
@INDEX
@click.argument("service")
@click.pass_obj
def export(choices: Choices, output: str | None, index: int, service: str) -> None:
    """Write the file system of a service's container as a tar; volumes are left out."""
    from pycompose.runtime.images import commit

    located, container = container_of(choices, service, index)
    if choices.dry_run:
        return
    with translated_errors(), output_file(output) as out:
        commit.export(ask_store(), located.places.container(container.id), out)
