"""Divergence of a container from what is wanted now: what it was given against what its service resolves to. Pure.

The text of a service is not enough: a volume or network of another `name`, a donor of namespaces or volumes that is
another container now, a new image leave the text as it was. What an older record does not tell is not compared.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping

from pycompose.compose.model.observed import Observed, ObservedContainer
from pycompose.compose.model.project import Dependency, ImageMount, Project, Service, VolumeMount
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

from .draft import is_running

NAMESPACES = ("network", "ipc", "pid")
AT_ONCE = 2.0  # seconds between the recorded ends of two that were killed together
UNENDING = ("always", "unless-stopped")


@dataclass(frozen=True, slots=True)
class Donor:
    """What a service takes of others: `kind` is a namespace or "volumes", `way` is "service" or "container"."""

    kind: str
    way: str
    target: str

    @property
    def words(self) -> str:
        return "the volumes" if self.kind == "volumes" else f"the {self.kind} namespace"


def donors(service: Service) -> tuple[Donor, ...]:
    """Whose namespaces and volumes a container of the service has."""
    modes = zip(NAMESPACES, (service.network_mode, service.ipc, service.pid), strict=True)
    pairs = ((kind, (mode or "").partition(":")) for kind, mode in modes)
    shared = [Donor(kind, way, target) for kind, (way, _, target) in pairs if way in ("service", "container")]
    for text in service.volumes_from:
        parts = text.split(":")
        way, name = ("container", parts[1]) if parts[0] == "container" else ("service", parts[0])
        shared.append(Donor("volumes", way, name))
    return tuple(shared)


def ids_of_donors(container: ObservedContainer, kind: str) -> Collection[str]:
    """The containers whose namespace or volumes it was given; empty where that is not on record."""
    if kind == "volumes":
        return container.volume_donors
    return (container.shared[kind],) if kind in container.shared else ()


def joiners(containers: Collection[ObservedContainer], started: Collection[str]) -> set[str]:
    """Ids of containers that have a namespace of one in `started` (ids), or of one that has, and so on."""
    joined: set[str] = set()
    fresh = set(started)
    while fresh:
        fresh = {c.id for c in containers if fresh & set(c.shared.values())} - joined - set(started)
        joined |= fresh
    return joined


def goes_along(container: ObservedContainer, observed: Observed) -> bool:
    """Whether it runs, or has died with the one whose process namespace it had: it comes back with that one.

    One-off containers do not.
    """
    if container.oneoff:
        return False
    if is_running(container):
        return True
    donor_id = container.shared.get("pid")
    killed = container.exit_code == 137 and not (container.oom_killed or container.supervision.stop_requested)
    if donor_id is None or container.status != "exited" or not killed:
        return False
    ended = [c.finished for c in observed.containers if c.id == donor_id]
    return not ended or (
        container.finished is not None and ended[0] is not None and abs(container.finished - ended[0]) < AT_ONCE
    )


def changed(
    project: Project,
    service: Service,
    container: ObservedContainer,
    *,
    images: Mapping[str, str],
    mounted_images: Mapping[str, str],
    remade_volumes: Collection[str] = (),
) -> str:
    """Why a container must be made anew; empty where it need not. Donors are looked at elsewhere."""
    if container.config_hash != service.config_hash:
        return _configuration(service, container)
    digest = images.get(service.name)
    if digest and container.image_digest and container.image_digest != digest:
        return "image changed"
    for attachment in service.networks:
        name = project.networks[attachment.network].name
        if name not in container.networks:
            return f"not on network {name}"
    for target, name in volumes_of(project, service):
        if name in remade_volumes:
            return f"volume {name} is made anew"
        if container.volumes and container.volumes.get(target) != name:
            return f"{target} is volume {name} now"
    for mount in service.mounts:
        if isinstance(mount, ImageMount):
            had, digest = container.mounted_images.get(clean_target(mount.target)), mounted_images.get(mount.source)
            if had and digest and had != digest:
                return f"image at {mount.target} changed"
    return ""


def clean_target(target: str) -> str:
    """Where something is mounted, as containers have it on record."""
    return posixpath.normpath("/" + target).replace("//", "/")


def _configuration(service: Service, container: ObservedContainer) -> str:
    new, old = service.hash_parts, container.hash_parts
    names = sorted(key for key in {*new, *old} if new.get(key) != old.get(key)) if old else []
    if "environment" not in names:  # an env file whose change changed no variable is not the cause
        names = [name for name in names if not name.startswith("env file ")]
    return f"configuration changed: {', '.join(names)}" if names else "configuration changed"


def volumes_of(project: Project, service: Service) -> Iterator[tuple[str, str]]:
    """Target and real name of each named volume."""
    for mount in service.mounts:
        if isinstance(mount, VolumeMount) and mount.source:
            yield clean_target(mount.target), project.volumes[mount.source].name


def check_can_be_met(project: Project, dependent: str, dependency: Dependency) -> None:
    """Raises PycomposeError where `dependent` waits for what never comes, as the file tells: the completion of a
    service that is always started again, the health of one whose health check is switched off."""
    name, service = dependency.service, project.services.get(dependency.service)
    if service is None:
        return
    policy, check = service.restart_policy, service.healthcheck
    if dependency.condition == "service_completed_successfully" and (
        policy.condition in UNENDING and policy.max_attempts is None
    ):
        raise PycomposeError(
            f'service "{dependent}" waits until "{name}" has completed, which it never does: '
            f"it is started again whenever it ends (restart: {policy.condition})",
            hint=f'give "{name}" restart: "no" or on-failure, or wait for another condition',
        )
    if dependency.condition == "service_healthy" and check and (check.disable or (check.test or ())[:1] == ("NONE",)):
        raise PycomposeError(
            f'service "{dependent}" waits until "{name}" is healthy, which it never is: '
            "it has no healthcheck configured",
            hint=f'give "{name}" a health check that is not switched off, or wait for another condition',
        )
