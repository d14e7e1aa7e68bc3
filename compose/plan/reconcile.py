"""The plans of `up` and `scale`: what becomes of each service's containers, decided from one snapshot.

As docker compose decides (its `pkg/compose/reconcile.go`). Rules: pure. An order holds even where a service in the
middle has nothing to do: what a service's containers are started after is handed on to those who need it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace

from pycompose.compose.model.errors import FileError
from pycompose.compose.model.observed import Observed, ObservedContainer, OneOff
from pycompose.compose.model.project import Dependency, Network, Project, Service, Volume, VolumeMount
from pycompose.compose.model.replica import container_name
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

from . import divergence, graph
from .draft import Cause, Draft, asked, is_running, not_running
from .hook_steps import PreStart
from .select import check_names, chosen, named, orphans, selected
from .steps import AwaitCondition, CreateContainer, Plan, RunProvider

HEX = set("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class UpOptions:
    """`images`: service -> digest of its image as made ready; a service that is not in it is not compared by image."""

    services: tuple[str, ...] = ()  # empty: all
    scale: Mapping[str, int] = field(default_factory=dict)
    remove: tuple[str, ...] = ()  # containers that go first where there are to be fewer, and are replaced otherwise
    no_deps: bool = False
    force_recreate: bool = False
    no_recreate: bool = False
    remove_orphans: bool = False
    ignore_orphans: bool = False  # nothing is said of them
    wait: bool = False
    wait_timeout: float | None = None
    timeout: float | None = None
    no_start: bool = False
    renew_anonymous_volumes: bool = False
    images: Mapping[str, str] = field(default_factory=dict)
    mounted_images: Mapping[str, str] = field(default_factory=dict)  # image -> digest, of those that are mounted
    remake_volumes: frozenset[str] = frozenset()  # names; what is in them is lost
    provided: frozenset[str] = frozenset()  # services whose providers this command has run
    ended: frozenset[str] = frozenset()  # ids of containers that it has started already, and that have ended since


def check_scale(project: Project, counts: Mapping[str, int]) -> None:
    """Raises NoSuchService, and PycomposeError for a service that has no containers."""
    check_names(counts, project.services)
    for name, count in counts.items():
        if count and project.services[name].provider is not None:
            raise PycomposeError(f'service "{name}" is run by a provider and has no containers to scale')


def changed_volumes(project: Project, observed: Observed, options: UpOptions) -> tuple[str, ...]:
    """Names of volumes that were made otherwise than the file says now, and that the command is about."""
    have = {v.name: v for v in observed.volumes}
    keys = _volume_keys(project, chosen(project, options.services, options.no_deps))
    return tuple(
        volume.name
        for key, volume in project.volumes.items()
        if key in keys
        and not volume.external
        and (kept := have.get(volume.name)) is not None
        and kept.config_hash
        and kept.config_hash != volume.config_hash
    )


def _volume_keys(project: Project, services: Iterable[str]) -> set[str | None]:
    mounts = (mount for name in services for mount in project.services[name].mounts)
    return {mount.source for mount in mounts if isinstance(mount, VolumeMount)}


@dataclass(frozen=True, slots=True)
class _Halt:
    """A running container that is stopped for networks or volumes that changed, and the steps that make these anew."""

    stop: str
    remade: tuple[str, ...]
    cause: Cause


class _Up:
    def __init__(self, project: Project, observed: Observed, options: UpOptions) -> None:
        self.project, self.observed, self.options = project, observed, options
        self.out = Draft(project.name, options.timeout)
        self.named = named(observed, options.scale, options.remove)
        self.selected = selected(project, options.services, options.no_deps)
        self.users = self.selected  # services whose networks and volumes are made
        self.resources: dict[tuple[str, str], str] = {}  # (network|volume, key) -> step
        self.last: dict[str, tuple[str, ...]] = {}  # service -> steps after which it is started
        self.members: dict[str, tuple[str, ...]] = {}  # service -> names that will be its containers
        self.providers: dict[str, str] = {}  # service -> the step that runs its provider
        self.recreated: set[str] = set()
        self.remade_volumes: set[str] = set()
        self.by_id = {c.id: c for c in observed.containers}
        self.kept: dict[str, set[str]] = {}  # service -> ids of its containers that stay
        self.gone: dict[str, list[str]] = {}  # service -> steps that remove containers of it for good
        self.halted: dict[str, _Halt] = {}  # by container
        self.settled: dict[str, str] = {}  # container -> the step that gives it its name back
        self.hooks = PreStart(self.out, project.separator, observed.containers)

    def plan(self) -> Plan:
        check_scale(self.project, self.options.scale)
        self._make_networks_and_volumes()
        for name in graph.order(self.project):
            service = self.project.services[name]
            if name in self.selected:
                self._service(service)
            else:
                self._follow(service)
        self._more()
        self._start_halted()
        while any([self._join_again(c) for c in self.observed.containers]):
            pass
        self._orphans()
        if not self.options.no_start:
            self.out.deadline = self.options.wait_timeout
            if self.options.wait:
                self._wait()
        self._check_obstacles()
        self.out.running = [c.name for name in self.members for c in self.observed.of_service(name) if self._stays(c)]
        return self.out.plan()

    def _stays(self, container: ObservedContainer) -> bool:
        """Whether a container of a service that was asked for runs and goes on as it is."""
        changed = self.out.starts(container.name) or self.out.stops(container.name)
        return container.status == "running" and container.name in self.members[container.service] and not changed

    def _more(self) -> None:
        """What another plan than `up` makes of its own."""

    def _check_name(self, service: Service, name: str) -> None:
        """Raises FileError where another service's container is to have the name too."""
        other = next((other for other, members in self.members.items() if name in members), "")
        if not other:
            return
        self.members[service.name] = (name,)
        self._check_obstacles(service.name)
        raise PycomposeError(
            f'containers of services "{other}" and "{service.name}" cannot both be called "{name}"',
            hint="give one of them another container_name",
        )

    def _check_obstacles(self, making: str = "") -> None:
        """Raises FileError for what the file says of containers that the plan makes and that nobody can make.

        `making` is a service whose container is about to be made.
        """
        services = {step.action.service for step in self.out.steps.values() if isinstance(step.action, CreateContainer)}
        services.add(making)
        there = {name for name, members in self.members.items() if members}
        there |= {container.service for container in self.observed.containers}
        problems = tuple(
            obstacle.problem
            for obstacle in self.project.obstacles
            if obstacle.service in services and (not obstacle.beside or obstacle.beside in there)
        )
        if problems:
            raise FileError(problems)

    def _make_networks_and_volumes(self) -> None:
        networks = {a.network for name in self.users for a in self.project.services[name].networks}
        volumes = _volume_keys(self.project, self.users)
        changed = changed_volumes(self.project, self.observed, self.options)
        have_networks = {n.name: n for n in self.observed.networks}
        have_volumes = {v.name: v for v in self.observed.volumes}
        for key, network in self.project.networks.items():
            if key not in networks:
                continue
            present = have_networks.get(network.name)
            if present is None and network.external:
                raise PycomposeError(
                    f"network {network.name} declared as external, but could not be found",
                    hint="it is made by the project that has it; pycompose up there",
                )
            if present is None:
                cause = Cause("missing", "no such network")
                self.resources["network", key] = self.out.create_network(network, cause)
            elif network.config_hash and present.config_hash and present.config_hash != network.config_hash:
                self.resources["network", key] = self._remake_network(network)
        for key, volume in self.project.volumes.items():
            if key not in volumes:
                continue
            if volume.name in have_volumes:
                if volume.name not in changed:
                    continue
                if volume.name in self.options.remake_volumes:
                    self.resources["volume", key] = self._remake_volume(volume)
                else:
                    remedy = "is kept as it was made; the file says otherwise (--yes makes it anew, without its data)"
                    self.out.warnings.append(f"volume {volume.name} {remedy}")
                continue
            if volume.external:
                raise PycomposeError(
                    f'external volume "{volume.name}" not found',
                    hint=f"pycompose volume create {volume.name}",
                )
            self.remade_volumes.add(volume.name)
            self.resources["volume", key] = self.out.create_volume(volume, Cause("missing", "no such volume"))

    def _remake_network(self, network: Network) -> str:
        """A network whose configuration changed is made anew; its containers are stopped for that, not made anew."""
        changed = Cause("changed", "configuration changed")
        users = [c for c in self.observed.containers if network.name in c.networks and is_running(c)]
        stops = self._halt(users, Cause("changed", f"network {network.name} changed"))
        removed = self.out.remove_network(network.name, changed, stops)
        created = self.out.create_network(network, changed, (removed,))
        self._await_remade(users, created)
        return created

    def _remake_volume(self, volume: Volume) -> str:
        """A volume whose definition changed is made anew, empty; the containers that have it are made anew too."""
        changed = Cause("changed", "configuration changed")
        users = [c for c in self.observed.containers if volume.name in c.volumes.values() and is_running(c)]
        stops = self._halt(users, Cause("changed", f"volume {volume.name} changed"))
        removed = self.out.remove_volume(volume.name, changed, stops, remade=True)
        created = self.out.create_volume(volume, changed, (removed,))
        self._await_remade(users, created)
        self.remade_volumes.add(volume.name)
        return created

    def _halt(self, users: Iterable[ObservedContainer], cause: Cause) -> list[str]:
        for c in users:
            if c.name not in self.halted:
                self.halted[c.name] = _Halt(self.out.stop(c, cause), (), cause)
        return [self.halted[c.name].stop for c in users]

    def _await_remade(self, users: Iterable[ObservedContainer], created: str) -> None:
        for c in users:
            halt = self.halted[c.name]
            self.halted[c.name] = replace(halt, remade=(*halt.remade, created))

    def _start_halted(self) -> None:
        """Containers of services that nobody asked for, which a changed network or volume stopped; no one-off ones."""
        for c in self.observed.containers:
            halt = None if c.oneoff else self.halted.get(c.name)
            if halt and not (self.options.no_start or self.out.starts(c.name) or self.out.removal(c.name)):
                self.out.start(c.name, c.service, halt.cause, (halt.stop, *halt.remade))

    def _settle(self, existing: tuple[ObservedContainer, ...]) -> tuple[ObservedContainer, ...]:
        """A recreation that broke off leaves a container under its temporary name: it goes, or takes its name."""
        kept: list[ObservedContainer] = []
        for c in existing:
            before, _, name = c.name.partition("_")
            if not (len(before) == 12 and set(before) <= HEX and name):
                kept.append(c)
            elif any(other.name == name for other in existing):
                self._remove(c, Cause("leftover", "left over from a recreation that broke off"), volumes=True)
            else:
                self.settled[name] = self.out.rename(c.name, name)
                kept.append(replace(c, name=name))
        return tuple(kept)

    def _needs(self, service: Service) -> tuple[str, ...]:
        """Steps that make the networks and volumes of a service, and those that tell its variables."""
        keys = [("network", a.network) for a in service.networks]
        keys += [("volume", m.source) for m in service.mounts if isinstance(m, VolumeMount) and m.source]
        resources = [self.resources[key] for key in keys if key in self.resources]
        return (*resources, *(self.providers[d.service] for d in service.depends_on if d.service in self.providers))

    def _condition(self, dependent: str, dependency: Dependency) -> tuple[str, ...]:
        """Steps after which a dependent may be started."""
        name = dependency.service
        if name not in self.members or not self.members[name]:
            return self.last.get(name, ())
        if dependency.condition == "service_started":
            return self.last[name]
        try:
            divergence.check_can_be_met(self.project, dependent, dependency)
        except PycomposeError as error:
            if dependency.required:
                raise
            self.out.warnings.append(f"{error} (the dependency is not required)")
            return self.last[name]
        return (self.out.condition(dependency, self.members[name], self.last[name]),)

    def _service(self, service: Service) -> None:
        options, out = self.options, self.out
        existing = self._settle(self.observed.of_service(service.name))
        wanted = 0 if service.provider else options.scale.get(service.name, service.replicas)
        if service.container_name and wanted > 1:
            raise PycomposeError(
                f"service {service.name!r} has a container_name and cannot have {wanted} containers",
                hint="remove container_name",
            )
        self.hooks.sweep(service.name)
        before = self._before(service)
        needs = self._needs(service)
        causes = {c.id: None if options.no_recreate else self._recreation(service, c) for c in existing}
        # Named ones go first, then stale ones, then the highest numbers, so that 1..N are what remains.
        ranked = sorted(existing, key=lambda c: (c.name in self.named, causes[c.id] is not None, c.number))
        wanted_old = min(wanted, sum(c.name not in self.named for c in existing))
        keep, surplus = sorted(ranked[:wanted_old], key=lambda c: c.number), ranked[wanted_old:]
        for container in reversed(surplus):
            self._remove(container, Cause("scaled", "scale down"))
            self.gone.setdefault(service.name, []).extend(self.out.removal(container.name))
        if wanted:
            self._check_donors(service, making=len(keep) < wanted or any(causes[c.id] for c in keep))
        self.kept[service.name] = {c.id for c in keep if not causes[c.id]}
        ends: list[str] = []
        members: list[str] = []
        for container in keep:
            if cause := causes[container.id]:
                ends.append(self._recreate(service, container, cause, needs, before))
                self.recreated.add(service.name)
                members.append(container_name(self.project, service, container.number))
            else:
                restarted = [d.service for d in service.depends_on if d.restart and d.service in self.recreated]
                ends += self._start_existing(container, before, restarted)
                members.append(container.name)
        number = max((c.number for c in keep), default=0)
        for _ in range(wanted - len(keep)):
            number += 1
            name = container_name(self.project, service, number)
            cause = Cause("scaled", "scale up") if existing else Cause("missing", "no such container")
            self._check_name(service, name)
            after = [*needs, *out.removal(name), *self._joined(service)]
            created = out.create(CreateContainer(name, service.name, number), cause, after)
            ends.append(created if options.no_start else self._first_start(service, name, cause, (created, *before)))
            members.append(name)
        self.members[service.name] = tuple(members)
        self.last[service.name] = tuple(ends) or before
        if service.provider and service.name not in options.provided:
            self._run_provider(service, service.provider.type)

    def _run_provider(self, service: Service, kind: str) -> None:
        before = self._before(service)
        if self.options.no_start:  # then no condition is ever met
            before = tuple(step for need in service.depends_on for step in self.last.get(need.service, ()))
        action, cause = RunProvider(service.name, "up"), asked(f"provider {kind}")
        step = self.out.run_provider(action, cause, (*before, *self.gone.get(service.name, ())))
        self.providers[service.name] = step
        self.last[service.name] = (step,)

    def _before(self, service: Service) -> tuple[str, ...]:
        return tuple(s for d in service.depends_on for s in self._condition(service.name, d))

    def _follow(self, service: Service) -> None:
        """A service that was not asked for: its running containers go along with those whose namespaces they have."""
        containers = self.observed.of_service(service.name)
        self.kept[service.name] = {c.id for c in containers}
        ends: list[str] = []
        along = [c for c in containers if divergence.goes_along(c, self.observed)]
        causes = {c.id: self._remaking(service, c) for c in along}
        self.kept[service.name] -= {container_id for container_id, cause in causes.items() if cause}
        for c in along:
            if cause := causes[c.id]:
                self._check_donors(service, making=True)
                ends.append(self._recreate(service, c, cause, self._needs(service), self._before(service)))
                self.recreated.add(service.name)
            elif self._started_donors(c):
                ends += self._start_existing(c, self._before(service), [])
        if ends:
            self.last[service.name] = tuple(ends)

    def _remaking(self, service: Service, container: ObservedContainer) -> Cause | None:
        """Why a container of a service that was not asked for must be made anew all the same."""
        cause = self._new_donor(service, container) if container.shared else None
        if cause is None and container.name in self.halted and self.remade_volumes & set(container.volumes.values()):
            return self.halted[container.name].cause
        return cause

    def _recreation(self, service: Service, container: ObservedContainer) -> Cause | None:
        """Why a container must be made anew; None where it need not."""
        options = self.options
        if options.force_recreate and (not options.services or service.name in options.services):
            return Cause("changed", "forced")
        if cause := self._new_donor(service, container):
            return cause
        change = divergence.changed(
            self.project,
            service,
            container,
            images=options.images,
            mounted_images=options.mounted_images,
            remade_volumes=self.remade_volumes,
        )
        return Cause("changed", change) if change else None

    def _join_again(self, c: ObservedContainer) -> bool:
        """Have a running container that nothing above touches join anew the one whose namespace it has, by that one's
        name perhaps, and which this plan starts. Whether it had to."""
        out, donors = self.out, self._started_donors(c)
        if not donors or self.options.no_start or out.starts(c.name) or out.stops(c.name):
            return False
        if not divergence.goes_along(c, self.observed):
            return False
        after = tuple(map(out.started, donors))
        made_anew = [name for name in donors if out.removal(name)]
        service = self.project.services.get(c.service)
        if made_anew and service is None:
            self.out.warnings.append(f"{c.name} has a namespace of {made_anew[0]}, which is made anew")
            return False
        cause = Cause("related", f"{', '.join(donors)} is {'made anew' if made_anew else 'started'}")
        if made_anew and service is not None:
            self.kept[service.name].discard(c.id)
            self._recreate(service, c, cause, after, ())
        else:
            stop = (out.stop(c, cause),) if is_running(c) else ()
            out.start(c.name, c.service, cause, (*stop, *after))
        return True

    def _new_donor(self, service: Service, container: ObservedContainer) -> Cause | None:
        """Why a container whose namespaces or volumes are others' has to be made anew: they are of another one now."""
        for donor in divergence.donors(service):
            known = divergence.ids_of_donors(container, donor.kind)
            if donor.way == "container":
                named = {c.id for c in self.observed.containers if c.name == donor.target}
                if self.observed.lost & set(known) or (known and named and not named & set(known)):
                    return Cause("related", f"{donor.target} is another container now")
            elif donor.target in self.recreated and (not known or not self.kept[donor.target] & set(known)):
                return Cause("related", f"{donor.target} is made anew")
            elif known and not self._ids(donor.target) & set(known):
                return Cause("related", f"{donor.target} is another container now")
        return None

    def _ids(self, service: str) -> set[str]:
        """Those of a service's containers that stay."""
        return self.kept.get(service, {c.id for c in self.observed.of_service(service)})

    def _started_donors(self, container: ObservedContainer) -> list[str]:
        """Names of containers that this plan starts and whose namespaces a running container has."""
        donors = (self.by_id[i].name for i in dict.fromkeys(container.shared.values()) if i in self.by_id)
        return [name for name in donors if self.out.starts(name)]

    def _check_donors(self, service: Service, *, making: bool) -> None:
        """Raises PycomposeError for a service whose namespaces, or volumes of what is made, nobody gives any more."""
        for donor in divergence.donors(service):
            if donor.way != "service" or (donor.kind == "volumes" and not making):
                continue
            there = self.members.get(donor.target, tuple(c.name for c in self.observed.of_service(donor.target)))
            if not there:
                raise PycomposeError(
                    f'service "{service.name}" takes {donor.words} of "{donor.target}", which has no container',
                    hint=f"`up {donor.target} {service.name}` makes both",
                )
            running = donor.target in self.members or any(map(is_running, self.observed.of_service(donor.target)))
            if donor.kind != "volumes" and not running and not self.options.no_start:
                raise PycomposeError(
                    f'service "{service.name}" takes {donor.words} of "{donor.target}", which does not run',
                    hint=f"`up {donor.target} {service.name}` starts both",
                )

    def _joined(self, service: Service) -> list[str]:
        """A container that joins another's namespaces or volumes is made when that one is there."""
        return [
            step
            for donor in divergence.donors(service)
            if donor.way == "service"
            for step in (*self.last.get(donor.target, ()), *self.gone.get(donor.target, ()))
        ]

    def _start_existing(self, container: ObservedContainer, before: tuple[str, ...], restarted: list[str]) -> list[str]:
        if self.options.no_start:
            return []
        out, name, service = self.out, container.name, container.service
        if halt := self.halted.get(name):
            return [out.start(name, service, halt.cause, (halt.stop, *halt.remade, *before))]
        if (started := self._started_donors(container)) and is_running(container):
            cause = Cause("related", f"{', '.join(started)} is started")
            return [out.start(name, service, cause, (out.stop(container, cause), *before, *map(out.started, started)))]
        if container.status == "running" and not restarted:
            return list(before)
        if container.status == "paused":
            return [out.unpause(container, Cause("paused", "paused"), before)]
        if restarted and is_running(container):
            cause = Cause("related", f"{', '.join(restarted)} is made anew")
            return [out.start(name, service, cause, (out.stop(container, cause), *before))]
        if container.id in self.options.ended and not restarted:
            return list(before)
        after = (*self._settled(name), *before)
        if container.started is None and service in self.project.services:
            return [self._first_start(self.project.services[service], name, not_running(container), after)]
        return [out.start(name, service, not_running(container), after)]

    def _first_start(self, service: Service, name: str, cause: Cause, after: tuple[str, ...]) -> str:
        """The start of a container that never ran: its hooks come before."""
        if service.pre_start:
            stay = self.kept.get(service.name, set())
            first = not any(c.started for c in self.observed.of_service(service.name) if c.id in stay)
            after = self.hooks.before(service, name, after, first=first)
        return self.out.start(name, service.name, cause, after)

    def _recreate(
        self, service: Service, old: ObservedContainer, cause: Cause, needs: tuple[str, ...], before: tuple[str, ...]
    ) -> str:
        out, options = self.out, self.options
        name = container_name(self.project, service, old.number)
        temporary = f"{old.id[:12]}_{name}"
        inherit = None if options.renew_anonymous_volumes else old.name
        action = CreateContainer(temporary, service.name, old.number, inherit, old.id)
        ready = [out.create(action, cause, (*needs, *self._joined(service), *self._settled(old.name)))]
        if halt := self.halted.get(old.name):
            ready.append(halt.stop)
            before = (*before, halt.stop)
        elif is_running(old):
            # Its replacement is started when its dependencies are ready; until then the old one serves.
            ready = [out.stop(old, cause, (*ready, *before))]
        removed = out.remove(old, cause, ready, volumes=True)  # those that its replacement does not have
        renamed = out.rename(temporary, name, (removed,))
        return renamed if options.no_start else self._first_start(service, name, cause, (renamed, *before))

    def _settled(self, name: str) -> tuple[str, ...]:
        return (self.settled[name],) if name in self.settled else ()

    def _remove(self, container: ObservedContainer, cause: Cause, *, volumes: bool = False) -> None:
        if halt := self.halted.get(container.name):
            self.out.remove(container, cause, (halt.stop,), volumes=volumes)
        else:
            self.out.stop_and_remove(container, cause, self._settled(container.name), volumes=volumes)

    def _orphans(self) -> None:
        strays = orphans(self.project, self.observed)
        if self.options.remove_orphans:
            for container in strays:
                self._remove(container, Cause("orphan", "orphan"))
        elif strays and not self.options.ignore_orphans:
            names = " ".join(c.name for c in strays)
            self.out.warnings.append(
                f"Found orphan containers ([{names}]) for this project. If a service was removed from the file or "
                "renamed there, --remove-orphans cleans up."
            )

    def _wait(self) -> None:
        completed = {
            d.service
            for name in self.selected
            for d in self.project.services[name].depends_on
            if d.condition == "service_completed_successfully"
        }
        waits = {}
        for name in self.selected:
            if self.members[name]:
                condition = "service_completed_successfully" if name in completed else "running_or_healthy"
                waits[AwaitCondition(name, self.members[name], condition)] = self.last[name]
        self.out.wait(waits)


