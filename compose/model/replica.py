"""A replica's name, and what `x-pycompose: {replica_identity: true}` has it know of itself."""

from __future__ import annotations

from .project import Project, Service

LONGEST_HOSTNAME = 63  # bytes of a label: RFC 1035


def container_name(project: Project, service: Service, number: int) -> str:
    return service.container_name or project.separator.join((project.name, service.name, str(number)))


def variables(project: Project, service: Service, number: int) -> dict[str, str]:
    """Environment of a replica; none where nobody asked for it, and none of one-off containers, whose number is 0."""
    if not service.replica_identity or not number:
        return {}
    return {
        "PYCOMPOSE_PROJECT": project.name,
        "PYCOMPOSE_SERVICE": service.name,
        "PYCOMPOSE_REPLICA": str(number),
        "PYCOMPOSE_CONTAINER": container_name(project, service, number),
    }


def hostname(name: str) -> str:
    """The hostname of the replica of that name: its end, where a hostname has no room for all."""
    return name[-LONGEST_HOSTNAME:].lstrip("-_.")


def is_called(name: str, service: str, asked: str) -> bool:
    """Whether the container `name` of a service is meant: by its whole name, or by SERVICE-NUMBER."""
    return asked == name or (
        asked.startswith((f"{service}-", f"{service}_")) and name.endswith(("-" + asked, "_" + asked))
    )
