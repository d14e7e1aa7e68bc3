"""Consistency of a file: references, exclusions, cycles. Each finding has the place that is to blame.

Only services whose profile is active are looked at, as docker compose does. Source: compose-go, checkConsistency, and
what the engine would refuse later. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from pycompose.compose.model.deployment import LanguageModel
from pycompose.compose.model.known_words import INVALID
from pycompose.compose.model.project import FileSource, Network, Service, Volume
from pycompose.errors import Place
from pycompose.frozen import dataclass

from . import startable
from .mounting import named_volumes
from .paths import WINDOWS, volume_parts
from .reading import Reading, Section, one_of
from .resources import place
from .service import origin_of
from .source import Map, Seq, Text, Tree, position

CYCLES = 10  # reported at most


@dataclass(frozen=True, slots=True)
class Whole:
    """All that the files define."""

    services: Mapping[str, Service]
    sections: Mapping[str, Section]  # by service
    active: frozenset[str]
    networks: Mapping[str, Network]
    volumes: Mapping[str, Volume]
    configs: Mapping[str, FileSource]
    secrets: Mapping[str, FileSource]
    models: Mapping[str, LanguageModel]


def check(whole: Whole, reading: Reading) -> None:
    active = [(service, whole.sections[name]) for name, service in whole.services.items() if name in whole.active]
    for service, section in active:
        _alone(service, section)
        startable.check(service, section)
        _needed(service, section, whole)
        _dependencies(service, section, whole)
    _container_names(active, reading)
    _published(active, reading)
    for path in cycles({service.name: _edges(service, whole) for service, _ in active}):
        _tell_cycle(path, whole, reading)


def _alone(service: Service, section: Section) -> None:
    """What one service says against itself."""
    reading, name = section.reading, section.name
    named = any(section.map.get(key) for key in ("image", "build", "provider"))  # a wrong one is told of already
    if (
        service.image is None
        and service.build is None
        and service.provider is None
        and not (named or section.malformed)
    ):
        hint = "image: host runs what is installed on this machine"
        message = f"{name} has neither an image nor a build context specified: {INVALID}"
        reading.problem(message, section.origin, hint, "no-image")
    mode = service.network_mode
    if mode is not None and service.networks:
        hint = f"networks are at {section.map.keys_at.get('networks')}"
        message = f"service {service.name} declares mutually exclusive `network_mode` and `networks`: {INVALID}"
        reading.problem(message, section.at("network_mode"), hint, "conflict")
    if mode is not None and service.ports:
        if mode in ("host", "none"):
            message = f"ports of {name} have no effect with network_mode {mode}"
            reading.warn_once(f"ports of {name}", message, section.at("ports"), "no-effect")
        elif mode.startswith(("service:", "container:")):
            message = f"{name} has no network of its own, so that it cannot publish ports"
            hint = f"network_mode is at {section.at('network_mode')}; publish them where the network is"
            reading.obstacle(service.name, message, section.at("ports"), hint, "conflict")
    for port in service.ports:
        if port.protocol == "sctp":
            message = f"port {port.target}/sctp of {name} cannot be published on this machine"
            reading.obstacle(service.name, message, section.at("ports"), "tcp and udp can", "port")
    if service.container_name is not None and service.replicas > 1:
        where = "scale" if "scale" in section else "deploy.replicas"
        message = f"{section.path(where)}: can't set container_name and {service.name} as container name must be unique"
        message = f"{message}: {INVALID}"
        hint = f"{where} is at {place(section, *where.split('.'))}"
        reading.problem(message, section.at("container_name"), hint, "conflict")
    for mount in service.mounts:
        if WINDOWS.match(mount.target):
            message = f'target "{mount.target}" of {name} is a path of Windows'
            hint = "containers of this machine are Linux's: a target such as /data"
            reading.obstacle(service.name, message, _place_of_target(section, mount.target), hint, "windows")
    if (check := service.healthcheck) and check.start_interval is not None and check.start_period is None:
        message = f"start_interval of {name} has no effect without start_period"
        reading.warn_once(f"start_interval of {name}", message, place(section, "healthcheck", "start_interval"))
    if build := service.build:
        if build.dockerfile_inline is not None and build.dockerfile is not None:
            message = f"{name} declares mutualy exclusive dockerfile and dockerfile_inline: {INVALID}"
            hint = f"dockerfile is at {place(section, 'build', 'dockerfile')}"
            reading.problem(message, place(section, "build", "dockerfile_inline"), hint, "conflict")
        if build.platforms and service.platform is not None and service.platform not in build.platforms:
            message = f'service.build.platforms MUST include service.platform "{service.platform}": {INVALID}'
            hint = f"the platform of {name} is at {section.at('platform')}"
            reading.problem(message, place(section, "build", "platforms"), hint, "conflict")
    develop = section.map.get("develop")
    listed = develop.get("watch") if isinstance(develop, Map) else None
    for number, watch in enumerate(service.develop.watch if service.develop else ()):
        at = position(listed[number]) if isinstance(listed, Seq) and number < len(listed) else None
        if watch.action in ("sync", "sync+restart", "sync+exec") and not watch.target:
            asked = section.path("develop.watch")
            message = f"{asked}: target is required for non-rebuild actions: {INVALID}"
            hint = f"{watch.action} needs it: the folder in the container that is kept the same"
            reading.problem(message, at, hint, "required")
        if watch.action == "sync+exec" and (watch.exec is None or not watch.exec.command):
            reading.problem(
                f'a watch of {name} with the action "sync+exec" needs exec.command',
                at,
                "exec: {command: …}",
                "required",
            )


def _needed(service: Service, section: Section, whole: Whole) -> None:
    """What a service refers to by its name is defined."""

    def missing(attribute: str, kind: str, name: str, known: Mapping[str, object]) -> None:
        hint = section.reading.suggestion(name, known) or _define(attribute, known)
        section.reading.problem(_undefined(service, kind, name), _place_of(section, attribute, name), hint, "undefined")

    for attachment in service.networks:
        if attachment.network not in whole.networks and attachment.network != "default":
            missing("networks", "network", attachment.network, whole.networks)
    for name in named_volumes(service):
        if name not in whole.volumes:
            missing("volumes", "volume", name, whole.volumes)
    for attribute, kind, uses, known in (
        ("configs", "config", service.configs, whole.configs),
        ("secrets", "secret", service.secrets, whole.secrets),
    ):
        for use in uses:
            if use.source not in known:
                missing(attribute, kind, use.source, known)
            elif (source := known[use.source]).environment is not None and source.content is None:
                message = f'{kind} "{use.source}" of service "{service.name}" is in no variable "{source.environment}"'
                at = _place_of(section, attribute, use.source)
                hint = "set it, or put it into .env"
                section.reading.obstacle(service.name, message, at, hint, "unset-variable")
    for name in service.models:
        if name not in whole.models:
            missing("models", "model", name, whole.models)
    for used in service.build.secrets if service.build else ():
        if used.source and used.source not in whole.secrets:
            at = place(section, "build", "secrets")
            hint = section.reading.suggestion(used.source, whole.secrets) or _define("secrets", whole.secrets)
            section.reading.problem(_undefined(service, "build secret", used.source), at, hint, "undefined")


def _undefined(service: Service, kind: str, name: str) -> str:
    return f'service "{service.name}" refers to undefined {kind} {name}: {INVALID}'


def _define(attribute: str, known: Mapping[str, object]) -> str:
    return f'define it under the top-level "{attribute}"' + (f"; {one_of(known)}" if known else "")


def _dependencies(service: Service, section: Section, whole: Whole) -> None:
    reading = section.reading
    for need in service.depends_on:
        at = _edge(section, need.service)
        message = f'service "{service.name}" depends on undefined service "{need.service}": {INVALID}'
        if need.service not in whole.services:
            hint = reading.suggestion(need.service, whole.services) or one_of(whole.services)
            if need.required:
                reading.problem(message, at, hint, "undefined")
            else:
                reading.lax(message.removesuffix(f": {INVALID}"), at)
            continue
        other = whole.services[need.service]
        if need.service not in whole.active and need.required:
            hint = f"its profile is not active: --profile {other.profiles[0]} activates it"
            reading.problem(message, at, hint, "profile")
    for name, context in (service.build.additional_contexts if service.build else {}).items():
        wanted = context.removeprefix("service:")
        if wanted != context and wanted not in whole.services:
            message = f'the build of service "{service.name}" needs the image of "{wanted}", which is not defined'
            at = place(section, "build", "additional_contexts", name) or place(section, "build", "additional_contexts")
            reading.problem(
                message, at, reading.suggestion(wanted, whole.services) or one_of(whole.services), "undefined"
            )


def _container_names(active: list[tuple[Service, Section]], reading: Reading) -> None:
    taken: dict[str, Section] = {}
    services_of: dict[str, str] = {}
    for service, section in active:
        if (name := service.container_name) is None:
            continue
        if name in taken:
            other = taken[name]
            holder = services_of[name]
            message = f'{section.path()}: container name "{name}" is already in use by service {holder}'
            hint = f"the other is at {other.at('container_name')}"
            at = section.at("container_name")
            reading.obstacle(service.name, message, at, hint, "conflict", services_of[name])
        else:
            taken[name], services_of[name] = section, service.name


def _published(active: list[tuple[Service, Section]], reading: Reading) -> None:
    """One port of the host for two services: only one of them can have it when both run."""
    taken: dict[tuple[int, str, str], Section] = {}
    for service, section in active:
        if service.network_mode in ("host", "none"):
            continue
        for port in service.ports:
            if port.published is None or port.published[0] != port.published[1]:
                continue
            key = port.published[0], port.host_ip or "", port.protocol
            other = taken.setdefault(key, section)
            if other is not section:
                message = f"{section.name} publishes port {key[0]}/{key[2]}, which {other.name} does too"
                reading.warn_once(f"port {key}", message, section.at("ports"), "conflict")


def _edges(service: Service, whole: Whole) -> list[str]:
    return [need.service for need in service.depends_on if need.service in whole.active]


def cycles(edges: Mapping[str, list[str]]) -> Iterator[list[str]]:
    """Paths that come back to where they start (the first and the last name), each closed by another edge; few.

    The standard library's graph, not `plan.graph`: whoever reads a file asks this, and networkx takes longer to import.
    """
    closing: set[tuple[str, str]] = set()
    while len(closing) < CYCLES:
        sorter = TopologicalSorter({name: () for name in edges})
        for name, others in edges.items():
            for other in others:
                if (name, other) not in closing:
                    sorter.add(other, name)
        try:
            sorter.prepare()
        except CycleError as error:
            path = error.args[1]
            closing.add((path[-2], path[-1]))
            yield path
        else:
            return


def _tell_cycle(path: list[str], whole: Whole, reading: Reading) -> None:
    shown = path if len(path) <= 12 else [*path[:6], "…", *path[-6:]]
    places = [f"{a} needs {b} at {_edge(whole.sections[a], b)}" for a, b in pairwise(path)][:5]
    hint = "take one of these away: " + ", ".join(places)
    message = "dependency cycle detected: " + " -> ".join(shown)
    reading.problem(message, _edge(whole.sections[path[0]], path[1]), hint, "cycle")


def _edge(section: Section, service: str) -> Place | None:
    """Where a service says that it needs another."""
    attribute = origin_of(section, service)
    return _place_of(section, attribute, service)


def _place_of_target(section: Section, target: str) -> Place | None:
    """Where a service's volumes name a target."""
    value = section.map.get("volumes")
    for item in value if isinstance(value, Seq) else ():
        if isinstance(item, Text) and target in volume_parts(item):
            return item.at
        if isinstance(item, Map) and isinstance(named := item.get("target"), Text) and named == target:
            return named.at
    return section.at("volumes")


def _place_of(section: Section, attribute: str, name: str) -> Place | None:
    """Where an attribute names something: as a key, as (the first part of) a text in a list, or as a source."""
    value: Tree = section.map.get(attribute)
    if isinstance(value, Map):
        return value.keys_at.get(name) or section.at(attribute)
    for item in value if isinstance(value, Seq) else ():
        if isinstance(item, Text) and item.partition(":")[0] == name:
            return item.at
        if isinstance(item, Map) and isinstance(source := item.get("source"), Text) and source == name:
            return source.at
    return section.at(attribute)
