"""`volume`: the volumes of this machine. No supervisor is asked; the store has locks of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from pycompose.compose.app.image_store import translated_errors
from pycompose.compose.cli.arguments import FORMAT
from pycompose.compose.cli.go_arguments import GoGroup
from pycompose.compose.cli.image_options import QUIET
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.output.listing import Listing, label_of, labels_text

if TYPE_CHECKING:
    from pycompose.runtime.state.volumes import VolumeRecord, Volumes

LISTING = Listing(
    {"Driver": "DRIVER", "Name": "VOLUME NAME"},
    ("Availability", "Group", "Label", "Labels", "Links", "Mountpoint", "Scope", "Size", "Status"),
    setting="volumesFormat",
)


def volume_store() -> Volumes:
    from pycompose.runtime.places import Places
    from pycompose.runtime.state.volumes import Volumes

    return Volumes(Places.default())


@click.group(cls=GoGroup)
def volume() -> None:
    """Volumes on this machine."""


@volume.command(name="create")
@click.option("-l", "--label", "labels", multiple=True, metavar="KEY=VALUE")
@click.option("-o", "--opt", "options", multiple=True, metavar="KEY=VALUE", help="type=, o= and device=, as for mount.")
@click.argument("name")
def create_volume(labels: tuple[str, ...], options: tuple[str, ...], name: str) -> None:
    """Make a volume, to be used as an external one."""
    with translated_errors():
        terminal.say(volume_store().create(name, _pairs(labels), _pairs(options)).name)


@volume.command(name="ls")
@QUIET
@FORMAT
def list_volumes(quiet: bool, form: str | None) -> None:
    """List the volumes of this machine."""
    form = LISTING.form(form)
    with translated_errors():
        show_volumes(volume_store().list(), quiet, form)


@volume.command(name="rm")
@click.option("-f", "--force", is_flag=True, help="No error if there is none.")
@click.argument("names", nargs=-1, required=True)
def remove_volumes(force: bool, names: tuple[str, ...]) -> None:
    """Remove volumes and what is in them."""
    with translated_errors():
        store = volume_store()
        for name in names:
            if not force:
                store.get(name)
            store.remove(name)
            terminal.say(name)


@volume.command(name="inspect")
@click.argument("names", nargs=-1, required=True)
def inspect_volumes(names: tuple[str, ...]) -> None:
    """Print all that is known of volumes, as JSON."""
    with translated_errors():
        volumes = [volume_store().get(name) for name in names]
    rows = [
        {"Name": v.name, "Driver": v.driver, "Mountpoint": v.path, "Labels": dict(v.labels), "Options": dict(v.options)}
        for v in volumes
    ]
    terminal.say(json.dumps(rows, indent=2))


def show_volumes(volumes: list[VolumeRecord], quiet: bool, form: str) -> None:
    if quiet:
        for volume in volumes:
            terminal.say(volume.name)
    else:
        LISTING.show(form, [_row(volume) for volume in volumes])


def _row(volume: VolumeRecord) -> dict[str, Any]:
    """The keys of `docker volume ls --format json`."""
    return {
        "Availability": "N/A",
        "Driver": volume.driver,
        "Group": "N/A",
        "Label": label_of(volume.labels),
        "Labels": labels_text(volume.labels),
        "Links": "N/A",
        "Mountpoint": volume.path,
        "Name": volume.name,
        "Scope": "local",
        "Size": "N/A",
        "Status": "N/A",
    }


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}
