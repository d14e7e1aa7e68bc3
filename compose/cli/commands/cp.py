"""`cp`: files into containers and out of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import subject
from pycompose.compose.cli.command import command
from pycompose.compose.cli.output import terminal

if TYPE_CHECKING:
    from pycompose.compose.app.container_copy import ServicePath
    from pycompose.compose.model.observed import ObservedContainer
    from pycompose.runtime.copies.container_files import CopyManner
    from pycompose.runtime.places import ProjectPlaces

ARCHIVE = "Give what goes in to the container's user."


@command("cp", interrupted="what was copied before stays")
@click.option("-a", "--archive", is_flag=True, help=ARCHIVE)
@click.option("-L", "--follow-link", "follow", is_flag=True, help="Copy what a link leads to, not the link.")
@click.option("--all", "oneoffs", is_flag=True, help="Into containers of `run`, too.")
@click.option("--index", type=click.IntRange(min=0), default=0, metavar="N", help="The number of the container.")
@click.argument("source", metavar="[SERVICE:]SOURCE")
@click.argument("target", metavar="[SERVICE:]TARGET")
@click.pass_obj
def cp(choices: Choices, archive: bool, follow: bool, oneoffs: bool, index: int, source: str, target: str) -> None:
    """Copy files or folders between this machine and a service's containers, whether they run or not.

    \b
    pycompose cp web:/etc/nginx ./nginx   out of the first container of web
    pycompose cp ./conf/. web:/etc/app    what is in conf, into every container
    pycompose cp web:/data - | tar t      as a tar, and from one: cp - web:/data
    """
    from pycompose.compose.app import container_copy
    from pycompose.compose.app.container_copy import ServicePath
    from pycompose.runtime.copies.container_files import CopyManner

    whence, whither = ServicePath.parse(source), ServicePath.parse(target)
    for one, word in ((source, "source"), (target, "destination")):
        if not one:
            raise click.UsageError(f"{word} can not be empty")
    if whence.service and whither.service:
        raise click.UsageError("copying between services is not supported")
    if not whence.service and not whither.service:
        raise click.UsageError("unknown copy direction: one of the two is SERVICE:PATH")
    places = subject.places_of(choices)
    inward = bool(whither.service)
    chosen = container_copy.choose(
        places, whither.service or whence.service, inward=inward, index=index, oneoffs=oneoffs
    )
    if choices.dry_run:
        for container in chosen:
            terminal.say(f"copy {_words(container, whence, whither)}")
        return
    from pycompose.compose.cli.output.byte_count import clear, counting

    def warn(text: str) -> None:
        clear()
        terminal.warn(text)

    with counting("copying") as progress:
        manner = CopyManner(archive, follow, progress, warn)
        if inward:
            _copy_in(places, chosen, whence, whither, manner)
        else:
            _copy_out(places, chosen[0], whence, whither, manner)


def _copy_in(
    places: ProjectPlaces,
    chosen: list[ObservedContainer],
    whence: ServicePath,
    whither: ServicePath,
    manner: CopyManner,
) -> None:
    from pycompose.compose.app import container_copy

    if whence.path == "-":
        streams = container_copy.replayed(sys.stdin.buffer, len(chosen), places.state)
        for container, stream in zip(chosen, streams, strict=True):
            container_copy.copy_in(places, container, stream, whither.path, manner)
        return
    for container in chosen:
        words = _words(container, whence, whither)
        terminal.note(f" {container.name} Copying {words}")
        container_copy.copy_in(places, container, whence.path, whither.path, manner)
        _say_copied(container, words)


def _copy_out(
    places: ProjectPlaces, container: ObservedContainer, whence: ServicePath, whither: ServicePath, manner: CopyManner
) -> None:
    from pycompose.compose.app import container_copy

    if whither.path == "-":
        if sys.stdout.isatty():
            raise click.UsageError("an archive is not for a terminal: send it into a file or a pipe")
        container_copy.copy_out(places, container, whence.path, sys.stdout.buffer, manner)
        return
    words = _words(container, whence, whither)
    terminal.note(f" {container.name} Copying {words}")
    container_copy.copy_out(places, container, whence.path, whither.path, manner)
    _say_copied(container, words)


def _say_copied(container: ObservedContainer, words: str) -> None:
    from pycompose.compose.cli.output import byte_count

    byte_count.clear()
    terminal.note(f" {container.name} Copied {words}")


def _words(container: ObservedContainer, whence: ServicePath, whither: ServicePath) -> str:
    if whither.service:
        return f"{whence.path} to {container.name}:{whither.path}"
    return f"{container.name}:{whence.path} to {whither.path}"
