"""`pull`: the images of services from their registries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from pycompose.compose.app import locate as projects
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.command import command
from pycompose.compose.cli.image_progress import failed, fetched
from pycompose.compose.cli.options import SERVICES
from pycompose.compose.cli.output import terminal
from pycompose.compose.state import lookup

if TYPE_CHECKING:
    from pycompose.compose.model.project import Project

QUIET = click.option("-q", "--quiet", is_flag=True, help="Show nothing while it goes on.")


def chosen_services(project: Project, services: tuple[str, ...], with_needed: bool) -> tuple[str, ...]:
    from pycompose.compose.app import images

    lookup.check(services, project.services)
    if with_needed:
        return tuple(images.needed(project, services, False))
    return services or tuple(project.services)


@command("pull")
@click.option("--ignore-buildable", is_flag=True, help="Leave out what can be built.")
@click.option("--ignore-pull-failures", is_flag=True, help="Fetch what can be fetched, and succeed.")
@click.option("--include-deps", is_flag=True, help="Fetch for what the services depend on, too.")
@click.option("--policy", type=click.Choice(["missing", "always"]), help="Instead of what the file says.")
@click.option("--no-parallel", is_flag=True, hidden=True)
@click.option("--parallel", is_flag=True, hidden=True)
@QUIET
@SERVICES
@click.pass_obj
def pull(
    choices: Choices,
    ignore_buildable: bool,
    ignore_pull_failures: bool,
    include_deps: bool,
    policy: str | None,
    no_parallel: bool,
    parallel: bool,
    quiet: bool,
    services: tuple[str, ...],
) -> None:
    """Fetch the images of services from their registries."""
    from pycompose.compose.app import images

    _, known = projects.target(choices, services)
    project = projects.needed(known)
    names = chosen_services(project, services, include_deps)
    due, skipped = images.to_pull(project, names, policy)
    if ignore_buildable:
        skipped |= {one.image: "Can be built" for one in due if one.optional}
        due = [one for one in due if not one.optional]
    if choices.dry_run:
        for one in due:
            terminal.note(f"would pull image {one.image}")
        return
    failures = fetched(due, quiet=quiet, skipped=skipped)
    if buildable := [failure for failure in failures if failure.fetch.optional]:
        names = tuple(name for failure in buildable for name in failure.fetch.services)
        terminal.warn(f"some images must be built: pycompose build {' '.join(names)}")
    if fatal := [failure for failure in failures if not failure.fetch.optional]:
        if not ignore_pull_failures:
            raise failed(fatal)
        for failure in fatal:
            terminal.warn(images.explained(failure))
