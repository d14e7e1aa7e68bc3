"""`pycompose image …` and `images`, `pycompose volume …` and `volumes`: what containers are made from, and their data.

Rules: no supervisor is asked; the stores have locks of their own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import click
from pycompose.compose.errors import PycomposeError

if TYPE_CHECKING:
    from pycompose.runtime.images.store import Store
    from pycompose.runtime.volumes import Volumes

    from .root import Choices

FORMAT = click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
QUIET = click.option("-q", "--quiet", is_flag=True, help="Print names only.")


@contextmanager
def _told() -> Iterator[None]:
    """Errors of the runtime become errors of ours."""
    from pycompose.runtime.errors import RuntimeFailure

    try:
        yield
    except RuntimeFailure as error:
        raise PycomposeError(str(error), hint=getattr(error, "hint", "")) from error
    except OSError as error:
        hint = "run it as root, or set PYCOMPOSE_STATE" if isinstance(error, PermissionError) else ""
        raise PycomposeError(f"{error.filename}: {error.strerror}", hint=hint) from error


def _store() -> Store:
    from pycompose.runtime.images.store import Store
    from pycompose.runtime.places import Places

    return Store(Places.default())


def _volumes() -> Volumes:
    from pycompose.runtime.places import Places
    from pycompose.runtime.volumes import Volumes

    return Volumes(Places.default())


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int], None] | None]:
    """Megabytes read so far, on a terminal's last line, at most ten times a second."""
    if not sys.stderr.isatty():
        yield None
        return
    done, shown = 0, 0.0

    def tell(more: int) -> None:
        nonlocal done, shown
        done += more
        if time.monotonic() - shown > 0.1:
            shown = time.monotonic()
            print(f"\r{what}: {done / 1e6:.0f} MB\x1b[K", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


@click.group()
def image() -> None:
    """Images on this machine."""


@image.command(name="import")
@click.option("-c", "--change", "changes", multiple=True, metavar="INSTRUCTION", help='As in a Dockerfile: CMD ["sh"].')
@click.argument("name")
@click.argument("rootfs")
def import_image(changes: tuple[str, ...], name: str, rootfs: str) -> None:
    """Make an image of the root file system in a tar (plain, gzip or zstd; - is standard input)."""
    with _told(), _progress(f"importing {name}") as progress:
        source: str | IO[bytes] = sys.stdin.buffer if rootfs == "-" else rootfs
        made = _store().import_rootfs(name, source, changes, progress)
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
    with _told(), _progress("loading") as progress:
        store = _store()
        source: str | IO[bytes] = sys.stdin.buffer if where == "-" else where
        for made in store.load(source, None if quiet else progress):
            for name in store.names_of(made.digest) if not quiet else ():
                click.echo(f"loaded {name}")


@image.command(name="ls")
@QUIET
@FORMAT
def list_images(quiet: bool, form: str) -> None:
    """List the images of this machine."""
    with _told():
        found = _store().ls()
    if quiet:
        for digest in dict.fromkeys(one.digest for one in found):
            click.echo(digest)
        return
    if form == "json":
        for one in found:
            row = {"Name": one.name, "ID": one.digest, "Size": one.size, "Created": one.created}
            click.echo(json.dumps({**row, "Layers": len(one.layers)}))
        return
    _table(("NAME", "ID", "SIZE"), [(_name(one.name), one.digest[7:19], _size(one.size)) for one in found])


@image.command(name="rm")
@click.option("-f", "--force", is_flag=True, help="Even if a container uses it: its name goes, its layers stay.")
@click.argument("names", nargs=-1, required=True)
def remove_images(force: bool, names: tuple[str, ...]) -> None:
    """Remove images, by name or id."""
    with _told():
        for name in names:
            for line in _store().rm(name, force):
                click.echo(line)


@image.command(name="inspect")
@click.argument("names", nargs=-1, required=True)
def inspect_images(names: tuple[str, ...]) -> None:
    """Print all that is known of images, as JSON."""
    shown = []
    with _told():
        store = _store()
        for name in names:
            one = store.resolve(name)
            config = {} if one.is_host else json.loads(store.config(one.digest))
            shown.append(
                {
                    "Id": one.digest,
                    "RepoTags": list(store.names_of(one.digest)),
                    "Size": one.size,
                    "Layers": [layer for layer in reversed(one.layers)],
                    "Config": config.get("config") or {},
                    "Created": one.created,
                    "Architecture": config.get("architecture", ""),
                    "RootFS": config.get("rootfs") or {},
                }
            )
    click.echo(json.dumps(shown, indent=2))


@click.command(name="images")
@QUIET
@FORMAT
@click.argument("services", nargs=-1)
@click.pass_obj
def project_images(choices: Choices, quiet: bool, form: str, services: tuple[str, ...]) -> None:
    """List the images that the project's containers are made from."""
    from pycompose.compose.observing import observe

    from .project import places_of

    with _told():
        store = _store()
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
        _table(("CONTAINER", "IMAGE", "ID", "SIZE"), [(n, i, d[7:19] or "-", _size(s)) for n, i, d, s in rows])


@click.command(name="volumes")
@QUIET
@FORMAT
@click.argument("services", nargs=-1)
@click.pass_obj
def project_volumes(choices: Choices, quiet: bool, form: str, services: tuple[str, ...]) -> None:
    """List the project's volumes."""
    from pycompose.compose.observed import Label
    from pycompose.compose.observing import observe

    from .project import places_of

    places = places_of(choices)
    with _told():
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
    with _told():
        click.echo(_volumes().create(name, _pairs(labels), _pairs(options)).name)


@volume.command(name="ls")
@QUIET
@FORMAT
def list_volumes(quiet: bool, form: str) -> None:
    """List the volumes of this machine."""
    with _told():
        _show_volumes(_volumes().list(), quiet, form)


@volume.command(name="rm")
@click.option("-f", "--force", is_flag=True, help="No error if there is none.")
@click.argument("names", nargs=-1, required=True)
def remove_volumes(force: bool, names: tuple[str, ...]) -> None:
    """Remove volumes and what is in them."""
    with _told():
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
    with _told():
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
        _table(("DRIVER", "NAME"), [(one.driver, one.name) for one in found])


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}


def _name(name: str) -> str:
    return "<none>" if name.startswith("sha256:") else name


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        click.echo("   ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
