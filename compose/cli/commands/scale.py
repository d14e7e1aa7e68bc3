"""`scale`: how many containers services have."""

from __future__ import annotations

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.arguments import TIMEOUT, counts_of
from pycompose.compose.cli.command import command
from pycompose.compose.cli.drawing import Drawing, shown


@command("scale", interrupted="`pycompose scale` again goes on")
@click.option("--no-deps", is_flag=True, help="Leave out what the services depend on.")
@click.option(
    "--remove",
    multiple=True,
    metavar="CONTAINER",
    help="Remove this one (worker-2) instead of the one with the highest number; may be given several times.",
)
@TIMEOUT
@click.argument("scales", nargs=-1, required=True, metavar="SERVICE=NUM...")
@click.pass_obj
def scale(
    choices: Choices, no_deps: bool, remove: tuple[str, ...], timeout: float | None, scales: tuple[str, ...]
) -> None:
    """Set how many containers services have: `pycompose scale worker=4`."""
    from pycompose.compose.app import operations

    counts = counts_of(scales, "invalid scale specifier: {}")
    shown(choices, operations.scale(choices, counts, Drawing(), remove=remove, no_deps=no_deps, timeout=timeout))
