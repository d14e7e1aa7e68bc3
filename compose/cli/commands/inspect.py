"""Inspection of containers, images, networks and volumes by the command line: `inspect`, in docker's JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from pycompose.compose.cli.command import command
from pycompose.compose.cli.output.inspected import show_objects

if TYPE_CHECKING:
    from pycompose.runtime.places import Places

KINDS = ("container", "image", "network", "volume")


@command("inspect")
@click.option("-f", "--format", "form", metavar="FORM", help="json (the default), or a template.")
@click.option("--type", "kind", type=click.Choice(KINDS), metavar="KIND", help="container, image, network or volume.")
@click.option("-s", "--size", is_flag=True, help="How much a container has written, too.")
@click.argument("names", nargs=-1, required=True, metavar="NAME|ID...")
def inspect(form: str | None, kind: str | None, size: bool, names: tuple[str, ...]) -> None:
    """Print all that is known of containers, images, networks and volumes, of all projects, as docker's JSON."""
    from pycompose.runtime.places import Places

    roots = Places.default()
    looks: dict[str, Look] = {"container": lambda roots, name: _container(roots, name, size), **OTHERS}
    kinds = (kind,) if kind else KINDS

    def look(name: str) -> dict[str, Any] | None:
        return next((one for each in kinds if (one := looks[each](roots, name)) is not None), None)

    show_objects(names, look, form, f"no such {kind or 'object'}")


def _container(roots: Places, name: str, size: bool) -> dict[str, Any] | None:
    from pycompose.compose.app import disk_usage, inspection

    one = inspection.container_named(roots, name)
    if one is None:
        return None
    tree = inspection.container_json(roots, one)
    return tree | {"SizeRw": disk_usage.written(one.places.container(one.container.id))} if size else tree


def _image(roots: Places, name: str) -> dict[str, Any] | None:
    from pycompose.compose.app import inspection
    from pycompose.compose.app.image_store import ask_store
    from pycompose.errors import PycomposeError

    store = ask_store()
    try:
        return inspection.image_json(store, store.resolve(name))
    except PycomposeError:
        return None


def _network(roots: Places, name: str) -> dict[str, Any] | None:
    from pycompose.compose.app import inspection

    record = inspection.network_named(roots, name)
    return inspection.network_json(roots, record) if record else None


def _volume(roots: Places, name: str) -> dict[str, Any] | None:
    from pycompose.compose.app import inspection
    from pycompose.errors import PycomposeError
    from pycompose.runtime.state.volumes import Volumes

    try:
        return inspection.volume_json(Volumes(roots).get(name))
    except PycomposeError:
        return None


Look = Callable[["Places", str], "dict[str, Any] | None"]
OTHERS: dict[str, Look] = {
    "image": _image,
    "network": _network,
    "volume": _volume,
}
