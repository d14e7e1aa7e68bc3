"""This machine as a host. So far only its observing half: what the records of a project's containers say."""

from __future__ import annotations

from pycompose.runtime.places import ProjectPlaces
from pycompose.runtime.record import ContainerState, read_containers

from .observed import Label, Observed, ObservedContainer


def observe(places: ProjectPlaces) -> Observed:
    """The project's containers, from files alone. Networks and volumes are not looked at yet."""
    return Observed(places.project, tuple(_container(state) for state in read_containers(places)))


def _container(state: ContainerState) -> ObservedContainer:
    labels = state.annotations
    return ObservedContainer(
        id=state.id,
        name=state.name,
        service=labels.get(Label.SERVICE, ""),
        number=int(labels.get(Label.NUMBER, "0")),
        status=state.status,  # type: ignore[arg-type]  # the runtime's words are four of these
        oneoff=labels.get(Label.ONEOFF, "False") == "True",
        image=labels.get(Label.IMAGE, state.image),
        config_hash=labels.get(Label.CONFIG_HASH, ""),
        created=state.created,
        started=state.started or None,
        finished=state.finished or None,
        pid=state.pid or None,
        exit_code=state.exit_code,
        oom_killed=state.oom_killed,
        labels=labels,
    )