class _OneOffRun(_Up):
    """What a one-off container of a service needs, as `up` makes it, and then the container."""

    def __init__(self, project: Project, observed: Observed, options: UpOptions, name: str, one_off: OneOff) -> None:
        super().__init__(project, observed, options)
        self.name, self.one_off = name, one_off
        (self.service,) = options.services
        self.selected = tuple(needed for needed in self.selected if needed != self.service)

    def _more(self) -> None:
        service, cause = self.project.services[self.service], asked("run")
        if service.provider is not None:
            raise PycomposeError(f'service "{service.name}" is run by a provider and has no containers')
        self._check_donors(service, making=True)
        # Nothing of it is there before what it depends on is ready.
        after = [*self._needs(service), *self._joined(service), *self._before(service)]
        action = CreateContainer(self.name, service.name, 0, one_off=self.one_off)
        self.out.start(self.name, service.name, cause, (self.out.create(action, cause, after),))


def run(project: Project, observed: Observed, options: UpOptions, *, service: str, name: str, one_off: OneOff) -> Plan:
    """A one-off container `name` of a service, and what it depends on; nothing that is there is made anew, or less."""
    counts = {
        other: len(there)
        for other, wanted in project.services.items()
        if len(there := observed.of_service(other)) > wanted.replicas
    }
    options = replace(options, services=(service,), no_recreate=True, scale=counts)
    return _OneOffRun(project, observed, options, name, one_off).plan()


def up(project: Project, observed: Observed, options: UpOptions | None = None) -> Plan:
    return _Up(project, observed, options or UpOptions()).plan()


def scale(project: Project, observed: Observed, counts: Mapping[str, int], options: UpOptions | None = None) -> Plan:
    """`up` of the services in `counts` alone (and, unless no_deps, of what they need) with those numbers."""
    options = options or UpOptions()
    return up(
        project,
        observed,
        UpOptions(
            services=tuple(counts),
            scale=counts,
            no_deps=options.no_deps,
            remove=options.remove,
            timeout=options.timeout,
            images=options.images,
            provided=options.provided,
        ),
    )
