"""`volume`: the volumes of this machine. No supervisor is asked; the store has locks of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from pycompose.compose.app.image_store import translated_errors
from pycompose.compose.cli.go_arguments import GoGroup
from pycompose.compose.cli.image_options import FORMAT, QUIET
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.output.tables import table

if TYPE_CHECKING:
    from pycompose.runtime.state.volumes import Volumes


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
def list_volumes(quiet: bool, form: str) -> None:
    """List the volumes of this machine."""
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


def show_volumes(volumes: list[Any], quiet: bool, form: str) -> None:
    if quiet:
        for volume in volumes:
            terminal.say(volume.name)
    elif form == "json":
        for volume in volumes:
            terminal.say(json.dumps(_row(volume) | {"Labels": dict(volume.labels)}))
    elif form != "table":
        from pycompose.compose.cli.output.templates import printed

        terminal.say(printed(form, [_row(volume) for volume in volumes], {"Name": "VOLUME NAME"}), end="")
    else:
        terminal.say(table(("DRIVER", "NAME"), [(volume.driver, volume.name) for volume in volumes]), end="")


def _row(volume: Any) -> dict[str, Any]:
    labels = ",".join(f"{key}={value}" for key, value in volume.labels.items())
    return {
        "Name": volume.name,
        "Driver": volume.driver,
        "Scope": "local",
        "Mountpoint": volume.path,
        "Labels": labels,
        "Links": "N/A",
        "Size": "N/A",
    }


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}
