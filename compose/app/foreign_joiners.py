"""Joiners in other projects: containers that share with one that they name (`container:NAME`), which was made anew.

What is only started again takes its joiners along by their own supervisor. One that is made anew is another container:
what runs with the namespaces or volumes of the one before is made anew too, by the command that started the new one,
under its own project's lock and by its own supervisor. What cannot be done is a warning that names it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from pycompose.compose.plan import divergence, reconcile
from pycompose.compose.plan.steps import Plan
from pycompose.compose.state import generations
from pycompose.compose.state.observe import containers, observe
from pycompose.errors import PycomposeError
from pycompose.runtime.places import Places

from .locate import Located
from .phases import OperationWarning

if TYPE_CHECKING:
    from pycompose.compose.model.observed import Observed, ObservedContainer
    from pycompose.compose.model.project import Project
    from pycompose.runtime.places import ProjectPlaces

    from .phases import Tell

    Act = Callable[[Located, Callable[[Observed], Plan]], None]


def take_along(places: ProjectPlaces, names: Collection[str], but: Collection[str], act: Act, tell: Tell) -> None:
    """Make the running joiners of the containers `names`, which were started, anew where they have what others had.

    `but` are projects that are left alone; `act` has what was decided carried out in another project.
    """
    if not (others := list(_projects_that_join(but))):
        return
    donors = {c.name: c.id for c in containers(places) if c.name in names}
    for other in others:
        try:
            _make_anew(other, places.project, donors, act)
        except PycomposeError as error:
            text = f"containers of project {other.project} share with what was made anew, and still have the old"
            tell(OperationWarning(f"{text}: {error}"))


def _projects_that_join(but: Collection[str]) -> Iterator[ProjectPlaces]:
    roots = Places.default()
    try:
        names = sorted(set(os.listdir(roots.projects)) - set(but))
    except FileNotFoundError:
        return
    for name in names:
        if os.path.exists((places := roots.project(name)).joins):
            yield places


def _make_anew(places: ProjectPlaces, whose: str, donors: Mapping[str, str], act: Act) -> None:
    project = generations.newest(places)
    if project is None or not _stale(project, observe(places), whose, donors):
        return

    def decide(observed: Observed) -> Plan:
        services = tuple(dict.fromkeys(c.service for c in _stale(project, observed, whose, donors)))
        if not services:  # somebody else was faster
            return Plan(places.project)
        options = reconcile.UpOptions(services, no_deps=True, force_recreate=True, ignore_orphans=True)
        return reconcile.up(project, observed, options)

    act(Located(places, project), decide)


def _stale(project: Project, observed: Observed, whose: str, donors: Mapping[str, str]) -> list[ObservedContainer]:
    """Containers that go along with what they share, which is not that of the container of that name."""
    return [
        c
        for c in observed.containers
        if c.service in project.services
        and divergence.goes_along(c, observed)
        and any(
            donor.way == "container" and donor.target in donors and _other(c, donor.kind, whose, donors[donor.target])
            for donor in divergence.donors(project.services[c.service])
        )
    ]


def _other(container: ObservedContainer, kind: str, whose: str, donor_id: str) -> bool:
    """Whether it has that of another container than `donor_id`, of the project `whose`."""
    if kind == "volumes":
        return bool(container.volume_donors) and donor_id not in container.volume_donors
    return container.shared.get(kind, "").startswith(f"{whose}/") and container.shared[kind] != f"{whose}/{donor_id}"
