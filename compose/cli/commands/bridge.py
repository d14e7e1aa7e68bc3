"""`bridge`: a compose file converted into another model by the images that do it."""

from __future__ import annotations

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import subject
from pycompose.compose.cli.command import DRY_RUN, Command
from pycompose.compose.cli.drawing import Drawing
from pycompose.compose.cli.go_arguments import GoGroup
from pycompose.compose.cli.image_options import QUIET, name_and_tag
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.output.listing import Listing
from pycompose.compose.cli.output.tables import decimal_size

LISTING = Listing({"ID": "IMAGE ID", "Repository": "REPO", "Tag": "TAGS", "Size": "SIZE"}, ("Name",), as_array=True)


@click.group(cls=GoGroup)
@DRY_RUN
def bridge() -> None:
    """Convert compose files into another model."""


@bridge.command(name="convert", cls=Command)
@click.option("-o", "--output", default="out", metavar="FOLDER", help="Where the result goes (out).")
@click.option("--templates", default="", metavar="FOLDER", help="Templates instead of the transformation's own.")
@click.option("-t", "--transformation", "transformations", multiple=True, metavar="IMAGE", help="What converts it.")
@click.option("-y", "--yes", is_flag=True, help="Empty the output folder without a question.")
@click.pass_context
def convert(context: click.Context, output: str, templates: str, transformations: tuple[str, ...], yes: bool) -> None:
    """Convert compose files to Kubernetes manifests, Helm charts, or another model.

    Each transformation is an image that is run as a container (docker/compose-bridge-kubernetes, if none is named).
    """
    from pycompose.compose.app import transformations as operations

    choices: Choices = context.obj
    options = operations.Conversion(output, templates, transformations)

    def agree(question: str) -> bool:
        try:
            return yes or click.confirm(question, default=False, err=True)
        except click.Abort:  # nobody answers
            terminal.end_line()
            return False

    context.exit(operations.convert(choices, subject.load(choices), options, agree, Drawing()))


@bridge.group(name="transformations", cls=GoGroup)
@DRY_RUN
def transformations() -> None:
    """Images that convert."""


@transformations.command(name="list", cls=Command)
@click.option("--format", "form", metavar="FORM", help="table, json, or a template.")
@QUIET
def list_transformations(form: str | None, quiet: bool) -> None:
    """List the transformations of this machine."""
    from pycompose.compose.app import transformations as operations
    from pycompose.compose.app.image_store import translated_errors

    form = LISTING.form(form)
    with translated_errors():
        images = operations.transformers()
    if quiet:
        for image in images:
            terminal.say(image.name)
        return
    rows = []
    for image in images:
        repository, tag = name_and_tag(image.name)
        size = decimal_size(image.size)
        rows.append({"ID": image.digest[7:19], "Repository": repository, "Tag": tag, "Size": size, "Name": image.name})
    LISTING.show(form, rows)


transformations.add_command(list_transformations, "ls")


@transformations.command(name="create", cls=Command)
@click.option("-f", "--from", "source", default="", metavar="IMAGE", help="The transformation whose templates to take.")
@click.argument("path")
@click.pass_obj
def create(choices: Choices, source: str, path: str) -> None:
    """Make a folder with the templates of a transformation and a Dockerfile, to make one's own of."""
    from pycompose.compose.app import transformations as operations

    if not choices.dry_run:
        terminal.say(f'Transformer created in "{operations.create(path, source, Drawing())}"')
