"""A project's containers as their records tell, for commands that only look. Light: no model, no engine.

What is read: the runtime's records, the supervisor's (health, waiting to be restarted), the published ports. A missing
or odd record means "not known", never an error: these commands work whatever has been killed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any

from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass
from pycompose.runtime.places import Places, ProjectPlaces
from pycompose.runtime.state.container_record import ContainerState, read_containers

LABEL = "com.docker.compose."
OWN = "io.pycompose.service"  # what the engine noted beside the labels of docker compose


@dataclass(frozen=True, slots=True)
class Published:
    host_ip: str
    port: int
    target: int
    protocol: str


@dataclass(frozen=True, slots=True)
class Seen:
    """One container. `state` is the runtime's status, or restarting; `health` is empty where nothing is checked."""

    record: ContainerState
    service: str
    number: int
    oneoff: bool
    state: str
    health: str = ""
    image: str = ""
    networks: tuple[str, ...] = ()
    ports: tuple[Published, ...] = ()
    own: Mapping[str, Any] = field(default_factory=dict)
    stopped: bool = False  # by somebody, not of itself

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def runs(self) -> bool:
        return self.state in ("running", "paused")

    def short_name(self, project: str) -> str:
        """As docker compose prefixes log lines: without the project."""
        return self.name.removeprefix(project + "-")


def containers(places: ProjectPlaces, *, ports: bool = False) -> list[Seen]:
    """Every container of the project: services by name, replicas by number, one-off ones last."""
    published = _published(places.project) if ports else {}
    found = [_seen(places, record, published) for record in read_containers(places)]
    return sorted(found, key=lambda seen: (seen.oneoff, seen.service, seen.number, seen.name))


def _seen(places: ProjectPlaces, record: ContainerState, published: Mapping[str, tuple[Published, ...]]) -> Seen:
    labels = record.annotations
    own = _object(labels.get(OWN, "{}"))
    supervision: Mapping[str, Any] = {}
    try:
        with open(f"{places.container(record.id)}/supervision.json", encoding="utf-8") as file:
            supervision = _object(file.read())
    except OSError:
        pass
    service, number = labels.get(LABEL + "service", ""), labels.get(LABEL + "container-number", "")
    health = str(supervision.get("health") or "")
    state = "restarting" if supervision.get("restarting") and record.status == "exited" else record.status
    return Seen(
        record,
        service,
        int(number) if number.isdecimal() else 0,
        labels.get(LABEL + "oneoff") == "True",
        state,
        "" if health == "none" or record.status not in ("running", "paused") else health,
        str(own.get("image") or record.image),
        tuple(own.get("networks") or ()),
        published.get(service, ()) if record.status in ("running", "paused") else (),
        own,
        bool(supervision.get("stop_requested")),
    )


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _published(project: str) -> dict[str, tuple[Published, ...]]:
    """Service -> its published ports, from what the network keeps."""
    folder = f"{Places.default().networks}/.published"
    found: dict[str, list[Published]] = {}
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    for name in names if names else ():
        if not name.endswith(".json"):
            continue
        try:
            with open(f"{folder}/{name}", encoding="utf-8") as file:
                value = _object(file.read())
            value = value.get("published", value)
            publication = value["publication"]
            owner, _, service = publication["group"].partition("/")
            if owner == project:
                ip = str(value.get("host_ip") or "0.0.0.0")
                one = Published(ip, int(value["port"]), int(publication["target"]), str(publication["protocol"]))
                found.setdefault(service, []).append(one)
        except (OSError, KeyError, TypeError, ValueError):
            continue
    return {
        service: tuple(sorted(ports, key=lambda p: (p.target, p.protocol, p.port, p.host_ip)))
        for service, ports in found.items()
    }


def arguments(places: ProjectPlaces, seen: Seen) -> tuple[str, ...]:
    """What its first process is: the bundle's args (which it lists first), else what the file said."""
    try:
        with open(f"{places.container(seen.id)}/bundle.json", encoding="utf-8") as file:
            text = file.read(1 << 16)
        value, _ = json.JSONDecoder().raw_decode(text, text.index('"args":') + len('"args":'))
        return tuple(map(str, value))
    except (OSError, ValueError, TypeError):
        return tuple(map(str, seen.own.get("command") or ()))


def no_such_service(name: str, known: Iterable[str]) -> PycomposeError:
    """The error for a service that is not there, with what was perhaps meant."""
    from difflib import get_close_matches

    names = sorted(set(known) - {""})
    near = get_close_matches(name, names, 1, 0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"services are: {', '.join(names)}" if names else ""
    return PycomposeError(f"no such service: {name}", hint=hint)


def of_services(found: list[Seen], services: tuple[str, ...]) -> list[Seen]:
    """Those of `services` (empty: all). Raises PycomposeError for a service without a container."""
    known = {seen.service for seen in found}
    for name in services:
        if name not in known:
            raise no_such_service(name, known)
    return [seen for seen in found if not services or seen.service in services]


def one_of(found: list[Seen], service: str, index: int, *, running: bool = True) -> Seen:
    """The container of `service` with that number, or (0) its first. Raises PycomposeError."""
    mine = [seen for seen in found if seen.service == service and not seen.oneoff]
    if not mine:
        known = {seen.service for seen in found}
        if service not in known:
            error = no_such_service(service, known)
            raise PycomposeError(f"service {service!r} is not running", hint=error.hint or "`pycompose up` starts it")
    chosen = [seen for seen in mine if not index or seen.number == index]
    if index and not chosen:
        there = ", ".join(str(seen.number) for seen in mine)
        raise PycomposeError(f"service {service!r} has no container {index}", hint=f"there are: {there}")
    alive = [seen for seen in chosen if seen.state == "running"] if running else chosen
    if not alive:
        paused = any(seen.state == "paused" for seen in chosen)
        hint = f"`pycompose {'unpause' if paused else 'start'} {service}` {'lets it go on' if paused else 'starts it'}"
        raise PycomposeError(f"service {service!r} is {'paused' if paused else 'not running'}", hint=hint)
    return alive[0]
