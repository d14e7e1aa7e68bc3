"""The one reader of what exists on this machine for a project, from records alone: nobody need run, nothing is changed.

Rules: imports neither trio nor pyroute2, so that `ps` is fast. What a container keeps of its service, beyond docker
compose's labels, is one annotation of ours (`Own`). A missing or odd record means "not known", never an error: commands
that look work whatever has been killed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import field

from pycompose.compose.model.codec import from_json
from pycompose.compose.model.lifetime import Healthcheck, RestartCondition, RestartPolicy
from pycompose.compose.model.observed import (
    Label,
    Observed,
    ObservedContainer,
    ObservedNetwork,
    ObservedVolume,
    OneOff,
    PublishedPort,
    Supervision,
)
from pycompose.dataclass_json import Codec
from pycompose.frozen import dataclass
from pycompose.runtime.places import Places, ProjectPlaces
from pycompose.runtime.state.container_record import ContainerState, content, read_containers

from . import network_changes

SUPERVISION = "supervision.json"
OWN = "io.pycompose.service"  # the annotation
ARGS = '{"spec":{"process":{"args":'  # how a bundle begins (`runtime.spec.to_json`)
_CODEC = Codec()


@dataclass(frozen=True, slots=True)
class Own:
    """What a container must remember of the service it was made from. Read leniently: an older one lacks fields."""

    generation: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    hash_parts: Mapping[str, str] = field(default_factory=dict)
    restart: tuple[RestartCondition, int | None] = ("no", None)
    networks: tuple[str, ...] = ()  # real names
    volumes: Mapping[str, str] = field(default_factory=dict)  # target -> name
    anonymous: tuple[str, ...] = ()
    depends_on: tuple[tuple[str, str, bool], ...] = ()
    grace: float | None = None
    signal: str | None = None
    healthcheck: Healthcheck | None = None  # the image's merged in
    shared: Mapping[str, str] = field(default_factory=dict)  # namespace -> id of the container that has it
    restart_delay: float | None = None
    restart_window: float | None = None
    volume_donors: tuple[str, ...] = ()  # ids of the containers of volumes_from
    mounted_images: Mapping[str, str] = field(default_factory=dict)  # target -> digest
    hook: int | None = None  # it is the container of that pre_start hook
    restart_unhealthy: bool = False
    unlogged: bool = False  # nothing that it writes is kept
    exposed: tuple[str, ...] = ()  # "80/tcp", "81-82/udp": of its service and its image
    one_off: OneOff | None = None

    def text(self) -> str:
        return _CODEC.to_json(self)

    @classmethod
    def of(cls, annotations: Mapping[str, str]) -> Own:
        try:
            return _CODEC.from_json(cls, annotations.get(OWN, "{}"))
        except ValueError:
            return cls()

    def policy(self) -> RestartPolicy:
        condition, attempts = self.restart
        return RestartPolicy(condition, attempts, self.restart_delay, self.restart_window, self.restart_unhealthy)


def containers(
    places: ProjectPlaces, roots: Places | None = None, *, ports: bool = False, addresses: bool = False
) -> list[ObservedContainer]:
    """Every container of the project: services by name, replicas by number, one-off ones last.

    What they publish and their addresses are read from other folders, where that is asked for.
    """
    roots = roots or Places.default()
    published = _published(roots, places.project) if ports else {}
    return _containers(places, published, _leases(roots) if addresses else ())


def _containers(
    places: ProjectPlaces, published: Mapping[str, tuple[PublishedPort, ...]], leases: Iterable[_LeaseOnRecord]
) -> list[ObservedContainer]:
    addresses = _addresses(leases)
    observed = [_container(places, state, addresses.get(state.id, {}), published) for state in read_containers(places)]
    return sorted(observed, key=lambda c: (c.oneoff, c.service, c.number, c.name))


def observe(places: ProjectPlaces, roots: Places | None = None) -> Observed:
    """The project's containers, networks and volumes."""
    roots = roots or Places.default()
    leases = list(_leases(roots))
    users = _users(leases, places.project)
    ours = tuple(c for c in _containers(places, _published(roots, places.project), leases) if c.labels)
    return Observed(
        places.project,
        ours,
        tuple(
            ObservedNetwork(
                name,
                labels.get(Label.NETWORK, name),
                labels.get(Label.CONFIG_HASH, ""),
                labels=labels,
                in_use=users.get(name, ()),
            )
            if labels.get(Label.PROJECT) == places.project
            else ObservedNetwork(name, "", labels=labels)
            for name, labels in _labelled(roots.networks, "network.json")
        ),
        volumes(places, roots),
        frozenset(_lost(places, ours)),
    )


