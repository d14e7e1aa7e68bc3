"""`scale`: how many containers services have."""

from __future__ import annotations

import click
from pycompose.compose.app import locate
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.command import command
from pycompose.compose.cli.options import TIMEOUT


@command("scale")
@click.option("--no-deps", is_flag=True, help="Leave out what the services depend on.")
@TIMEOUT
@click.argument("scales", nargs=-1, required=True, metavar="SERVICE=NUM...")
@click.pass_obj
def scale(choices: Choices, no_deps: bool, timeout: float | None, scales: tuple[str, ...]) -> None:
    """Set how many containers services have: `pycompose scale worker=4`."""
    from pycompose.compose.cli import image_progress, run_plan
    from pycompose.compose.plan import reconcile

    counts = locate.counts_of(scales)
    places, known = locate.target(choices, tuple(counts))
    wanted = locate.needed(known)
    found = image_progress.make_ready(choices, wanted, tuple(counts), no_deps=no_deps)
    options = reconcile.UpOptions(no_deps=no_deps, timeout=timeout, images=found)
    run_plan.run(
        choices, places, wanted, lambda seen: reconcile.scale(wanted, seen, counts, options), "scale", keep=True
    )
