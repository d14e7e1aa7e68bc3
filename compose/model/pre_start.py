"""Containers of `pre_start` hooks: as which service each is made, and what it is called. Pure.

A hook's container is its service's in all but what the hook says: image, command (of the image's entrypoint), user,
working directory, variables. It is no replica: it has no ports, health check, restart policy or fixed address.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .lifetime import Healthcheck
from .project import Service, VolumeMount

KIND = "pre_start"


def hook_service(service: Service, index: int, targets: Iterable[str] = ()) -> Service:
    """The service that the container of its hook `index` is made as; `targets` are where anonymous volumes are mounted
    that come from the image of the container beside. Raises IndexError where there is no such hook."""
    hook = service.pre_start[index]
    mounted = {mount.target for mount in service.mounts}
    return replace(
        service,
        image=hook.image or service.image,
        command=hook.command,
        entrypoint=None,
        user=hook.user or service.user,
        working_dir=hook.working_dir or service.working_dir,
        environment={**service.environment, **hook.environment},
        privileged=service.privileged or hook.privileged,
        mounts=(*service.mounts, *(VolumeMount(None, target) for target in targets if target not in mounted)),
        networks=tuple(
            replace(place, ipv4_address=None, ipv6_address=None, mac_address=None) for place in service.networks
        ),
        container_name=None,
        mac_address=None,
        tty=False,
        stdin_open=False,
        ports=(),
        deploy=None,
        restart=None,
        restart_unhealthy=False,
        replica_identity=False,
        healthcheck=Healthcheck(disable=True),
        logging=None,
        post_start=(),
        pre_stop=(),
        hash_parts={},
    )


def container_name(before: str, separator: str, index: int) -> str:
    """Of the container of a hook; `before` is the name of what it runs for: project and service, or one replica."""
    return separator.join((before, KIND, str(index)))


def shown_as(service: str, index: int) -> str:
    """What docker compose calls a hook, in its lines and errors."""
    return f"{service} {KIND}[{index}]"
