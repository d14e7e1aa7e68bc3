"""Services and containers that a command is about: by the names that it was given, and by who needs whom."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from pycompose.compose.model.errors import NoSuchService
from pycompose.compose.model.observed import Observed, ObservedContainer
from pycompose.compose.model.project import Project

from .draft import is_running
from .graph import CycleError


def check_names(names: Iterable[str], known: Collection[str]) -> None:
    """Raises NoSuchService for the first name that is no service."""
    for name in names:
        if name not in known:
            raise NoSuchService(name, known)


def selected(project: Project, names: tuple[str, ...], no_deps: bool) -> tuple[str, ...]:
    """The services asked for and all they need, what is needed first. Raises CycleError."""
    check_names(names, project.services)
    ordered: dict[str, None] = {}
    visiting: list[str] = []

    def visit(name: str) -> None:
        if name in ordered or name not in project.services:
            return
        if name in visiting:
            raise CycleError((*visiting[visiting.index(name) :], name))
        visiting.append(name)
        for dependency in project.services[name].depends_on:
            if not (no_deps and names) or dependency.service in names:
                visit(dependency.service)
        visiting.pop()
        ordered[name] = None

    for name in names or tuple(project.services):
        visit(name)
    return tuple(ordered)


def orphans(project: Project, observed: Observed) -> tuple[ObservedContainer, ...]:
    """Containers of services that the project does not have, and one-off containers that have ended."""
    known = {*project.services, *project.disabled_services}
    return tuple(
        c for c in observed.containers if (c.oneoff and not is_running(c)) or (not c.oneoff and c.service not in known)
    )


def containers_of(
    project: Project | None, observed: Observed, services: tuple[str, ...], *, oneoffs: bool = False
) -> tuple[ObservedContainer, ...]:
    """The containers of `services` (of all, if that is empty). Raises NoSuchService."""
    known = {c.service for c in observed.containers} | set(project.services if project else ())
    check_names(services, known)
    return tuple(
        c for c in observed.containers if (oneoffs or not c.oneoff) and (not services or c.service in services)
    )


def edges(project: Project | None, observed: Observed) -> dict[str, set[str]]:
    """Service -> the services it needs, from the file where there is one and from labels."""
    needs: dict[str, set[str]] = {}
    for container in observed.containers:
        needs.setdefault(container.service, set()).update(name for name, _, _ in container.depends_on)
    if project is not None:
        for name, service in project.services.items():
            needs[name] = {d.service for d in service.depends_on}
    return needs


def in_order(
    needs: Mapping[str, set[str]],
    containers: Iterable[ObservedContainer],
    act: Callable[[ObservedContainer, tuple[str, ...]], str | None],
    *,
    reverse: bool,
) -> None:
    """Call `act` for each container, with the steps of the services that come before its own."""
    by_service: dict[str, list[ObservedContainer]] = {}
    for container in containers:
        by_service.setdefault(container.service, []).append(container)
    names = sorted({*needs, *by_service})
    before = {n: set(needs.get(n, ())) for n in names}
    if reverse:
        before = {n: {m for m in names if n in needs.get(m, ())} for n in names}
    ends: dict[str, tuple[str, ...]] = {}
    visiting: set[str] = set()

    def visit(name: str) -> tuple[str, ...]:
        if name in ends or name in visiting:  # labels can lie in a circle; a file cannot
            return ends.get(name, ())
        visiting.add(name)
        after = tuple(dict.fromkeys(s for other in sorted(before.get(name, ())) for s in visit(other)))
        steps = [act(c, after) for c in sorted(by_service.get(name, ()), key=lambda c: (c.number, c.name))]
        ends[name] = tuple(s for s in steps if s) or after
        return ends[name]

    for name in names:
        visit(name)
