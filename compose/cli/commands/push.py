"""`push`: the images of services to their registries."""

from __future__ import annotations

import click
from pycompose.compose.app import locate as projects
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.command import command
from pycompose.compose.cli.image_progress import pushed
from pycompose.compose.cli.options import SERVICES
from pycompose.compose.cli.output import terminal

from .pull import QUIET, chosen_services


@command("push")
@click.option("--ignore-push-failures", is_flag=True, help="Push what can be pushed, and succeed.")
@click.option("--include-deps", is_flag=True, help="Push for what the services depend on, too.")
@QUIET
@SERVICES
@click.pass_obj
def push(
    choices: Choices, ignore_push_failures: bool, include_deps: bool, quiet: bool, services: tuple[str, ...]
) -> None:
    """Push the images of services that are built to their registries."""
    _, known = projects.target(choices, services)
    project = projects.needed(known)
    wanted: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for name in chosen_services(project, services, include_deps):
        service = project.services[name]
        if service.image in (None, "host"):
            continue
        if service.build is None:
            skipped[str(service.image)] = "Not built here"
        else:
            wanted[str(service.image)] = name
    if choices.dry_run:
        for image in wanted:
            terminal.note(f"would push image {image}")
        return
    pushed(wanted, skipped=skipped, quiet=quiet, lenient=ignore_push_failures)
