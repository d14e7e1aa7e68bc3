"""The plans of `up` and `scale`: what becomes of each service's containers, decided from one snapshot.

As docker compose decides (its `pkg/compose/reconcile.go`). Rules: pure. An order holds even where a service in the
middle has nothing to do: what a service's containers are started after is handed on to those who need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace

from pycompose.compose.model.errors import FileError
from pycompose.compose.model.observed import Observed, ObservedContainer
from pycompose.compose.model.project import Dependency, Network, Project, Service, VolumeMount
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

from .draft import Cause, Draft, is_running, not_running
from .select import check_names, orphans, selected
from .steps import AwaitCondition, CreateContainer, Plan

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
    if is_running(container):
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


@dataclass(frozen=True, slots=True)
class _Halt:
    """A running container that is stopped for networks that changed: the steps that stop it and make its networks."""

    stop: str
    networks: tuple[str, ...]
    cause: Cause


class _Up:
    def __init__(self, project: Project, observed: Observed, options: UpOptions) -> None:
        self.project, self.observed, self.options = project, observed, options
        self.out = Draft(project.name, options.timeout)
        self.selected = selected(project, options.services, options.no_deps)
        self.resources: dict[tuple[str, str], str] = {}  # (network|volume, key) -> step
        self.last: dict[str, tuple[str, ...]] = {}  # service -> steps after which it is started
        self.members: dict[str, tuple[str, ...]] = {}  # service -> names that will be its containers
        self.recreated: set[str] = set()
        self.halted: dict[str, _Halt] = {}  # by container
        self.settled: dict[str, str] = {}  # container -> the step that gives it its name back

    def plan(self) -> Plan:
        check_names(self.options.scale, self.project.services)
        self._make_networks_and_volumes()
        for name in self.selected:
            self._service(self.project.services[name])
        self._start_halted()
        self._orphans()
        if self.options.wait and not self.options.no_start:
            self._wait()
        self._check_obstacles()
        return self.out.plan()

    def _check_obstacles(self) -> None:
        """Raises FileError for what the file says of containers that the plan makes and that nobody can make."""
        services = {step.action.service for step in self.out.steps.values() if isinstance(step.action, CreateContainer)}
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
        services = [self.project.services[name] for name in self.selected]
        networks = {a.network for s in services for a in s.networks}
        volumes = {m.source for s in services for m in s.mounts if isinstance(m, VolumeMount)}
        have_networks = {n.name: n for n in self.observed.networks}
        have_volumes = {v.name: v for v in self.observed.volumes}
        for key, network in self.project.networks.items():
            if key not in networks:
                continue
            present = have_networks.get(network.name)
            if present is None and network.external:
                raise PycomposeError(f"network {network.name!r} is external and does not exist")
            if present is None:
                cause = Cause("missing", "no such network")
                self.resources["network", key] = self.out.create_network(network, cause)
            elif network.config_hash and present.config_hash and present.config_hash != network.config_hash:
                self.resources["network", key] = self._remake_network(network)
        for key, volume in self.project.volumes.items():
            if key not in volumes:
                continue
            if (kept := have_volumes.get(volume.name)) is not None:
                if not volume.external and kept.config_hash and kept.config_hash != volume.config_hash:
                    self.out.warnings.append(
                        f"volume {volume.name} is kept as it was made; the file says otherwise (down -v removes it)"
                    )
                continue
            if volume.external:
                raise PycomposeError(
                    f"volume {volume.name!r} is external and does not exist",
                    hint=f"pycompose volume create {volume.name}",
                )
            self.resources["volume", key] = self.out.create_volume(volume, Cause("missing", "no such volume"))

    def _remake_network(self, network: Network) -> str:
        """A network whose configuration changed is made anew; its containers are stopped for that, not made anew."""
        stopped = Cause("changed", f"network {network.name} changed")
        changed = Cause("changed", "configuration changed")
        users = [c for c in self.observed.containers if network.name in c.networks and is_running(c)]
        for c in users:
            if c.name not in self.halted:
                self.halted[c.name] = _Halt(self.out.stop(c, stopped), (), stopped)
        stops = [self.halted[c.name].stop for c in users]
        removed = self.out.remove_network(network.name, changed, stops)
        created = self.out.create_network(network, changed, (removed,))
        for c in users:
            halt = self.halted[c.name]
            self.halted[c.name] = replace(halt, networks=(*halt.networks, created))
        return created

    def _start_halted(self) -> None:
        """Containers of services that were not asked for, which a changed network stopped."""
        for c in self.observed.containers:
            halt = self.halted.get(c.name)
            if halt and not (self.options.no_start or self.out.starts(c.name) or self.out.removal(c.name)):
                self.out.start(c.name, c.service, halt.cause, (halt.stop, *halt.networks))

    def _settle(self, existing: tuple[ObservedContainer, ...]) -> tuple[ObservedContainer, ...]:
        """A recreation that broke off leaves a container under its temporary name: it goes, or takes its name."""
        kept: list[ObservedContainer] = []
        for c in existing:
            before, _, name = c.name.partition("_")
            if not (len(before) == 12 and set(before) <= HEX and name):
                kept.append(c)
            elif any(other.name == name for other in existing):
                self._remove(c, Cause("leftover", "left over from a recreation that broke off"))
            else:
                self.settled[name] = self.out.rename(c.name, name)
                kept.append(replace(c, name=name))
        return tuple(kept)

    def _needs(self, service: Service) -> tuple[str, ...]:
        """Steps that make the networks and volumes of a service."""
        keys = [("network", a.network) for a in service.networks]
        keys += [("volume", m.source) for m in service.mounts if isinstance(m, VolumeMount) and m.source]
        return tuple(self.resources[key] for key in keys if key in self.resources)

    def _condition(self, dependency: Dependency) -> tuple[str, ...]:
        """Steps after which a dependent may be started."""
        name = dependency.service
        if name not in self.members or not self.members[name]:
            return self.last.get(name, ())
        if dependency.condition == "service_started":
            return self.last[name]
        return (self.out.condition(dependency, self.members[name], self.last[name]),)

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
        # Highest numbers go first, so that 1..N are what remains.
        keep, surplus = existing[:wanted], existing[wanted:]
        for container in reversed(surplus):
            self._remove(container, Cause("scaled", "scale down"))
        ends: list[str] = []
        members: list[str] = []
        for container in keep:
            cause = None if options.no_recreate else self._recreation(service, container)
            if cause:
                ends.append(self._recreate(service, container, cause, needs, before))
                self.recreated.add(service.name)
                members.append(container_name(self.project.name, service, container.number))
            else:
                restarted = [d.service for d in service.depends_on if d.restart and d.service in self.recreated]
                ends += self._start_existing(container, before, restarted)
                members.append(container.name)
        number = max((c.number for c in keep), default=0)
        for _ in range(wanted - len(keep)):
            number += 1
            name = container_name(self.project.name, service, number)
            cause = Cause("scaled", "scale up") if existing else Cause("missing", "no such container")
            after = [*needs, *out.removal(name), *self._joined(service)]
            created = out.create(CreateContainer(name, service.name, number), cause, after)
            ends.append(created if options.no_start else out.start(name, service.name, cause, (created, *before)))
            members.append(name)
        self.members[service.name] = tuple(members)
        self.last[service.name] = tuple(ends) or before

    def _recreation(self, service: Service, container: ObservedContainer) -> Cause | None:
        """Why a container must be made anew; None where it need not."""
        options = self.options
        if options.force_recreate and (not options.services or service.name in options.services):
            return Cause("changed", "forced")
        if parents := _shares_with(service) & self.recreated:
            return Cause("related", f"{', '.join(sorted(parents))} is made anew")
        change = _stale(self.project, service, container, options)
        return Cause("changed", change) if change else None

    def _joined(self, service: Service) -> list[str]:
        """A container that joins another's namespaces or volumes is made when that one is there."""
        return [step for other in _shares_with(service) for step in self.last.get(other, ())]

    def _start_existing(self, container: ObservedContainer, before: tuple[str, ...], restarted: list[str]) -> list[str]:
        if self.options.no_start:
            return []
        out, name, service = self.out, container.name, container.service
        if halt := self.halted.get(name):
            return [out.start(name, service, halt.cause, (halt.stop, *halt.networks, *before))]
        if container.status == "running" and not restarted:
            return list(before)
        if container.status == "paused":
            return [out.unpause(container, Cause("paused", "paused"), before)]
        if restarted and is_running(container):
            cause = Cause("related", f"{', '.join(restarted)} is made anew")
            return [out.start(name, service, cause, (out.stop(container, cause), *before))]
        return [out.start(name, service, not_running(container), (*self._settled(name), *before))]

    def _recreate(
        self, service: Service, old: ObservedContainer, cause: Cause, needs: tuple[str, ...], before: tuple[str, ...]
    ) -> str:
        out, options = self.out, self.options
        name = container_name(self.project.name, service, old.number)
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
        removed = out.remove(old, cause, ready)
        renamed = out.rename(temporary, name, (removed,))
        return renamed if options.no_start else out.start(name, service.name, cause, (renamed, *before))

    def _settled(self, name: str) -> tuple[str, ...]:
        return (self.settled[name],) if name in self.settled else ()

    def _remove(self, container: ObservedContainer, cause: Cause) -> None:
        if halt := self.halted.get(container.name):
            self.out.remove(container, cause, (halt.stop,))
        else:
            self.out.stop_and_remove(container, cause, self._settled(container.name))

    def _orphans(self) -> None:
        strays = orphans(self.project, self.observed)
        if self.options.remove_orphans:
            for container in strays:
                self._remove(container, Cause("orphan", "orphan"))
        elif strays:
            names = ", ".join(c.name for c in strays)
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
                self.out.wait(action, self.last[name])


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
            timeout=options.timeout,
            images=options.images,
        ),
    )