def volumes(
    places: ProjectPlaces, roots: Places | None = None, names: Iterable[str] | None = None
) -> tuple[ObservedVolume, ...]:
    """The volumes of this machine, or those of these names; of other projects and of none without a key."""
    return tuple(
        ObservedVolume(name, labels.get(Label.VOLUME, ""), labels.get(Label.CONFIG_HASH, ""), labels=labels)
        if labels.get(Label.PROJECT) == places.project
        else ObservedVolume(name, "", labels=labels)
        for name, labels in _labelled((roots or Places.default()).volumes, "volume.json", names)
    )


def _lost(places: ProjectPlaces, ours: Iterable[ObservedContainer]) -> Iterator[str]:
    """Donors of other projects that are gone."""
    for donor in {donor for container in ours for donor in container.shared.values() if "/" in donor}:
        if not os.path.exists(places.donor(donor)):
            yield donor


def _labelled(folder: str, record: str, names: Iterable[str] | None = None) -> Iterator[tuple[str, dict[str, str]]]:
    """Every one on this machine: those of other projects, or of none, may be external ones of this."""
    for entry in sorted((os.listdir(folder) if names is None else names) if os.path.isdir(folder) else ()):
        if entry.startswith("."):
            continue  # what is being made or removed; also by who was killed meanwhile
        with suppress(OSError, ValueError), open(f"{folder}/{entry}/{record}") as file:
            yield entry, json.load(file).get("labels") or {}


@dataclass(frozen=True, slots=True)
class _LeaseOnRecord:
    """One owner's place on one network."""

    network: str
    address: str
    owner: str
    name: str  # of the container
    project: str


def _leases(roots: Places) -> Iterator[_LeaseOnRecord]:
    """The places of all containers of this machine that run."""
    for network in os.listdir(roots.networks) if os.path.isdir(roots.networks) else ():
        folder = f"{roots.networks}/{network}/leases"
        for address in os.listdir(folder) if os.path.isdir(folder) else ():
            with suppress(OSError, ValueError, KeyError), open(f"{folder}/{address}") as file:
                tree = json.load(file)
                names, owner = tree.get("names") or [], tree["owner"]
                name = names[1] if len(names) > 1 else owner[:12]
                yield _LeaseOnRecord(network, address, owner, name, tree.get("project", ""))


def _addresses(leases: Iterable[_LeaseOnRecord]) -> dict[str, dict[str, str]]:
    """Owner -> network -> address."""
    addresses: dict[str, dict[str, str]] = {}
    for lease in leases:
        addresses.setdefault(lease.owner, {})[lease.network] = lease.address
    return addresses


def _users(leases: Iterable[_LeaseOnRecord], project: str) -> dict[str, tuple[str, ...]]:
    """Network -> containers of other projects that are on it."""
    users: dict[str, tuple[str, ...]] = {}
    for lease in leases:
        if lease.project != project:
            users[lease.network] = (*users.get(lease.network, ()), lease.name)
    return users


