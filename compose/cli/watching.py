"""Commands that look into containers without changing the project: their logs, and processes within them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

import click
from pycompose.compose.errors import PycomposeError
from pycompose.compose.observed import Label

if TYPE_CHECKING:
    from pycompose.runtime.logs import Line
    from pycompose.runtime.places import ProjectPlaces
    from pycompose.runtime.record import ContainerState

PAUSE = 0.1  # seconds between two looks at all logs


def containers_of(places: ProjectPlaces, services: tuple[str, ...]) -> list[ContainerState]:
    """The project's containers of `services` (empty: all), by name. Raises PycomposeError for an unknown service."""
    from pycompose.runtime.record import read_containers

    every = sorted(read_containers(places), key=lambda c: c.name)
    known = {c.annotations.get(Label.SERVICE, "") for c in every}
    for name in services:
        if name not in known:
            raise PycomposeError(f"no container of service {name!r}")
    return [c for c in every if not services or c.annotations.get(Label.SERVICE) in services]


def print_logs(places: ProjectPlaces, services: tuple[str, ...], *, follow: bool, tail: int | None) -> None:
    """The containers' lines, in the order of time; with `follow` until no container runs any more."""
    from pycompose.runtime import logs

    found = containers_of(places, services)
    width = max((len(c.name) for c in found), default=0)
    lines: list[tuple[str, str, Line]] = []
    following: dict[str, Iterator[Line | None]] = {}
    for container in found:
        path = f"{places.container(container.id)}/log"
        if follow and os.path.exists(path):
            following[container.id], old = _from_here(path, tail)
        else:
            old = list(logs.read(path, tail))
        lines += [(line.time, container.name, line) for line in old]
    for _, name, line in sorted(lines, key=lambda entry: entry[0]):
        _show(name, line, width)
    if follow:
        _follow(places, services, following, {c.id: c.name for c in found if c.id in following})


def _from_here(path: str, tail: int | None = None) -> tuple[Iterator[Line | None], list[Line]]:
    """What will come, and the lines there are; no line is in neither or in both."""
    from pycompose.runtime import logs

    source = logs.follow(path, 0)
    first = next(source)  # opens the file, before the lines that are there are read
    old = list(logs.read(path, tail))
    last = old[-1].time if old else ""

    def coming() -> Iterator[Line | None]:
        for line in chain((first,), source):
            if line is None or line.time > last:
                yield line

    return coming(), old


def _follow(
    places: ProjectPlaces, services: tuple[str, ...], following: dict[str, Iterator[Line | None]], names: dict[str, str]
) -> None:
    from pycompose.runtime.record import read_containers

    while True:
        wanted = [c for c in read_containers(places) if not services or c.annotations.get(Label.SERVICE) in services]
        running = any(c.status in ("running", "paused") for c in wanted)  # asked before the last lines are read
        for container in wanted:
            path = f"{places.container(container.id)}/log"
            if container.id not in names and os.path.exists(path):  # a new container: from its beginning
                names[container.id] = container.name
                following[container.id], old = _from_here(path)
                for line in old:
                    _show(container.name, line, max(map(len, names.values())))
        width = max(map(len, names.values()), default=0)
        for container_id, source in list(following.items()):
            try:
                while (new := next(source)) is not None:
                    _show(names[container_id], new, width)
            except (StopIteration, FileNotFoundError):
                del following[container_id]
        sys.stdout.flush()
        if not running:
            return
        time.sleep(PAUSE)


def _show(name: str, line: Line, width: int) -> None:
    click.echo(f"{name.ljust(width)}  | {line.text}", err=line.stream == "stderr")


def execute(
    places: ProjectPlaces,
    service: str,
    command: tuple[str, ...],
    *,
    terminal: bool,
    detach: bool,
    environment: tuple[str, ...],
    user: str,
    folder: str,
    index: int,
    privileged: bool,
) -> int:
    """Run a process in a running container of `service`; its exit code, 0 at once where it is detached."""
    import dataclasses

    from pycompose.runtime import spec
    from pycompose.runtime.errors import RuntimeFailure
    from pycompose.runtime.process import exec_interactive

    found = [c for c in containers_of(places, (service,)) if c.annotations.get(Label.ONEOFF, "False") != "True"]
    found.sort(key=lambda c: int(c.annotations.get(Label.NUMBER, "0")))
    if index:
        found = [c for c in found if c.annotations.get(Label.NUMBER) == str(index)]
    running = [c for c in found if c.status == "running"]
    if not running:
        raise PycomposeError(f"service {service!r} has no running container" + (f" number {index}" if index else ""))
    container = running[0]
    with open(f"{places.container(container.id)}/bundle.json", "rb") as file:
        own = spec.from_json(spec.Bundle, file.read()).spec.process
    variables = dict(entry.partition("=")[::2] for entry in own.env)
    for entry in environment:
        key, given, value = entry.partition("=")
        variables[key] = value if given else os.environ.get(key, "")
    if terminal:
        variables.setdefault("TERM", os.environ.get("TERM", "xterm"))
    process = dataclasses.replace(
        own,
        args=command,
        env=tuple(f"{key}={value}" for key, value in variables.items()),
        cwd=folder or own.cwd,
        user=spec.User(username=user) if user else own.user,
        terminal=terminal,
    )
    if detach and os.fork():
        return 0
    stdio = (0, 1, 2)
    if detach:  # the child stays as the process's client
        os.setsid()
        nothing = os.open("/dev/null", os.O_RDWR)
        for fd in stdio:
            os.dup2(nothing, fd)
    code = 125
    try:
        code = exec_interactive(places, container.id, process, stdio, privileged)
    except RuntimeFailure as error:
        if not detach:
            raise PycomposeError(str(error), exit_code=getattr(error, "exit_code", 125)) from error
    finally:
        if detach:
            os._exit(code)
    return code
