"""`pycompose image …` and `images`, `pycompose volume …` and `volumes`: what containers are made from, and their data.

Rules: no supervisor is asked; the stores have locks of their own.
"""

from __future__ import annotations

import json
import sys
import time
from typing import IO, TYPE_CHECKING, Any

import click
from pycompose.compose.app.image_store import ask_store, counting, told
from pycompose.compose.cli.output.tables import age, decimal_size, table

from . import image_transfer

if TYPE_CHECKING:
    from pycompose.compose.cli.root import Choices
    from pycompose.runtime.state.volumes import Volumes

FORMAT = click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
QUIET = click.option("-q", "--quiet", is_flag=True, help="Print names only.")


def _volumes() -> Volumes:
    from pycompose.runtime.places import Places
    from pycompose.runtime.state.volumes import Volumes

    return Volumes(Places.default())


class ImageGroup(click.Group):
    """`image build` lies in a module of its own, imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "build"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name != "build":
            return super().get_command(ctx, cmd_name)
        from .build import image_build

        return image_build


@click.group(cls=ImageGroup)
def image() -> None:
    """Images on this machine."""


@image.command(name="import")
@click.option("-c", "--change", "changes", multiple=True, metavar="INSTRUCTION", help='As in a Dockerfile: CMD ["sh"].')
@click.argument("name")
@click.argument("rootfs")
def import_image(changes: tuple[str, ...], name: str, rootfs: str) -> None:
    """Make an image of the root file system in a tar (plain, gzip or zstd; - is standard input)."""
    with told(), counting(f"importing {name}") as progress:
        source: str | IO[bytes] = sys.stdin.buffer if rootfs == "-" else rootfs
        made = ask_store().import_rootfs(name, source, changes, progress)
    click.echo(f"{made.name} {made.digest}")


@image.command(name="load")
@click.option("-i", "--input", "archive", metavar="ARCHIVE", help="A file or folder; standard input without it.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing.")
@click.argument("path", required=False, metavar="[ARCHIVE]")
def load_images(archive: str | None, quiet: bool, path: str | None) -> None:
    """Load images from a `docker save` archive or an OCI layout."""
    if archive and path:
        raise click.UsageError("name the archive once")
    where = archive or path or "-"
    if where == "-" and sys.stdin.isatty():
        raise click.UsageError("no archive: name one, or give it on standard input")
    with told(), counting("loading") as progress:
        store = ask_store()
        source: str | IO[bytes] = sys.stdin.buffer if where == "-" else where
        for made in store.load(source, None if quiet else progress):
            for name in (store.names_of(made.digest) or (made.digest,)) if not quiet else ():
                click.echo(f"loaded {name}")


@image.command(name="ls")
@QUIET
@FORMAT
def list_images(quiet: bool, form: str) -> None:
    """List the images of this machine."""
    with told():
        store = ask_store()
        found = store.ls()
    if quiet:
        for digest in dict.fromkeys(one.digest for one in found):
            click.echo(digest)
        return
    if form == "json":
        for one in found:
            row = {"Name": one.name, "ID": one.digest, "Size": one.size, "Created": one.created}
            row["LastUsed"] = store.used(one.digest)
            click.echo(json.dumps({**row, "Layers": len(one.layers)}))
        return
    now = time.time()
    rows = [
        (_name(one.name), one.digest[7:19], _since(store.used(one.digest), now), decimal_size(one.size))
        for one in found
    ]
    click.echo(table(("NAME", "ID", "LAST USED", "SIZE"), rows), nl=False)


@image.command(name="rm")
@click.option("-f", "--force", is_flag=True, help="Even if a container uses it: its name goes, its layers stay.")
@click.argument("names", nargs=-1, required=True)
def remove_images(force: bool, names: tuple[str, ...]) -> None:
    """Remove images, by name or id."""
    with told():
        for name in names:
            for line in ask_store().rm(name, force):
                click.echo(line)


@image.command(name="inspect")
@click.argument("names", nargs=-1, required=True)
def inspect_images(names: tuple[str, ...]) -> None:
    """Print all that is known of images, as JSON."""
    shown = []
    with told():
        store = ask_store()
        for name in names:
            one = store.resolve(name)
            config = {} if one.is_host else json.loads(store.config(one.digest))
            shown.append(
                {
                    "Id": one.digest,
                    "RepoTags": list(store.names_of(one.digest)),
                    "RepoDigests": list(store.pins_of(one.digest)),
                    "Size": one.size,
                    "Layers": [layer for layer in reversed(one.layers)],
                    "Config": config.get("config") or {},
                    "Created": one.created,
                    "Architecture": config.get("architecture", ""),
                    "RootFS": config.get("rootfs") or {},
                }
            )
    click.echo(json.dumps(shown, indent=2))


for one in image_transfer.COMMANDS:
    image.add_command(one)


@click.command(name="images")
@QUIET
@FORMAT
@click.argument("services", nargs=-1)
@click.pass_obj
def project_images(choices: Choices, quiet: bool, form: str, services: tuple[str, ...]) -> None:
    """List the images that the project's containers are made from."""
    from pycompose.compose.app.locate import places_of
    from pycompose.compose.state.observe import observe

    with told():
        store = ask_store()
        rows = []
        for container in sorted(observe(places_of(choices)).containers, key=lambda c: c.name):
            if services and container.service not in services:
                continue
            size = next((i.size for i in store.ls() if i.digest == container.image_digest), 0)
            rows.append((container.name, container.image, container.image_digest, size))
    if quiet:
        for digest in dict.fromkeys(row[2] or row[1] for row in rows):
            click.echo(digest)
    elif form == "json":
        for name, of, digest, size in rows:
            click.echo(json.dumps({"ContainerName": name, "Image": of, "ID": digest, "Size": size}))
    else:
        shown = [(n, i, d[7:19] or "-", decimal_size(s)) for n, i, d, s in rows]
        click.echo(table(("CONTAINER", "IMAGE", "ID", "SIZE"), shown), nl=False)


