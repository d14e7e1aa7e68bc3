"""What to do, so that what exists becomes what is wanted: each command's plan, decided from one snapshot.

As docker compose decides (its `pkg/compose/reconcile.go`). Rules: pure, no graph library: the edges between services
are `Service.depends_on`, or the depends_on label of what exists, so that `down` needs no file. Edges of removed steps
reach through to what they came after, so an order holds even where a service in the middle has nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import field, replace
from types import MappingProxyType

from pycompose.compose.model.errors import NoSuchService
from pycompose.compose.model.observed import Observed, ObservedContainer
from pycompose.compose.model.project import Dependency, Network, Project, Service, VolumeMount
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

from .graph import CycleError
from .steps import (
    Action,
    AwaitCondition,
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    KillContainer,
    PauseContainer,
    Plan,
    RemoveContainer,
    RemoveNetwork,
    RemoveVolume,
    RenameContainer,
    StartContainer,
    Step,
    StopContainer,
    UnpauseContainer,
)

RUNNING = ("running", "paused", "restarting")
HEX = set("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class UpOptions:
    """`images`: service -> digest of its image as made ready; a service that is not in it is not compared by image."""

    services: tuple[str, ...] = ()  # empty: all
    scale: Mapping[str, int] = field(default_factory=dict)
    no_deps: bool = False
    force_recreate: bool = False
    no_recreate: bool = False
    remove_orphans: bool = False
    wait: bool = False
    wait_timeout: float | None = None
    timeout: float | None = None
    no_start: bool = False
    renew_anonymous_volumes: bool = False
    images: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DownOptions:
    services: tuple[str, ...] = ()
    volumes: bool = False
    remove_orphans: bool = False
    timeout: float | None = None


class _Steps:
    """A plan in the making."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.steps: dict[str, Step] = {}
        self.warnings: list[str] = []

    def add(self, step_id: str, action: Action, cause: str, after: Iterable[str] = ()) -> str:
        if step_id in self.steps:
            raise AssertionError(f"two steps of a plan are called {step_id!r}")
        self.steps[step_id] = Step(step_id, action, cause, tuple(dict.fromkeys(after)))
        return step_id

    def plan(self) -> Plan:
        needed = {before for step in self.steps.values() for before in step.after}
        # A condition that nothing waits for, and that nobody asked for, is no step.
        kept = (s for s in self.steps.values() if s.id in needed or s.cause != "depends_on")
        return Plan(self.project, tuple(kept), tuple(self.warnings))


def _is_running(container: ObservedContainer) -> bool:
    return container.status in RUNNING


