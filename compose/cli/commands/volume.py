"""`volume`: the volumes of this machine. No supervisor is asked; the store has locks of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from pycompose.compose.app.image_store import translated_errors
from pycompose.compose.cli import filters
from pycompose.compose.cli.arguments import FORMAT
from pycompose.compose.cli.image_options import QUIET, pairs
from pycompose.compose.cli.machine_command import MachineGroup
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.output.inspected import show_objects
from pycompose.compose.cli.output.listing import Listing, label_of, labels_text
from pycompose.compose.cli.output.tables import decimal_size

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


@click.group(cls=MachineGroup)
def volume() -> None:
    """Volumes on this machine."""


@volume.command(name="create")
@click.option("-l", "--label", "labels", multiple=True, metavar="KEY=VALUE")
@click.option("-o", "--opt", "options", multiple=True, metavar="KEY=VALUE", help="type=, o= and device=, as for mount.")
@click.argument("name")
def create_volume(labels: tuple[str, ...], options: tuple[str, ...], name: str) -> None:
    """Make a volume, to be used as an external one."""
    with translated_errors():
        terminal.say(volume_store().create(name, pairs(labels), pairs(options)).name)


@volume.command(name="ls", harmless=True)
@QUIET
@FORMAT
@filters.OPTION
def list_volumes(quiet: bool, form: str | None, texts: tuple[str, ...]) -> None:
    """List the volumes of this machine."""
    form = LISTING.form(form)
    with translated_errors():
        show_volumes(_matching(volume_store().list(), texts), quiet, form)


def _matching(volumes: list[VolumeRecord], texts: tuple[str, ...]) -> list[VolumeRecord]:
    wanted = filters.parsed(texts, ("name", "driver", "label", "dangling"))
    used = _used() if "dangling" in wanted else set()

    def matches(one: VolumeRecord) -> bool:
        return (
            ("name" not in wanted or any(text in one.name for text in wanted["name"]))
            and ("driver" not in wanted or one.driver in wanted["driver"])
            and filters.labelled(one.labels, wanted.get("label", ()))
            and ("dangling" not in wanted or filters.truth(wanted["dangling"]) == (one.name not in used))
        )

    return [one for one in volumes if matches(one)]


def _used() -> set[str]:
    """Volumes of containers of any project, whether these run or not."""
    from pycompose.runtime.places import Places
    from pycompose.runtime.state import usage

    return {name for one in usage.everyone(Places.default()) for name in one.uses.volumes}


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


@volume.command(name="inspect", harmless=True)
@click.option("-f", "--format", "form", metavar="FORM", help="json (the default), or a template.")
@click.argument("names", nargs=-1, required=True)
def inspect_volumes(form: str | None, names: tuple[str, ...]) -> None:
    """Print all that is known of volumes, as docker's JSON."""
    from pycompose.compose.app import inspection

    store = volume_store()

    def look(name: str) -> dict[str, Any] | None:
        return inspection.volume_json(store.get(name)) if store.exists(name) else None

    with translated_errors():
        show_objects(names, look, form, "no such volume")


@volume.command(name="prune")
@click.option("-a", "--all", "everything", is_flag=True, help="Those with a name too.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--filter", "texts", multiple=True, metavar="label=…", help="Only those that match.")
def prune_volumes(everything: bool, force: bool, texts: tuple[str, ...]) -> None:
    """Remove anonymous volumes that no container uses, and what is in them; with --all those with a name, too."""
    wanted = filters.parsed(texts, ("label",)).get("label", [])
    with translated_errors():
        chosen = unused_volumes(everything, wanted)
        if chosen and not force:
            names = ", ".join(one.name for one in chosen)
            click.confirm(f"Going to remove {names} and what is in them\nAre you sure?", abort=True, err=True)
        gone, freed = remove_unused(chosen)
    if gone:
        terminal.say("Deleted Volumes:\n" + "\n".join(gone) + "\n")
    terminal.say(f"Total reclaimed space: {decimal_size(freed)}")


def unused_volumes(everything: bool, labels: Sequence[str] = ()) -> list[VolumeRecord]:
    from pycompose.compose.model.observed import Label

    used = _used()
    return [
        one
        for one in volume_store().list()
        if one.name not in used
        and (everything or Label.ANONYMOUS in one.labels)
        and filters.labelled(one.labels, labels)
    ]


def remove_unused(volumes: Sequence[VolumeRecord]) -> tuple[list[str], int]:
    """The names of those that went, and how many bytes they had."""
    from pycompose.compose.app import disk_usage

    store, freed = volume_store(), 0
    for one in volumes:
        size = disk_usage.size_of(one.path)
        store.remove(one.name)
        freed += size
    return [one.name for one in volumes], freed


def show_volumes(volumes: list[VolumeRecord], quiet: bool, form: str) -> None:
    if quiet:
        for volume in volumes:
            terminal.say(volume.name)
    else:
        LISTING.show(form, [row(volume) for volume in volumes])


def row(volume: VolumeRecord) -> dict[str, Any]:
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
