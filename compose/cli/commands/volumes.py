"""`volumes`: the volumes of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from pycompose.compose.app.image_store import translated_errors
from pycompose.compose.cli.arguments import FORMAT
from pycompose.compose.cli.command import command
from pycompose.compose.cli.image_options import QUIET

from .volume import LISTING, show_volumes, volume_store

if TYPE_CHECKING:
    from pycompose.compose.app.choices import Choices


@command("volumes")
@QUIET
@FORMAT
@click.argument("services", nargs=-1)
@click.pass_obj
def project_volumes(choices: Choices, quiet: bool, form: str | None, services: tuple[str, ...]) -> None:
    """List the project's volumes."""
    from pycompose.compose.cli.subject import check_services, places_of
    from pycompose.compose.model.observed import Label
    from pycompose.compose.state.observe import observe

    form = LISTING.form(form)
    places = places_of(choices)
    with translated_errors():
        containers = observe(places).containers
        check_services(choices, list(containers), services)
        used = {v for c in containers if c.service in services for v in c.volumes.values()}
        volumes = [v for v in volume_store().list() if v.labels.get(Label.PROJECT) == places.project]
    show_volumes([v for v in volumes if not services or v.name in used], quiet, form)