def _published(roots: Places, project: str) -> dict[str, tuple[PublishedPort, ...]]:
    """Service, or SERVICE/CONTAINER -> its ports on the host."""
    ports_of: dict[str, list[PublishedPort]] = {}
    folder = f"{roots.networks}/.published"
    for entry in os.listdir(folder) if os.path.isdir(folder) else ():
        with suppress(OSError, ValueError, KeyError, TypeError), open(f"{folder}/{entry}") as file:
            tree = json.load(file)
            tree = tree.get("published", tree)
            publication = tree["publication"]
            owner, _, group = publication["group"].partition("/")
            if owner == project:
                ip = tree.get("host_ip") or "0.0.0.0"
                port = PublishedPort(ip, int(tree["port"]), publication["target"], publication["protocol"])
                ports_of.setdefault(group, []).append(port)
    return {group: tuple(ports) for group, ports in ports_of.items()}


def _container(
    places: ProjectPlaces,
    state: ContainerState,
    addresses: dict[str, str],
    ports: Mapping[str, tuple[PublishedPort, ...]],
) -> ObservedContainer:
    labels = state.annotations
    labelled, supervision = Own.of(labels), _supervision(f"{places.container(state.id)}/{SUPERVISION}")
    service, number = labels.get(Label.SERVICE, ""), labels.get(Label.NUMBER, "")
    running = state.status in ("running", "paused")
    networks = network_changes.read(places.container(state.id)).networks(labelled.networks)
    groups = (*([] if labelled.one_off else [service]), f"{service}/{state.id}")
    return ObservedContainer(
        id=state.id,
        name=state.name,
        service=service,
        number=int(number) if number.isdecimal() else 0,
        status="restarting" if supervision.restarting and not running else state.status,  # type: ignore[arg-type]
        oneoff=labels.get(Label.ONEOFF, "False") == "True" or Label.HOOK in labels,
        auto_remove=labelled.one_off is not None and labelled.one_off.auto_remove,
        hook=labels.get(Label.HOOK, ""),
        unlogged=labelled.unlogged,
        image=labelled.image or state.image,
        image_digest=labels.get(Label.IMAGE, ""),
        command=labelled.command,
        config_hash=labels.get(Label.CONFIG_HASH, ""),
        hash_parts=labelled.hash_parts,
        generation=labelled.generation,
        created=state.created,
        started=state.started or None,
        finished=state.finished or None,
        pid=state.pid or None,
        exit_code=state.exit_code,
        oom_killed=state.oom_killed,
        supervision=supervision,
        restart=labelled.policy(),
        healthcheck=labelled.healthcheck,
        networks=networks,
        addresses=addresses if running else {},
        volumes=labelled.volumes,
        anonymous_volumes=labelled.anonymous,
        ports=_in_order(ports, *groups) if running and labelled.networks else (),
        exposed=labelled.exposed if running and labelled.networks else (),
        depends_on=labelled.depends_on,
        shared=labelled.shared,
        volume_donors=labelled.volume_donors,
        mounted_images=labelled.mounted_images,
        stop_grace_period=labelled.grace,
        stop_signal=labelled.signal,
        labels=labels,
    )


def _in_order(ports: Mapping[str, tuple[PublishedPort, ...]], *groups: str) -> tuple[PublishedPort, ...]:
    listed = [port for group in groups for port in ports.get(group, ())]
    return tuple(sorted(listed, key=lambda p: (p.target, p.protocol, p.published, p.host_ip)))


def _supervision(path: str) -> Supervision:
    try:
        return from_json(Supervision, content(path))
    except (OSError, ValueError):
        return Supervision()


def arguments(places: ProjectPlaces, container: ObservedContainer) -> tuple[str, ...]:
    """What its first process is: the arguments of its bundle, else what the file said."""
    try:
        text = content(f"{places.container(container.id)}/bundle.json").decode()
        if text.startswith(ARGS):  # first in what we write: the other 15 kB need not be read
            return tuple(json.JSONDecoder().raw_decode(text, len(ARGS))[0])
        return tuple(json.loads(text)["spec"]["process"]["args"])
    except (OSError, ValueError, LookupError, TypeError):
        return container.command
