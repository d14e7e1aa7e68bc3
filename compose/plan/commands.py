"""The plans of `down stop start restart kill pause unpause rm`: what is done to containers that exist.

Rules: pure. Each takes the project where there is a file and None where there is none: then the order comes from the
depends_on label of what exists.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import get_args

from pycompose.compose.model.observed import Observed, ObservedContainer
from pycompose.compose.model.project import Condition, Dependency, Project
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

from .divergence import check_can_be_met, goes_along, joiners
from .draft import Cause, Draft, asked, is_running, not_running
from .hook_steps import PreStart
from .select import containers_of, in_order, orphans
from .steps import AwaitCondition, Plan, ProviderVerb, RunProvider

CONDITIONS: Mapping[str, Condition] = {condition: condition for condition in get_args(Condition)}

Act = Callable[[ObservedContainer, tuple[str, ...]], str]


@dataclass(frozen=True, slots=True)
class DownOptions:
    services: tuple[str, ...] = ()  # empty: all, and the networks
    volumes: bool = False
    remove_orphans: bool = False
    timeout: float | None = None  # seconds


def down(project: Project | None, observed: Observed, options: DownOptions | None = None) -> Plan:
    """Stop and remove containers, what needs others first; then networks and, if asked, volumes."""
    options = options or DownOptions()
    out = Draft(observed.project, options.timeout)
    chosen = containers_of(project, observed, options.services, oneoffs=True)
    if project is not None and not options.remove_orphans:
        known = {*project.services, *project.disabled_services}
        left = [c for c in chosen if c.service not in known or (c.oneoff and not c.hook and is_running(c))]
        chosen = tuple(c for c in chosen if c not in left)
        if left:
            names = ", ".join(c.name for c in left)
            out.warnings.append(f"left alone: {names} (--remove-orphans)")
    removed: list[str] = []

    def remove(container: ObservedContainer, after: tuple[str, ...]) -> str:
        removed.append(out.stop_and_remove(container, asked("down"), after, volumes=options.volumes))
        return removed[-1]

    provided = _providers(project, options.services)

    def run_provider(service: str, after: tuple[str, ...]) -> str | None:
        return _run_provider(out, provided, service, "down", after)

    in_order(project, observed, chosen, remove, reverse=True, run_provider=run_provider)
    if not options.services:
        remaining = [c for c in observed.containers if c not in chosen]
        _remove_networks(out, project, observed, remaining, removed)
        if options.volumes:
            _remove_volumes(out, project, observed, removed)
    return out.plan()


def _remove_networks(
    out: Draft,
    project: Project | None,
    observed: Observed,
    remaining: list[ObservedContainer],
    removed: list[str],
) -> None:
    external = {n.name for n in project.networks.values() if n.external} if project else set()
    for network in sorted(observed.networks, key=lambda n: n.name):
        users = [c.name for c in remaining if network.name in c.networks] + list(network.in_use)
        if network.name in external or not network.key:
            continue
        if users:
            out.warnings.append(f"network {network.name} is still used by {', '.join(users)}")
        else:
            out.remove_network(network.name, asked("down"), removed)


def _remove_volumes(out: Draft, project: Project | None, observed: Observed, removed: list[str]) -> None:
    external = {v.name for v in project.volumes.values() if v.external} if project else set()
    for volume in sorted(observed.volumes, key=lambda v: v.name):
        if volume.name not in external and volume.key:
            out.remove_volume(volume.name, asked("down --volumes"), removed)


def _providers(project: Project | None, services: Collection[str]) -> dict[str, str]:
    """Service -> the type of its provider, of `services` (of all, if that is empty)."""
    return {
        service.name: service.provider.type
        for service in (project.services.values() if project else ())
        if service.provider and (not services or service.name in services)
    }


def _run_provider(
    out: Draft, provided: Mapping[str, str], service: str, verb: ProviderVerb, after: tuple[str, ...]
) -> str | None:
    if service not in provided:
        return None
    return out.run_provider(RunProvider(service, verb), asked(f"provider {provided[service]}"), after)


def stop(
    project: Project | None,
    observed: Observed,
    services: tuple[str, ...] = (),
    timeout: float | None = None,
    providers: Collection[str] = (),
) -> Plan:
    """Stop containers, what needs others first; `timeout` in seconds (None: each one's grace period).

    `providers` are services whose providers say that they can stop.
    """
    out = Draft(observed.project, timeout)
    running = [c for c in containers_of(project, observed, services, oneoffs=True) if is_running(c)]

    def act(c: ObservedContainer, after: tuple[str, ...]) -> str:
        return out.stop(c, asked("stop"), after)

    provided = {name: kind for name, kind in _providers(project, services).items() if name in providers}

    def run_provider(service: str, after: tuple[str, ...]) -> str | None:
        return _run_provider(out, provided, service, "stop", after)

    in_order(project, observed, running, act, reverse=True, run_provider=run_provider)
    return out.plan()


def _nothing_to_start(project: Project | None, observed: Observed) -> None:
    """Raises PycomposeError, unless nothing is what the file wants."""
    described = project.services.values() if project is not None else ()
    lacking = next((one.name for one in described if one.replicas and one.provider is None), None)
    if lacking is not None:
        raise PycomposeError(f'service "{lacking}" has no container to start', hint="`pycompose up` makes it")
    if project is None:
        message = f'no container found for project "{observed.project}": not found'
        raise PycomposeError(message, hint="`pycompose ls -a` lists the projects there are")


def start(
    project: Project | None,
    observed: Observed,
    services: tuple[str, ...] = (),
    *,
    wait: bool = False,
    timeout: float | None = None,
) -> Plan:
    """Each after what it depends on, which is started too, and after its conditions.

    Running containers that have a namespace of one that is started are started again.
    With `wait`, until all of them are ready, those that ran already too; `timeout`, in seconds, is the whole plan's.
    """
    out = Draft(observed.project)
    out.deadline = timeout
    containers_of(project, observed, services)
    members: dict[str, list[ObservedContainer]] = {}
    for c in observed.containers:
        if not c.oneoff:
            members.setdefault(c.service, []).append(c)
    for service in services:
        if service not in members and not _is_provided(project, service):
            raise PycomposeError(f'service "{service}" has no container to start', hint="`pycompose up` makes it")
    if not members and not services:
        _nothing_to_start(project, observed)
    wanted, pending = set(), [*(services or members)]
    while pending:
        if (service := pending.pop()) in members and service not in wanted:
            wanted.add(service)
            pending += [need.service for need in _needs_of(project, members[service][0])]
    resting = [c for c in observed.containers if c.service in wanted and not c.oneoff and not is_running(c)]
    joined = _joined(observed, resting)
    stops = _halted(out, project, observed, joined, JOINED)
    chosen = [*resting, *joined]
    in_order(
        project, observed, chosen, _starter(out, project, observed, chosen, stops=stops, members=members), reverse=False
    )
    if wait:
        _wait(out, project, [c for service in sorted(wanted) for c in members[service]])
    return out.plan()


JOINED = Cause("related", "one whose namespaces it has is started")


def _joined(observed: Observed, started: list[ObservedContainer]) -> list[ObservedContainer]:
    """Containers that have a namespace of one that is started, or of those, and ran until then."""
    ids = joiners(observed.containers, {c.id for c in started})
    return [c for c in observed.containers if c.id in ids and goes_along(c, observed)]


def _halted(
    out: Draft,
    project: Project | None,
    observed: Observed,
    containers: list[ObservedContainer],
    cause: Cause,
    needed: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> dict[str, str]:
    """Container -> the step that stops it, of those that run; what needs others first.

    `needed`: container -> steps before that.
    """
    stops: dict[str, str] = {}

    def halt(c: ObservedContainer, after: tuple[str, ...]) -> str | None:
        if not is_running(c):
            return None
        stops[c.name] = out.stop(c, cause, (*needed.get(c.name, ()), *after))
        return stops[c.name]

    in_order(project, observed, containers, halt, reverse=True)
    return stops


def _wait(out: Draft, project: Project | None, containers: list[ObservedContainer]) -> None:
    needs = [need for c in containers for need in _needs_of(project, c)]
    completed = {need.service for need in needs if need.condition == "service_completed_successfully"}
    names: dict[str, list[str]] = {}
    for c in containers:
        names.setdefault(c.service, []).append(c.name)
    waits = {}
    for service, replicas in names.items():
        condition = "service_completed_successfully" if service in completed else "running_or_healthy"
        waits[AwaitCondition(service, tuple(replicas), condition)] = out.starts_of(replicas)
    out.wait(waits)


def _needs_of(project: Project | None, container: ObservedContainer) -> tuple[Dependency, ...]:
    """What a container's service depends on: as the file says, or as its label does."""
    if project is not None and container.service in project.services:
        return project.services[container.service].depends_on
    conditions = ((name, CONDITIONS.get(text, "service_started"), again) for name, text, again in container.depends_on)
    return tuple(Dependency(name, condition, again) for name, condition, again in conditions)


def _is_provided(project: Project | None, service: str) -> bool:
    """Whether a provider runs it: `start` has nothing to do with that."""
    return project is not None and service in project.services and project.services[service].provider is not None


def _has_containers(project: Project, service: str) -> bool:
    """Whether a service is to have some, as the file says."""
    known = project.services.get(service)
    return known is not None and known.provider is None and known.replicas > 0


def _check_there(project: Project | None, service: str, need: Dependency) -> None:
    """Raises PycomposeError, for a dependency without containers that is to have some."""
    if need.required and (project is None or _has_containers(project, need.service)):
        raise PycomposeError(f"{service} is missing dependency {need.service}", hint="`pycompose up` makes it")


def _starter(
    out: Draft,
    project: Project | None,
    observed: Observed,
    chosen: Iterable[ObservedContainer],
    cause: Cause | None = None,
    stops: Mapping[str, str] = MappingProxyType({}),
    members: Mapping[str, list[ObservedContainer]] = MappingProxyType({}),
    needed: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> Act:
    """Makes start steps of all that is `chosen`, each after those whose namespaces it has, and after the conditions of
    its dependencies: of those that the same plan starts, and of `members`, service -> its containers.

    `stops`: container -> the step of this plan that stops it; `needed`: -> steps before that.
    """
    names_by_id = {c.id: c.name for c in chosen}
    started: dict[str, list[tuple[str, str]]] = {}  # service -> (step, container)
    hooks = PreStart(out, project.separator if project else "-", observed.containers)

    def act(c: ObservedContainer, before: tuple[str, ...]) -> str:
        waits = [
            *before,
            *needed.get(c.name, ()),
            *(out.started(names_by_id[i]) for i in c.shared.values() if i in names_by_id),
        ]
        for need in _needs_of(project, c):
            if need.condition == "service_started":
                continue
            steps = [step for step, _ in started.get(need.service, ())]
            names = [other.name for other in members.get(need.service, ())]
            if names := names or [name for _, name in started.get(need.service, ())]:
                if project and need.required:
                    check_can_be_met(project, c.service, need)
                waits.append(out.condition(need, tuple(names), steps))
            elif members:
                _check_there(project, c.service, need)
        stop_first = (stops[c.name],) if c.name in stops else ()
        why = cause or (JOINED if stop_first else not_running(c))
        after = (*stop_first, *waits)
        if project and c.started is None and c.service in project.services:
            first = not any(other.started for other in observed.of_service(c.service))
            after = hooks.before(project.services[c.service], c.name, after, first=first)
        step = out.start(c.name, c.service, why, after)
        started.setdefault(c.service, []).append((step, c.name))
        return step

    return act


def restart(
    project: Project | None,
    observed: Observed,
    services: tuple[str, ...] = (),
    timeout: float | None = None,
    no_deps: bool = False,
) -> Plan:
    """Stop in one order, start in the other; those who depend on a service with `restart: true` come along, as do
    those that run in a namespace of one that is started. Conditions of dependencies with `restart: true` are waited for
    before anything is stopped where those are not restarted too."""
    out = Draft(observed.project, timeout)
    containers_of(project, observed, services)
    also: set[str] = set()
    if services and not no_deps:
        also = {c.service for c in observed.containers for n, _, again in c.depends_on if again and n in services}
    chosen = list(containers_of(project, observed, (*services, *sorted(also - set(services)))))
    chosen += [c for c in _joined(observed, chosen) if c not in chosen]
    needed = {} if no_deps else {c.name: _standing(out, project, observed, c, chosen) for c in chosen}
    stops = _halted(out, project, observed, chosen, asked("restart"), needed)
    act = _starter(out, project, observed, chosen, asked("restart"), stops, needed=needed)
    in_order(project, observed, chosen, act, reverse=False)
    return out.plan()


def _standing(
    out: Draft,
    project: Project | None,
    observed: Observed,
    container: ObservedContainer,
    restarted: Iterable[ObservedContainer],
) -> tuple[str, ...]:
    """The waits for what a container depends on with `restart: true` and is not restarted itself."""
    along = {c.service for c in restarted}
    waits = []
    for need in _needs_of(project, container):
        if need.restart and need.condition != "service_started" and need.service not in along:
            if names := tuple(c.name for c in observed.of_service(need.service)):
                waits.append(out.condition(need, names, ()))
            else:
                _check_there(project, container.service, need)
    return tuple(waits)


def kill(
    project: Project | None,
    observed: Observed,
    services: tuple[str, ...] = (),
    signal: str = "SIGKILL",
    *,
    remove_orphans: bool = False,
) -> Plan:
    """Signal those that run, one-off ones too. Orphans are left alone, or with `remove_orphans` killed and removed."""
    out = Draft(observed.project)
    strays = {c.id for c in orphans(project, observed)} if project else set()
    for c in containers_of(project, observed, services, oneoffs=True):
        if is_running(c) and c.id not in strays:
            out.kill(c, signal, asked("kill"))
    for c in (c for c in observed.containers if remove_orphans and c.id in strays):
        killed = [out.kill(c, "SIGKILL", asked("kill --remove-orphans"))] if is_running(c) else []
        out.remove(c, asked("kill --remove-orphans"), killed)
    return out.plan()


def pause(project: Project | None, observed: Observed, services: tuple[str, ...] = ()) -> Plan:
    out = Draft(observed.project)
    already = []
    for c in containers_of(project, observed, services):
        if c.status == "running":
            out.pause(c, asked("pause"))
        elif c.status == "paused":
            already.append(f"container {c.name} is already paused")
    return _told_of(out, already)


def unpause(project: Project | None, observed: Observed, services: tuple[str, ...] = ()) -> Plan:
    out = Draft(observed.project)
    running = []
    for c in containers_of(project, observed, services):
        if c.status == "paused":
            out.unpause(c, asked("unpause"))
        elif c.status == "running":
            running.append(f"container {c.name} is not paused")
    return _told_of(out, running)


def _told_of(out: Draft, exceptions: list[str]) -> Plan:
    """A plan that leaves some as they are; an error where that is all of them."""
    if exceptions and not out.steps:
        raise PycomposeError("; ".join(exceptions))
    out.warnings += exceptions
    return out.plan()


def rm(
    project: Project | None,
    observed: Observed,
    services: tuple[str, ...] = (),
    *,
    stop: bool = False,
    volumes: bool = False,
    timeout: float | None = None,
) -> Plan:
    """Remove containers that do not run; with `stop`, those that run too."""
    out = Draft(observed.project, timeout)
    for c in containers_of(project, observed, services, hooks=True):
        if stop or not is_running(c):
            out.stop_and_remove(c, asked("rm"), volumes=volumes)
    return out.plan()
