"""Operations on networks by hand: ones that projects use as external ones, and those that nobody uses any more.

Rules: a network that a container is made for is kept, whether the container runs or not.
"""

from __future__ import annotations

from collections.abc import Sequence

from pycompose.errors import PycomposeError
from pycompose.network.spec import MACHINE_BRIDGE, NetworkRecord, NetworkSpec
from pycompose.runtime.places import Places

from . import inspection


class NoSuchNetworkHere(PycomposeError):
    """A network that is not there, in docker's words."""

    def __init__(self, name: str) -> None:
        super().__init__(f"network {name} not found", hint="`pycompose network ls` lists them")


def create(roots: Places, spec: NetworkSpec) -> NetworkRecord:
    """Raises PycomposeError."""
    from pycompose.network.networks import Networks

    if inspection.network_named(roots, spec.name) is not None:
        raise PycomposeError(f"network with name {spec.name} already exists", hint="choose another, or remove it")
    roots.claim()
    return Networks(roots.networks).create(spec)


def users(roots: Places) -> dict[str, list[str]]:
    """Network -> the containers that are made for it."""
    by_network: dict[str, list[str]] = {}
    for one in inspection.everyone(roots):
        for network in one.container.networks:
            by_network.setdefault(network, []).append(one.container.name)
    return by_network


def remove(roots: Places, name: str) -> str:
    """Remove a network; its name. Raises PycomposeError where it is used, or not there."""
    from pycompose.network.networks import Networks

    record = inspection.network_named(roots, name)
    if record is None:
        raise NoSuchNetworkHere(name)
    if containers := users(roots).get(record.name):
        raise PycomposeError(
            f"network {record.name} is used by {', '.join(sorted(containers))}", hint="remove the containers first"
        )
    Networks(roots.networks).remove(record.name)
    return record.name


def unused(roots: Places) -> list[NetworkRecord]:
    """Networks that no container is made for; the machine's own bridge is none of them."""
    used = users(roots)
    return [one for one in inspection.network_records(roots) if one.name not in used and one.name != MACHINE_BRIDGE]


def prune(roots: Places, records: Sequence[NetworkRecord]) -> list[str]:
    """Remove those; the names of what went. Raises PycomposeError."""
    return [remove(roots, record.name) for record in records]
