"""The scope of a call: which project it is about, where that lies, what exists of it, and who hears of its progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict

from pycompose import interruption
from pycompose.compose.app.choices import Choices
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

if TYPE_CHECKING:
    from pycompose.compose.app.log_entries import LogEntry
    from pycompose.compose.app.moments import Moment
    from pycompose.compose.app.phases import Phase, Tell
    from pycompose.compose.model.observed import ObservedContainer
    from pycompose.compose.model.project import Project as Description
    from pycompose.runtime.places import ProjectPlaces

    from .captured import Input

Names = str | Iterable[str]  # of services; one may stand alone
Progress = Callable[[Any], None]  # is handed what goes on: the values of `compose.app.phases`


class ExecKeywords(TypedDict, total=False):
    """As the parameters of `Container.exec`."""

    input: Input
    check: bool
    timeout: float | None
    env: Mapping[str, str | None] | None
    user: str
    workdir: str
    privileged: bool
    detach: bool


class LogKeywords(TypedDict, total=False):
    """As the parameters of `Container.logs`."""

    follow: bool
    tail: int | None
    since: Moment | None
    until: Moment | None


class ContainerGone(PycomposeError):
    """A container that is not there, or not any more."""


class NoSuchProject(PycomposeError):
    """A project by whose name nothing is on record."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no such project: {name}", hint="`pycompose ls -a` lists them")
        self.name = name


def names(services: Names) -> tuple[str, ...]:
    return (services,) if isinstance(services, str) else tuple(services)


def heard(progress: Progress | None) -> Tell:
    """What an operation tells goes to the caller's function, and a call that is broken off ends there."""

    def tell(event: Phase) -> None:
        interruption.check()
        if progress is not None:
            progress(event)

    return tell


@dataclass(frozen=True, slots=True)
class ProjectScope:
    """A project as calls know it; `choices` are pinned to files, name and variables, wherever the process goes."""

    choices: Choices
    places: ProjectPlaces

    def with_dry_run(self, dry_run: bool) -> Choices:
        return replace(self.choices, dry_run=True) if dry_run else self.choices

    def containers(self, services: Sequence[str] = ()) -> list[ObservedContainer]:
        """Of these services (empty: all), stopped ones and one-off ones too, with ports and addresses."""
        from pycompose.compose.state import observe

        everyone = observe.containers(self.places, ports=True, addresses=True)
        return [one for one in everyone if not services or one.service in services]

    def by_name(self, name: str) -> ObservedContainer:
        """The container of that name or id. Raises ContainerGone."""
        for one in self.containers():
            if name in (one.name, one.id):
                return one
        raise ContainerGone(f"no such container: {name}", hint="`ps(all=True)` has all of the project")

    def check(self, services: Sequence[str], description: Description) -> None:
        """Raises NoSuchService for one that is not in the file and has no containers."""
        from pycompose.compose.state import lookup

        if services:
            described = {*description.services, *description.disabled_services}
            lookup.check(services, {*described, *(one.service for one in self.containers())})

    def one(self, service: str, index: int = 0, *, running: bool = True) -> ObservedContainer:
        """The container of that number, or (0) the first. Raises PycomposeError."""
        from pycompose.compose.state import lookup

        return lookup.one_of(self.containers(), service, index, running=running)

    def logs(
        self,
        chosen: Callable[[ObservedContainer], bool],
        *,
        follow: bool = False,
        tail: int | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
    ) -> Iterator[LogEntry]:
        from pycompose.compose.app import log_entries, moments

        now = time.time()
        first, end = (moments.stamp(moments.parse(one, now)) if one is not None else b"" for one in (since, until))
        return log_entries.entries(self.places, chosen, follow=follow, tail=tail, since=first, until=end)

    def end_if_empty(self) -> None:
        """A project of which nothing is left is ended; not where another command acts on it."""
        from pycompose.compose.control import session

        def leave_it() -> None:
            raise PycomposeError("another command acts on the project, and ends it if need be")

        with suppress(PycomposeError, OSError):
            session.close_if_empty(self.places, waiting=leave_it)