@click.command(name="volumes")
@QUIET
@FORMAT
@click.argument("services", nargs=-1)
@click.pass_obj
def project_volumes(choices: Choices, quiet: bool, form: str, services: tuple[str, ...]) -> None:
    """List the project's volumes."""
    from pycompose.compose.app.locate import places_of
    from pycompose.compose.model.observed import Label
    from pycompose.compose.state.observe import observe

    places = places_of(choices)
    with told():
        used = {v for c in observe(places).containers if c.service in services for v in c.volumes.values()}
        found = [v for v in _volumes().list() if v.labels.get(Label.PROJECT) == places.project]
    _show_volumes([v for v in found if not services or v.name in used], quiet, form)


@click.group()
def volume() -> None:
    """Volumes on this machine."""


@volume.command(name="create")
@click.option("-l", "--label", "labels", multiple=True, metavar="KEY=VALUE")
@click.option("-o", "--opt", "options", multiple=True, metavar="KEY=VALUE", help="type=, o= and device=, as for mount.")
@click.argument("name")
def create_volume(labels: tuple[str, ...], options: tuple[str, ...], name: str) -> None:
    """Make a volume, to be used as an external one."""
    with told():
        click.echo(_volumes().create(name, _pairs(labels), _pairs(options)).name)


@volume.command(name="ls")
@QUIET
@FORMAT
def list_volumes(quiet: bool, form: str) -> None:
    """List the volumes of this machine."""
    with told():
        _show_volumes(_volumes().list(), quiet, form)


@volume.command(name="rm")
@click.option("-f", "--force", is_flag=True, help="No error if there is none.")
@click.argument("names", nargs=-1, required=True)
def remove_volumes(force: bool, names: tuple[str, ...]) -> None:
    """Remove volumes and what is in them."""
    with told():
        store = _volumes()
        for name in names:
            if not force:
                store.get(name)
            store.remove(name)
            click.echo(name)


@volume.command(name="inspect")
@click.argument("names", nargs=-1, required=True)
def inspect_volumes(names: tuple[str, ...]) -> None:
    """Print all that is known of volumes, as JSON."""
    with told():
        found = [_volumes().get(name) for name in names]
    rows = [
        {"Name": v.name, "Driver": v.driver, "Mountpoint": v.path, "Labels": dict(v.labels), "Options": dict(v.options)}
        for v in found
    ]
    click.echo(json.dumps(rows, indent=2))


def _show_volumes(found: list[Any], quiet: bool, form: str) -> None:
    if quiet:
        for one in found:
            click.echo(one.name)
    elif form == "json":
        for one in found:
            row = {"Name": one.name, "Driver": one.driver, "Mountpoint": one.path, "Labels": dict(one.labels)}
            click.echo(json.dumps(row))
    else:
        click.echo(table(("DRIVER", "NAME"), [(one.driver, one.name) for one in found]), nl=False)


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}


def _name(name: str) -> str:
    return "<none>" if name.startswith("sha256:") else name


def _since(moment: float, now: float) -> str:
    return f"{age(now - moment)} ago" if moment else "-"
