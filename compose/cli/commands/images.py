"""`images`: the images that a project's containers are made from."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
from pycompose.compose.app.image_store import ask_store, translated_errors
from pycompose.compose.cli.arguments import FORMAT
from pycompose.compose.cli.command import command
from pycompose.compose.cli.image_options import QUIET, created_seconds, name_and_tag
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.output.listing import Listing
from pycompose.compose.cli.output.tables import age, decimal_size

if TYPE_CHECKING:
    from pycompose.compose.app.choices import Choices
    from pycompose.compose.model.observed import ObservedContainer
    from pycompose.runtime.images.store import Image, Store

LISTING = Listing(
    {
        "ContainerName": "CONTAINER",
        "Repository": "REPOSITORY",
        "Tag": "TAG",
        "Platform": "PLATFORM",
        "ID": "IMAGE ID",
        "Size": "SIZE",
        "Created": "CREATED",
    },
    ("Image",),
    as_array=True,
)


@command("images")
@QUIET
@FORMAT
@click.argument("services", nargs=-1)
@click.pass_obj
def project_images(choices: Choices, quiet: bool, form: str | None, services: tuple[str, ...]) -> None:
    """List the images that the project's containers are made from."""
    from pycompose.compose.cli.subject import places_of
    from pycompose.compose.state.observe import observe

    form = LISTING.form(form)
    with translated_errors():
        store = ask_store()
        images = {image.digest: image for image in store.ls()}
        containers = sorted(observe(places_of(choices)).containers, key=lambda c: c.name)
        chosen = [container for container in containers if not services or container.service in services]
        rows = [_row(store, one, images.get(one.image_digest)) for one in chosen]
    if quiet:
        for digest in dict.fromkeys(str(row["ID"]).rpartition(":")[2] or str(row["Image"]) for row in rows):
            terminal.say(digest)
        return
    now = time.time()
    LISTING.show(form, rows, lambda row: _cells(row, now))


def _row(store: Store, container: ObservedContainer, image: Image | None) -> dict[str, Any]:
    """The keys of `docker compose images --format json`, and the name as one."""
    repository, tag = name_and_tag(container.image)
    config = json.loads(store.config_of(image.digest)) if image is not None else {}
    platform = "/".join(filter(None, (config.get("os"), config.get("architecture"), config.get("variant"))))
    return {
        "ID": container.image_digest,
        "ContainerName": container.name,
        "Repository": repository,
        "Tag": tag,
        "Platform": platform,
        "Size": image.size if image is not None else 0,
        "Created": image.created if image is not None else "",
        "Image": container.image,
    }


def _cells(row: Mapping[str, Any], now: float) -> list[str]:
    created = created_seconds(row["Created"])
    when = f"{age(now - created)} ago" if created else "-"
    short = str(row["ID"]).rpartition(":")[2][:12] or "-"
    size = decimal_size(row["Size"])
    return [row["ContainerName"], row["Repository"], row["Tag"], row["Platform"] or "-", short, size, when]
