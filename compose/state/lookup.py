"""Containers of a project by service and number, as a command names them, with the errors of what is not there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from pycompose.compose.model.errors import NoSuchService
from pycompose.compose.model.observed import ObservedContainer
from pycompose.errors import PycomposeError


def of_services(containers: Sequence[ObservedContainer], services: Sequence[str]) -> list[ObservedContainer]:
    """Those of `services` (empty: all). Raises NoSuchService for a service without a container."""
    check(services, {container.service for container in containers})
    return [container for container in containers if not services or container.service in services]


def check(services: Iterable[str], known: Collection[str]) -> None:
    """Raises NoSuchService."""
    for name in services:
        if name not in known:
            raise NoSuchService(name, known)


def one_of(
    containers: Sequence[ObservedContainer], service: str, index: int = 0, *, running: bool = True
) -> ObservedContainer:
    """The container of `service` with that number, or (0) its first, one-off ones last. Raises PycomposeError."""
    replicas = [container for container in containers if container.service == service and not container.hook]
    replicas.sort(key=lambda container: (container.oneoff, container.number))
    if not replicas:
        services = {container.service for container in containers}
        if service not in services:
            hint = NoSuchService(service, services).hint or "`pycompose up` starts it"
            which = f" container #{index}" if index else ""
            raise PycomposeError(f'service "{service}" is not running{which}', hint=hint)
    chosen = [container for container in replicas if not index or container.number == index]
    if index and not chosen:
        numbers = ", ".join(str(container.number) for container in replicas if not container.oneoff)
        raise PycomposeError(f'service "{service}" is not running container #{index}', hint=f"there are: {numbers}")
    usable = [container for container in chosen if container.status == "running"] if running else chosen
    if not usable:
        paused = any(container.status == "paused" for container in chosen)
        hint = f"`pycompose {'unpause' if paused else 'start'} {service}` {'lets it go on' if paused else 'starts it'}"
        what = "paused" if paused else f"not running container #{index}" if index else "not running"
        raise PycomposeError(f'service "{service}" is {what}', hint=hint)
    return usable[0]
