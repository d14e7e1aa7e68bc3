"""Selection of the services and containers that a command is about, by the names that it was given. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from pycompose.compose.model.errors import NoSuchService
from pycompose.compose.model.observed import Observed, ObservedContainer
from pycompose.compose.model.project import Project
from pycompose.compose.model.replica import is_called
from pycompose.errors import PycomposeError

from . import graph
from .draft import is_running


def check_names(names: Iterable[str], known: Collection[str]) -> None:
    """Raises NoSuchService for the first name that is no service."""
    for name in names:
        if name not in known:
            raise NoSuchService(name, known)


def chosen(project: Project, names: Collection[str], no_deps: bool = False) -> tuple[str, ...]:
    """The services asked for (all, if none is named) and all they need, in the order of the file.

    Raises NoSuchService, CycleError.
    """
    check_names(names, project.services)
    wanted = set(names or project.services)
    if names and not no_deps:
        wanted = graph.closure(names, graph.needs(project), graph.order(project))
    return tuple(name for name in project.services if name in wanted)


def selected(project: Project, names: Collection[str], no_deps: bool = False) -> tuple[str, ...]:
    """The same, what is needed first."""
    wanted = set(chosen(project, names, no_deps))
    return tuple(name for name in graph.order(project) if name in wanted)


def orphans(project: Project, observed: Observed) -> tuple[ObservedContainer, ...]:
    """Containers of services that the project does not have, and one-off containers that have ended and stay."""
    known = {*project.services, *project.disabled_services}

    def is_orphan(c: ObservedContainer) -> bool:
        return not (is_running(c) or c.auto_remove) if c.oneoff and not c.hook else c.service not in known

    return tuple(filter(is_orphan, observed.containers))


def containers_of(
    project: Project | None,
    observed: Observed,
    services: tuple[str, ...],
    *,
    oneoffs: bool = False,
    hooks: bool = False,
) -> tuple[ObservedContainer, ...]:
    """The containers of `services` (of all, if that is empty); those of hooks too, or all one-off ones, where asked.

    Raises NoSuchService.
    """
    known = {c.service for c in observed.containers} | set(project.services if project else ())
    check_names(services, known)
    return tuple(
        c
        for c in observed.containers
        if (not c.oneoff or oneoffs or (hooks and c.hook)) and (not services or c.service in services)
    )


def named(observed: Observed, services: Iterable[str], asked: Iterable[str]) -> frozenset[str]:
    """Names of replicas of `services` that are meant by those asked for. Raises PycomposeError for one that is none."""
    there = {c.name: c.service for service in services for c in observed.of_service(service)}
    names = set()
    for one in asked:
        name = next((name for name, service in there.items() if is_called(name, service, one)), None)
        if name is None:
            hint = f"there are: {', '.join(there) or 'none'}"
            raise PycomposeError(f"no such container of a service that is scaled: {one}", hint=hint)
        names.add(name)
    return frozenset(names)


def in_order(
    project: Project | None,
    observed: Observed,
    containers: Iterable[ObservedContainer],
    act: Callable[[ObservedContainer, tuple[str, ...]], str | None],
    *,
    reverse: bool,
    run_provider: Callable[[str, tuple[str, ...]], str | None] = lambda service, after: None,
) -> None:
    """Call `act` for each container, with the steps of the services that come before its own.

    `run_provider` is called likewise for each service.
    Who needs whom is the file's; for services that it does not have, their labels'.
    """
    by_service: dict[str, list[ObservedContainer]] = {}
    for container in containers:
        by_service.setdefault(container.service, []).append(container)
    needs = _needs(project, observed)
    known = project is not None and needs.keys() == project.services.keys()
    names = graph.order(project) if project is not None and known else graph.sequence(needs)
    before: dict[str, list[str]] = {name: [] for name in names}
    for name in names:
        for other in needs.get(name, ()):
            if other not in before:  # not active, and nothing of it exists
                continue
            before[other if reverse else name].append(name if reverse else other)
    ends: dict[str, tuple[str, ...]] = {}  # service -> the steps after which those that wait for it may go on
    for name in reversed(names) if reverse else names:
        after = tuple(dict.fromkeys(step for other in sorted(before[name]) for step in ends.get(other, ())))
        steps = [act(c, after) for c in sorted(by_service.get(name, ()), key=lambda c: (c.number, c.name))]
        steps.append(run_provider(name, tuple(step for step in steps if step) or after))
        ends[name] = tuple(step for step in steps if step) or after


def _needs(project: Project | None, observed: Observed) -> dict[str, Collection[str]]:
    """Service -> the services that it needs: from the file where there is one, of others from the labels."""
    services = project.services.values() if project else ()
    needs: dict[str, Collection[str]] = {s.name: [d.service for d in s.depends_on] for s in services}
    labelled: dict[str, set[str]] = {}
    for container in observed.containers:
        if container.service not in needs:
            labelled.setdefault(container.service, set()).update(name for name, _, _ in container.depends_on)
    for service in sorted(labelled, reverse=True):  # so that they are stopped in the order of their names
        needs[service] = sorted(labelled[service])
    return needs
