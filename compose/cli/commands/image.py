"""`image`: the images of this machine. No supervisor is asked; the store has locks of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

import click
from pycompose.compose.app.image_store import ask_store, translated_errors
from pycompose.compose.cli import filters
from pycompose.compose.cli.arguments import FORMAT, moment
from pycompose.compose.cli.image_options import QUIET, created_seconds, name_and_tag
from pycompose.compose.cli.machine_command import MachineGroup
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.output.byte_count import counting
from pycompose.compose.cli.output.inspected import show_objects
from pycompose.compose.cli.output.listing import Listing
from pycompose.compose.cli.output.tables import age, decimal_size

from . import image_transfer

if TYPE_CHECKING:
    from pycompose.runtime.images.store import Image, Store

LISTING = Listing(
    {"Name": "NAME", "ID": "ID", "LastUsed": "LAST USED", "Size": "SIZE"},
    (
        "Containers",
        "Created",
        "CreatedAt",
        "CreatedSince",
        "Digest",
        "Layers",
        "Repository",
        "SharedSize",
        "Tag",
        "UniqueSize",
        "VirtualSize",
    ),
    setting="imagesFormat",
)


KEYS = ("reference", "dangling", "label", "before", "since", "until")


class ImageGroup(MachineGroup):
    """`image build` lies in a module of its own, imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "build"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name != "build":
            return super().get_command(ctx, cmd_name)
        from .image_build import image_build

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
    from pycompose.runtime.images.load import import_rootfs

    with translated_errors(), counting(f"importing {name}") as progress:
        source: str | IO[bytes] = sys.stdin.buffer if rootfs == "-" else rootfs
        image = import_rootfs(ask_store(), name, source, changes, progress)
    terminal.say(f"{image.name} {image.digest}")


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
    from pycompose.runtime.images.load import load

    with translated_errors(), counting("loading") as progress:
        store = ask_store()
        source: str | IO[bytes] = sys.stdin.buffer if where == "-" else where
        for image in load(store, source, None if quiet else progress):
            for name in (store.names_of(image.digest) or (image.digest,)) if not quiet else ():
                terminal.say(f"loaded {name}")


@image.command(name="ls", harmless=True)
@QUIET
@FORMAT
@filters.OPTION
@click.option("--no-trunc", "whole", is_flag=True, help="Print ids whole.")
@click.option("-a", "--all", is_flag=True, expose_value=False, hidden=True)  # there are no hidden ones here
@click.argument("pattern", required=False, metavar="[REPOSITORY[:TAG]]")
def list_images(quiet: bool, form: str | None, texts: tuple[str, ...], whole: bool, pattern: str | None) -> None:
    """List the images of this machine."""
    wanted = filters.parsed(texts, KEYS)
    if pattern:
        wanted["reference"] = [pattern]
    form = LISTING.form(form)
    with translated_errors():
        store = ask_store()
        images = _matching(store, wanted)
        if quiet:
            for digest in dict.fromkeys(image.digest for image in images):
                terminal.say(digest)
            return
        now = time.time()
        rows = [_row(image, store.used(image.digest), now) for image in images]
    LISTING.show(form, rows, lambda row: _cells(row, now, whole))


def _matching(store: Store, wanted: Mapping[str, Sequence[str]]) -> list[Image]:
    """The images that all filters let pass. Raises click.BadParameter, ImageError."""
    import json

    def created(name: str) -> float:
        return created_seconds(store.resolve(name).created)

    after = max(map(created, wanted.get("since", ())), default=0.0)
    ends = [*map(created, wanted.get("before", ()))]
    ends += [
        datetime.fromisoformat(moment(text, time.time()).decode()[:19] + "+00:00").timestamp()
        for text in wanted.get("until", ())
    ]
    labels = wanted.get("label", ())

    def matches(image: Image) -> bool:
        age = created_seconds(image.created)
        references = wanted.get("reference")
        nameless = image.name.startswith("sha256:")
        return (
            ("dangling" not in wanted or filters.truth(wanted["dangling"]) == nameless)
            and (references is None or (not nameless and any(_is_like(image.name, text) for text in references)))
            and (not after or age > after)
            and all(age < end for end in ends)
            and (not labels or (not image.is_host and filters.labelled(of_config(image), labels)))
        )

    def of_config(image: Image) -> dict[str, str]:
        return (json.loads(store.config(image.digest)).get("config") or {}).get("Labels") or {}

    return [image for image in store.ls() if matches(image)]


def _is_like(name: str, pattern: str) -> bool:
    """Whether a name, with or without its tag, is of a pattern; `*` does not match a slash, as in Go's path.Match."""
    from fnmatch import fnmatchcase

    repository, tag = name_and_tag(name)

    def is_like(text: str) -> bool:
        parts, patterns = text.split("/"), pattern.split("/")
        return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))

    return is_like(repository) or is_like(f"{repository}:{tag}")


def _row(image: Image, used: float, now: float) -> dict[str, Any]:
    """The keys of `docker image ls --format json` that there are here, and what else is known."""
    repository, tag = name_and_tag(image.name)
    created = created_seconds(image.created)
    return {
        "Name": image.name,
        "ID": image.digest,
        "Size": image.size,
        "Created": image.created,
        "LastUsed": used,
        "Layers": len(image.layers),
        "Repository": repository,
        "Tag": tag,
        "Digest": image.digest,
        "CreatedAt": image.created,
        "CreatedSince": f"{age(now - created)} ago" if created else "N/A",
        "Containers": "N/A",
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
        "VirtualSize": decimal_size(image.size),
    }


def _cells(row: Mapping[str, Any], now: float, whole: bool) -> list[str]:
    return [
        _name(row["Name"]),
        row["ID"] if whole else row["ID"][7:19],
        _since(row["LastUsed"], now),
        decimal_size(row["Size"]),
    ]


@image.command(name="rm")
@click.option("-f", "--force", is_flag=True, help="Even if a container uses it: its name goes, its layers stay.")
@click.argument("names", nargs=-1, required=True)
def remove_images(force: bool, names: tuple[str, ...]) -> None:
    """Remove images, by name or id."""
    from pycompose.runtime.images.gc import remove

    with translated_errors():
        for name in names:
            for line in remove(ask_store(), name, force):
                terminal.say(line)


@image.command(name="inspect", harmless=True)
@click.option("-f", "--format", "form", metavar="FORM", help="json (the default), or a template.")
@click.argument("names", nargs=-1, required=True)
def inspect_images(form: str | None, names: tuple[str, ...]) -> None:
    """Print all that is known of images, as docker's JSON."""
    from pycompose.compose.app import inspection

    with translated_errors():
        store = ask_store()
        show_objects(names, lambda name: inspection.image_json(store, store.resolve(name)), form, "no such image")


for one in image_transfer.COMMANDS:
    image.add_command(one)


def _name(name: str) -> str:
    return "<none>" if name.startswith("sha256:") else name


def _since(moment: float, now: float) -> str:
    return f"{age(now - moment)} ago" if moment else "-"
