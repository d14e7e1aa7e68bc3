"""`pull`: the images of services from their registries."""

from __future__ import annotations

from typing import Literal

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import subject
from pycompose.compose.cli.arguments import DEPRECATED, SERVICES
from pycompose.compose.cli.command import command
from pycompose.compose.cli.drawing import Drawing

QUIET = click.option("-q", "--quiet", is_flag=True, help="Show nothing while it goes on.")


@command("pull", interrupted="`pycompose pull` again goes on")
@click.option("--ignore-buildable", is_flag=True, help="Leave out what can be built.")
@click.option("--ignore-pull-failures", is_flag=True, help="Fetch what can be fetched, and succeed.")
@click.option("--include-deps", is_flag=True, help="Fetch for what the services depend on, too.")
@click.option("--policy", type=click.Choice(["missing", "always"]), help="Instead of what the file says.")
@click.option("--no-parallel", is_flag=True, hidden=True, help=DEPRECATED)
@click.option("--parallel", is_flag=True, hidden=True, help=DEPRECATED)
@QUIET
@SERVICES
@click.pass_obj
def pull(
    choices: Choices,
    ignore_buildable: bool,
    ignore_pull_failures: bool,
    include_deps: bool,
    policy: Literal["missing", "always"] | None,
    no_parallel: bool,
    parallel: bool,
    quiet: bool,
    services: tuple[str, ...],
) -> None:
    """Fetch the images of services from their registries."""
    from pycompose.compose.app import image_operations

    project = subject.target(choices, services).described
    options = image_operations.PullOptions(include_deps, policy, ignore_buildable, ignore_pull_failures)
    image_operations.pull(choices, project, services, options, Drawing(quiet_transfers=quiet))