def _check_names(names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise NoSuchService(name, known)


def _selected(project: Project, names: tuple[str, ...], no_deps: bool) -> tuple[str, ...]:
    """The services asked for and all they need, what is needed first."""
    _check_names(names, project.services)
    found: dict[str, None] = {}
    visiting: list[str] = []

    def visit(name: str) -> None:
        if name in found or name not in project.services:
            return
        if name in visiting:
            raise CycleError((*visiting[visiting.index(name) :], name))
        visiting.append(name)
        for dependency in project.services[name].depends_on:
            if not (no_deps and names) or dependency.service in names:
                visit(dependency.service)
        visiting.pop()
        found[name] = None

    for name in names or tuple(project.services):
        visit(name)
    return tuple(found)


def container_name(project: str, service: Service, number: int) -> str:
    return service.container_name or f"{project}-{service.name}-{number}"


def _stale(project: Project, service: Service, container: ObservedContainer, options: UpOptions) -> str:
    """Why a container must be made anew; empty where it need not."""
    if container.config_hash != service.config_hash:
        new, old = service.hash_parts, container.hash_parts
        names = sorted(key for key in {*new, *old} if new.get(key) != old.get(key)) if old else []
        if "environment" not in names:  # an env file whose change changed no variable is not the cause
            names = [name for name in names if not name.startswith("env file ")]
        return f"configuration changed: {', '.join(names)}" if names else "configuration changed"
    digest = options.images.get(service.name)
    if digest and container.image_digest and container.image_digest != digest:
        return "image changed"
    if _is_running(container):
        for attachment in service.networks:
            name = project.networks[attachment.network].name
            if name not in container.networks:
                return f"not on network {name}"
    return ""


def _shares_with(service: Service) -> set[str]:
    """Services whose containers' namespaces or volumes a container of `service` holds."""
    modes = (service.network_mode, service.ipc, service.pid)
    shared = {mode.partition(":")[2] for mode in modes if mode and mode.startswith("service:")}
    return shared | {v.split(":")[0] for v in service.volumes_from if not v.startswith("container:")}


class _Up:
    def __init__(self, project: Project, observed: Observed, options: UpOptions) -> None:
        self.project, self.observed, self.options = project, observed, options
        self.out = _Steps(project.name)
        self.selected = _selected(project, options.services, options.no_deps)
        self.resources: dict[tuple[str, str], str] = {}  # (network|volume, key) -> step
        self.last: dict[str, tuple[str, ...]] = {}  # service -> steps after which it is started
        self.members: dict[str, tuple[str, ...]] = {}  # service -> names that will be its containers
        self.recreated: set[str] = set()
        self.conditions: dict[tuple[str, str], str] = {}
        self.halted: dict[str, tuple[str, str]] = {}  # container -> its stop and what it waits for: a new network
        self.settled: dict[str, str] = {}  # container -> the step that gives it its name back

    def plan(self) -> Plan:
        _check_names(self.options.scale, self.project.services)
        self._make_networks_and_volumes()
        for name in self.selected:
            self._service(self.project.services[name])
        self._start_halted()
        self._orphans()
        if self.options.wait and not self.options.no_start:
            self._wait()
        return self.out.plan()

    def _make_networks_and_volumes(self) -> None:
        services = [self.project.services[name] for name in self.selected]
        networks = {a.network for s in services for a in s.networks}
        volumes = {m.source for s in services for m in s.mounts if isinstance(m, VolumeMount)}
        have_networks = {n.name: n for n in self.observed.networks}
        have_volumes = {v.name: v for v in self.observed.volumes}
        for key, network in self.project.networks.items():
            if key not in networks:
                continue
            found = have_networks.get(network.name)
            if found is None and network.external:
                raise PycomposeError(f"network {network.name!r} is external and does not exist")
            if found is None:
                step = f"create network {network.name}"
                self.resources["network", key] = self.out.add(step, CreateNetwork(network), "no such network")
            elif network.config_hash and found.config_hash and found.config_hash != network.config_hash:
                self.resources["network", key] = self._remake_network(network)
        for key, volume in self.project.volumes.items():
            if key not in volumes:
                continue
            if (held := have_volumes.get(volume.name)) is not None:
                if not volume.external and held.config_hash and held.config_hash != volume.config_hash:
                    self.out.warnings.append(
                        f"volume {volume.name} is kept as it was made; the file says otherwise (down -v removes it)"
                    )
                continue
            if volume.external:
                raise PycomposeError(
                    f"volume {volume.name!r} is external and does not exist",
                    hint=f"pycompose volume create {volume.name}",
                )
            step = f"create volume {volume.name}"
            self.resources["volume", key] = self.out.add(step, CreateVolume(volume), "no such volume")

    def _remake_network(self, network: Network) -> str:
        """A network whose configuration changed is made anew; its containers are stopped for that, not made anew."""
        cause = f"network {network.name} changed"
        users = [c for c in self.observed.containers if network.name in c.networks and _is_running(c)]
        stops = []
        for c in users:
            if c.name not in self.halted:
                action = StopContainer(c.name, c.service, self.options.timeout)
                self.halted[c.name] = (self.out.add(f"stop {c.name}", action, cause), "")
            stops.append(self.halted[c.name][0])
        removed = self.out.add(
            f"remove network {network.name}", RemoveNetwork(network.name), "configuration changed", stops
        )
        made = self.out.add(
            f"create network {network.name}", CreateNetwork(network), "configuration changed", (removed,)
        )
        for c in users:
            self.halted[c.name] = (self.halted[c.name][0], made)
        return made

    def _start_halted(self) -> None:
        """Containers of services that were not asked for, which a changed network stopped."""
        for c in self.observed.containers:
            known = c.name in self.halted and not self.options.no_start
            if known and not {f"start {c.name}", f"remove {c.name}"} & set(self.out.steps):
                stop, made = self.halted[c.name]
                self._start(c.name, c.service, self.out.steps[stop].cause, (stop, made))

    def _settle(self, existing: tuple[ObservedContainer, ...]) -> tuple[ObservedContainer, ...]:
        """A recreation that broke off leaves a container under its temporary name: it goes, or takes its name."""
        found: list[ObservedContainer] = []
        for c in existing:
            before, _, name = c.name.partition("_")
            if not (len(before) == 12 and set(before) <= HEX and name):
                found.append(c)
            elif any(other.name == name for other in existing):
                self._remove(c, "left over from a recreation that broke off")
            else:
                cause = f"takes the name {name}"
                self.settled[name] = self.out.add(f"rename {c.name}", RenameContainer(c.name, name), cause)
                found.append(replace(c, name=name))
        return tuple(found)

    def _needs(self, service: Service) -> tuple[str, ...]:
        found = [self.resources.get(("network", a.network)) for a in service.networks]
        found += [
            self.resources.get(("volume", m.source)) for m in service.mounts if isinstance(m, VolumeMount) and m.source
        ]
        return tuple(step for step in found if step)

    def _condition(self, dependency: Dependency) -> tuple[str, ...]:
        """Steps after which a dependent may be started."""
        name = dependency.service
        if name not in self.members or not self.members[name]:
            return self.last.get(name, ())
        if dependency.condition == "service_started":
            return self.last[name]
        key = (name, f"{dependency.condition}{'' if dependency.required else ' (optional)'}")
        if key not in self.conditions:
            word = dependency.condition.removeprefix("service_").replace("_", " ")
            step_id = f"await {name} {word}" + ("" if dependency.required else " (optional)")
            action = AwaitCondition(name, self.members[name], dependency.condition, dependency.required)
            self.conditions[key] = self.out.add(step_id, action, "depends_on", self.last[name])
        return (self.conditions[key],)

    def _service(self, service: Service) -> None:
        options, out = self.options, self.out
        existing = self._settle(self.observed.of_service(service.name))
        wanted = options.scale.get(service.name, service.replicas)
        if service.container_name and wanted > 1:
            raise PycomposeError(
                f"service {service.name!r} has a container_name and cannot have {wanted} containers",
                hint="remove container_name",
            )
        before = tuple(s for d in service.depends_on for s in self._condition(d))
        needs = self._needs(service)
        parents = _shares_with(service) & self.recreated
        # Highest numbers go first, so that 1..N are what remains.
        keep, surplus = existing[:wanted], existing[wanted:]
        for container in reversed(surplus):
            self._remove(container, "scale down")
        ends: list[str] = []
        members: list[str] = []
        for container in keep:
            cause = ""
            if not options.no_recreate:
                cause = _stale(self.project, service, container, options)
                if parents:
                    cause = f"{', '.join(sorted(parents))} is made anew"
                if options.force_recreate and (not options.services or service.name in options.services):
                    cause = "forced"
            if cause:
                ends.append(self._recreate(service, container, cause, needs, before))
                self.recreated.add(service.name)
            else:
                restarted = [d.service for d in service.depends_on if d.restart and d.service in self.recreated]
                ends += self._start_existing(container, before, restarted)
            members.append(container_name(self.project.name, service, container.number) if cause else container.name)
        number = max((c.number for c in keep), default=0)
        for _ in range(wanted - len(keep)):
            number += 1
            name = container_name(self.project.name, service, number)
            cause = "no such container" if not existing else "scale up"
            freed = [s for s in (f"remove {name}",) if s in out.steps]
            # A container that joins another's namespaces is made when those exist.
            joined = [s for other in _shares_with(service) for s in self.last.get(other, ())]
            made = out.add(
                f"create {name}", CreateContainer(name, service.name, number), cause, [*needs, *freed, *joined]
            )
            ends.append(made if options.no_start else self._start(name, service.name, cause, (made, *before)))
            members.append(name)
        self.members[service.name] = tuple(members)
        self.last[service.name] = tuple(ends) or before

    def _start(self, name: str, service: str, cause: str, after: Iterable[str]) -> str:
        return self.out.add(f"start {name}", StartContainer(name, service), cause, after)

    def _start_existing(self, container: ObservedContainer, before: tuple[str, ...], restarted: list[str]) -> list[str]:
        if self.options.no_start:
            return []
        name, service = container.name, container.service
        if name in self.halted:
            stop, made = self.halted[name]
            return [self._start(name, service, self.out.steps[stop].cause, (stop, made, *before))]
        if container.status == "running" and not restarted:
            return list(before)
        if container.status == "paused":
            return [self.out.add(f"unpause {name}", UnpauseContainer(name, service), "paused", before)]
        if restarted and _is_running(container):
            cause = f"{', '.join(restarted)} is made anew"
            action = StopContainer(name, service, self.options.timeout)
            stopped = self.out.add(f"stop {name}", action, cause)
            return [self._start(name, service, cause, (stopped, *before))]
        settled = (self.settled[name],) if name in self.settled else ()
        return [self._start(name, service, f"not running: {container.status}", (*settled, *before))]

    def _recreate(
        self, service: Service, old: ObservedContainer, cause: str, needs: tuple[str, ...], before: tuple[str, ...]
    ) -> str:
        out, options = self.out, self.options
        name = container_name(self.project.name, service, old.number)
        temporary = f"{old.id[:12]}_{name}"
        inherit = None if options.renew_anonymous_volumes else old.name
        create = CreateContainer(temporary, service.name, old.number, inherit, old.id)
        joined = [s for other in _shares_with(service) for s in self.last.get(other, ())]
        settled = (self.settled[old.name],) if old.name in self.settled else ()
        made = out.add(f"create {temporary}", create, cause, (*needs, *joined, *settled))
        ready = made
        if old.name in self.halted:
            before = (*before, self.halted[old.name][0])
        elif _is_running(old):
            # Its replacement is started when its dependencies are ready; until then the old one serves.
            stop = StopContainer(old.name, service.name, options.timeout)
            ready = out.add(f"stop {old.name}", stop, cause, (made, *before))
        after = (ready, self.halted[old.name][0]) if old.name in self.halted else (ready,)
        removed = out.add(f"remove {old.name}", RemoveContainer(old.name, service.name), cause, after)
        renamed = out.add(f"rename {temporary}", RenameContainer(temporary, name), f"takes the name {name}", (removed,))
        return renamed if options.no_start else self._start(name, service.name, cause, (renamed, *before))

    def _remove(self, container: ObservedContainer, cause: str) -> None:
        name, service = container.name, container.service
        if name in self.halted:
            self.out.add(f"remove {name}", RemoveContainer(name, service), cause, (self.halted[name][0],))
        else:
            settled = (self.settled[name],) if name in self.settled else ()
            _remove(self.out, container, cause, self.options.timeout, settled)

    def _orphans(self) -> None:
        orphans = _orphans(self.project, self.observed)
        if self.options.remove_orphans:
            for container in orphans:
                self._remove(container, "orphan")
        elif orphans:
            names = ", ".join(c.name for c in orphans)
            self.out.warnings.append(f"containers of services that the file does not have: {names} (--remove-orphans)")

    def _wait(self) -> None:
        completed = {
            d.service
            for name in self.selected
            for d in self.project.services[name].depends_on
            if d.condition == "service_completed_successfully"
        }
        for name in self.selected:
            if self.members[name]:
                condition = "service_completed_successfully" if name in completed else "running_or_healthy"
                action = AwaitCondition(name, self.members[name], condition, True, self.options.wait_timeout)
                self.out.add(f"wait for {name}", action, "--wait", self.last[name])


def _remove(
    out: _Steps,
    container: ObservedContainer,
    cause: str,
    timeout: float | None,
    after: Iterable[str] = (),
    volumes: bool = False,
) -> str:
    after = tuple(after)
    name, service = container.name, container.service
    if _is_running(container):
        after = (out.add(f"stop {name}", StopContainer(name, service, timeout), cause, after),)
    return out.add(f"remove {name}", RemoveContainer(name, service, volumes), cause, after)


def _orphans(project: Project, observed: Observed) -> tuple[ObservedContainer, ...]:
    known = {*project.services, *project.disabled_services}
    return tuple(
        c for c in observed.containers if (c.oneoff and not _is_running(c)) or (not c.oneoff and c.service not in known)
    )


def up(project: Project, observed: Observed, options: UpOptions | None = None) -> Plan:
    return _Up(project, observed, options or UpOptions()).plan()


def scale(project: Project, observed: Observed, counts: Mapping[str, int], options: UpOptions | None = None) -> Plan:
    """`up` of the services in `counts` alone (and, unless no_deps, of what they need) with those numbers."""
    given = options or UpOptions()
    return up(
        project,
        observed,
        UpOptions(
            services=tuple(counts),
            scale=counts,
            no_deps=given.no_deps,
            timeout=given.timeout,
            images=given.images,
        ),
    )


def _edges(project: Project | None, observed: Observed) -> dict[str, set[str]]:
    """Service -> the services it needs, from the file where there is one and from labels."""
    edges: dict[str, set[str]] = {}
    for container in observed.containers:
        edges.setdefault(container.service, set()).update(name for name, _, _ in container.depends_on)
    if project is not None:
        for name, service in project.services.items():
            edges[name] = {d.service for d in service.depends_on}
    return edges


def _ordered(
    out: _Steps,
    edges: Mapping[str, set[str]],
    containers: Iterable[ObservedContainer],
    act: Callable[[ObservedContainer, tuple[str, ...]], str | None],
    *,
    reverse: bool,
) -> dict[str, tuple[str, ...]]:
    """Call `act` for each container, with the steps of the services that come before its own."""
    by_service: dict[str, list[ObservedContainer]] = {}
    for container in containers:
        by_service.setdefault(container.service, []).append(container)
    names = sorted({*edges, *by_service})
    before = {n: set(edges.get(n, ())) for n in names}
    if reverse:
        before = {n: {m for m in names if n in edges.get(m, ())} for n in names}
    ends: dict[str, tuple[str, ...]] = {}
    visiting: set[str] = set()

    def visit(name: str) -> tuple[str, ...]:
        if name in ends or name in visiting:  # labels can lie in a circle; a file cannot
            return ends.get(name, ())
        visiting.add(name)
        after = tuple(dict.fromkeys(s for other in sorted(before.get(name, ())) for s in visit(other)))
        made = [act(c, after) for c in sorted(by_service.get(name, ()), key=lambda c: (c.number, c.name))]
        ends[name] = tuple(s for s in made if s) or after
        return ends[name]

    for name in names:
        visit(name)
    return ends


def _chosen(
    project: Project | None, observed: Observed, services: tuple[str, ...], *, oneoffs: bool = False
) -> tuple[ObservedContainer, ...]:
    known = {c.service for c in observed.containers} | set(project.services if project else ())
    _check_names(services, known)
    return tuple(
        c for c in observed.containers if (oneoffs or not c.oneoff) and (not services or c.service in services)
    )


def down(project: Project | None, observed: Observed, options: DownOptions | None = None) -> Plan:
    options = options or DownOptions()
    out = _Steps(observed.project)
    chosen = _chosen(project, observed, options.services, oneoffs=True)
    if project is not None and not options.remove_orphans:
        known = {*project.services, *project.disabled_services}
        left = [c for c in chosen if c.service not in known or (c.oneoff and _is_running(c))]
        chosen = tuple(c for c in chosen if c not in left)
        if left:
            names = ", ".join(c.name for c in left)
            out.warnings.append(f"left alone: {names} (--remove-orphans)")

    removed: list[str] = []

    def remove(container: ObservedContainer, after: tuple[str, ...]) -> str:
        removed.append(_remove(out, container, "down", options.timeout, after, options.volumes))
        return removed[-1]

    _ordered(out, _edges(project, observed), chosen, remove, reverse=True)
    if options.services:
        return out.plan()
    remaining = [c for c in observed.containers if c not in chosen]
    external_networks = {n.name for n in project.networks.values() if n.external} if project else set()
    external_volumes = {v.name for v in project.volumes.values() if v.external} if project else set()
    for network in sorted(observed.networks, key=lambda n: n.name):
        users = [c.name for c in remaining if network.name in c.networks] + list(network.in_use)
        if network.name in external_networks or not network.key:
            continue
        if users:
            out.warnings.append(f"network {network.name} is still used by {', '.join(users)}")
        else:
            out.add(f"remove network {network.name}", RemoveNetwork(network.name), "down", removed)
    for volume in sorted(observed.volumes, key=lambda v: v.name) if options.volumes else ():
        if volume.name not in external_volumes and volume.key:
            out.add(f"remove volume {volume.name}", RemoveVolume(volume.name), "down --volumes", removed)
    return out.plan()


def stop(
    project: Project | None, observed: Observed, services: tuple[str, ...] = (), timeout: float | None = None
) -> Plan:
    out = _Steps(observed.project)
    chosen = [c for c in _chosen(project, observed, services) if _is_running(c)]

    def act(c: ObservedContainer, after: tuple[str, ...]) -> str:
        return out.add(f"stop {c.name}", StopContainer(c.name, c.service, timeout), "stop", after)

    _ordered(out, _edges(project, observed), chosen, act, reverse=True)
    return out.plan()


def start(project: Project | None, observed: Observed, services: tuple[str, ...] = ()) -> Plan:
    """Each after what it depends on, and after the conditions of that which is started too."""
    out = _Steps(observed.project)
    stopped = [c for c in _chosen(project, observed, services) if not _is_running(c)]
    _ordered(out, _edges(project, observed), stopped, _starter(out, project), reverse=False)
    return out.plan()


def _starter(
    out: _Steps, project: Project | None, cause: str = "", stopped: Mapping[str, str] = MappingProxyType({})
) -> Callable[[ObservedContainer, tuple[str, ...]], str]:
    """Makes start steps, each after the conditions of those of its dependencies that the same plan starts."""
    started: dict[str, list[str]] = {}

    def act(c: ObservedContainer, after: tuple[str, ...]) -> str:
        waits = list(after)
        service = project.services.get(c.service) if project else None
        for need in service.depends_on if service else ():
            if need.condition == "service_started" or need.service not in started:
                continue
            word = need.condition.removeprefix("service_").replace("_", " ")
            step = f"await {need.service} {word}" + ("" if need.required else " (optional)")
            names = tuple(started[need.service])
            if step not in out.steps:
                action = AwaitCondition(need.service, names, need.condition, need.required)
                out.add(step, action, "depends_on", [f"start {name}" for name in names])
            waits.append(step)
        started.setdefault(c.service, []).append(c.name)
        own = (stopped[c.name],) if c.name in stopped else ()
        why = cause or f"not running: {c.status}"
        return out.add(f"start {c.name}", StartContainer(c.name, c.service), why, (*own, *waits))

    return act


def restart(
    project: Project | None,
    observed: Observed,
    services: tuple[str, ...] = (),
    timeout: float | None = None,
    no_deps: bool = False,
) -> Plan:
    out = _Steps(observed.project)
    _chosen(project, observed, services)
    also: set[str] = set()
    if services and not no_deps:
        also = {c.service for c in observed.containers for n, _, again in c.depends_on if again and n in services}
    names = (*services, *sorted(also - set(services)))
    chosen = _chosen(project, observed, names)
    edges = _edges(project, observed)
    stopped: dict[str, str] = {}

    def halt(c: ObservedContainer, after: tuple[str, ...]) -> str | None:
        if not _is_running(c):
            return None
        stopped[c.name] = out.add(f"stop {c.name}", StopContainer(c.name, c.service, timeout), "restart", after)
        return stopped[c.name]

    _ordered(out, edges, chosen, halt, reverse=True)
    _ordered(out, edges, chosen, _starter(out, project, "restart", stopped), reverse=False)
    return out.plan()


def kill(project: Project | None, observed: Observed, services: tuple[str, ...] = (), signal: str = "SIGKILL") -> Plan:
    out = _Steps(observed.project)
    for c in _chosen(project, observed, services):
        if _is_running(c):
            out.add(f"kill {c.name}", KillContainer(c.name, c.service, signal), "kill")
    return out.plan()


def pause(project: Project | None, observed: Observed, services: tuple[str, ...] = ()) -> Plan:
    out = _Steps(observed.project)
    for c in _chosen(project, observed, services):
        if c.status == "running":
            out.add(f"pause {c.name}", PauseContainer(c.name, c.service), "pause")
    return out.plan()


def unpause(project: Project | None, observed: Observed, services: tuple[str, ...] = ()) -> Plan:
    out = _Steps(observed.project)
    for c in _chosen(project, observed, services):
        if c.status == "paused":
            out.add(f"unpause {c.name}", UnpauseContainer(c.name, c.service), "unpause")
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
    out = _Steps(observed.project)
    for c in _chosen(project, observed, services):
        if stop or not _is_running(c):
            _remove(out, c, "rm", timeout, volumes=volumes)
    return out.plan()
