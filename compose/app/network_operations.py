"""Operations on networks by hand: ones that projects use as external ones, and those that nobody uses any more.

Rules: a network that a container is made for is kept, whether the container runs or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pycompose.errors import PycomposeError
from pycompose.network.spec import MACHINE_BRIDGE, NetworkRecord, NetworkSpec
from pycompose.runtime.places import Places

from . import inspection

if TYPE_CHECKING:
    from pycompose.compose.model.observed import Observed
    from pycompose.compose.plan.steps import ConnectNetwork, DisconnectNetwork

    from .operations import Outcome


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


def change_connection(
    roots: Places,
    network: str,
    container: str,
    decide: Callable[[str, str], ConnectNetwork | DisconnectNetwork],
    *,
    force: bool = False,
    dry_run: bool = False,
) -> Outcome | None:
    """Have the supervisor of the container's project carry out what `decide` makes of the names of both.

    With `force` there is nothing to do (None) where there is no such container, or it is not on the network. With
    `dry_run` nothing is done. Raises PycomposeError, in docker's words.
    """
    from pycompose.compose.plan.draft import Draft
    from pycompose.compose.plan.steps import ConnectNetwork, Plan
    from pycompose.compose.state.generations import newest

    from . import operations
    from .choices import Choices
    from .locate import Located

    one = inspection.container_named(roots, container)
    if one is None:
        if force:
            return None
        raise PycomposeError(f"No such container: {container}", hint="`pycompose ps --all-projects -a` lists them")
    record = inspection.network_named(roots, network)
    name = record.name if record else network
    action = decide(one.container.name, name)
    if record is None and (isinstance(action, ConnectNetwork) or name not in one.container.networks):
        raise NoSuchNetworkHere(network)
    if force and name not in one.container.networks:
        return None
    project = newest(one.places)

    def plan(observed: Observed) -> Plan:
        out = Draft(observed.project)
        if isinstance(action, ConnectNetwork):
            out.connect(action)
        else:
            out.disconnect(action)
        return out.plan()

    choices = Choices(project_name=one.places.project, dry_run=dry_run)
    return operations.apply(choices, Located(one.places, project), plan, "network")


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
