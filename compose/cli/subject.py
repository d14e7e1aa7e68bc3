"""The project that a command looks at; what is odd in its files is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycompose.compose.app import locate
from pycompose.compose.app.choices import Choices

from .output import terminal

if TYPE_CHECKING:
    from pycompose.compose.app.locate import Located
    from pycompose.compose.file.loader import Loaded, Options
    from pycompose.compose.model.observed import ObservedContainer
    from pycompose.runtime.places import ProjectPlaces


def target(choices: Choices, services: tuple[str, ...] = (), *, remembered: bool = True) -> Located:
    """The project as its files describe it, or as its last `up` had it."""
    return _printed(locate.target(choices, services, remembered=remembered))


def existing(choices: Choices, services: tuple[str, ...] = ()) -> Located:
    """The project whose containers are looked at, as its file has it where that can be read, else as on record."""
    return _printed(locate.existing(choices, services))


def places_of(choices: Choices) -> ProjectPlaces:
    """The project's places; a file is parsed only where its name cannot be told otherwise."""
    return _printed(locate.named(choices)).places


def load(choices: Choices, services: tuple[str, ...] = (), options: Options | None = None) -> Loaded:
    """The project of the compose files."""
    loaded = locate.load(choices, services, options)
    for warning in loaded.warnings:
        terminal.problem(warning, "warning")
    return loaded


def check_services(choices: Choices, containers: list[ObservedContainer], services: tuple[str, ...]) -> None:
    """A service is known by its containers, or by the file. Raises NoSuchService."""
    known = {container.service for container in containers}
    if set(services) <= known:
        return
    project = existing(choices).project
    known |= {*project.services, *project.disabled_services} if project is not None else set()

    from pycompose.compose.state import lookup

    lookup.check(services, known)


def _printed(located: Located) -> Located:
    for warning in located.warnings:
        terminal.problem(warning, "warning")
    return located
