"""Options and output files of the commands about images and volumes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING

import click
from pycompose import durable
from pycompose.compose.app.choices import Choices
from pycompose.errors import PycomposeError

if TYPE_CHECKING:
    from pycompose.compose.app.locate import Located
    from pycompose.compose.model.observed import ObservedContainer

QUIET = click.option("-q", "--quiet", is_flag=True, help="Print names only.")
NAMES = click.argument("names", nargs=-1, required=True)
INDEX = click.option("--index", type=int, default=0, metavar="N", help="Which container of the service.")


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE` as {"KEY": "VALUE"}."""
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}


def name_and_tag(name: str) -> tuple[str, str]:
    """A name as the two columns that docker's tables have for it: repository and tag."""
    if not name or name.startswith("sha256:"):
        return "<none>", "<none>"
    plain = name.partition("@")[0].removeprefix("docker.io/library/").removeprefix("docker.io/")
    repository, colon, tag = plain.rpartition(":")
    if not colon or "/" in tag:
        return plain, "<none>" if "@" in name else "latest"
    return repository, tag


def created_seconds(text: str) -> float:
    """An image's time of creation (RFC 3339) in seconds since the epoch; 0 where it has none."""
    import re
    from datetime import datetime

    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).timestamp()
    except ValueError:
        return 0.0


@contextlib.contextmanager
def output_file(path: str | None) -> Iterator[IO[bytes]]:
    """A file that is there whole or not at all, or standard output."""
    if path is None or path == "-":
        if sys.stdout.isatty():
            raise click.UsageError("an archive is not for a terminal: name a file with -o")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as out:  # a pipe, a device
            yield out
        return
    with durable.replacing(path, flush=False, mode=0o666) as out:
        yield out


def container_of(choices: Choices, service: str, index: int) -> tuple[Located, ObservedContainer]:
    """The project, and the container of `service` with that number, or (0) its first, one-off ones last.

    Raises PycomposeError.
    """
    from pycompose.compose.state.observe import containers

    from . import subject

    located = subject.existing(choices, (service,))
    for container in containers(located.places):
        if container.service == service and not container.hook and index in (0, container.number):
            return located, container
    which = f" container #{index}" if index else ""
    raise PycomposeError(f'service "{service}" is not running{which}', hint="`pycompose create` makes its containers")
