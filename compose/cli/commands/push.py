"""`push`: the images of services to their registries."""

from __future__ import annotations

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import subject
from pycompose.compose.cli.arguments import SERVICES
from pycompose.compose.cli.command import command
from pycompose.compose.cli.drawing import Drawing

from .pull import QUIET


@command("push", interrupted="`pycompose push` again goes on")
@click.option("--ignore-push-failures", is_flag=True, help="Push what can be pushed, and succeed.")
@click.option("--include-deps", is_flag=True, help="Push for what the services depend on, too.")
@QUIET
@SERVICES
@click.pass_obj
def push(
    choices: Choices, ignore_push_failures: bool, include_deps: bool, quiet: bool, services: tuple[str, ...]
) -> None:
    """Push the images of services that are built to their registries."""
    from pycompose.compose.app import image_operations

    project = subject.target(choices, services).described
    options = image_operations.PushOptions(include_deps, ignore_push_failures)
    image_operations.push(choices, project, services, options, Drawing(quiet_transfers=quiet))
