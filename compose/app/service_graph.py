"""The graph of a project's services, as drawings and other programs take it: nodes with their states, edges, levels.

Where the project has containers, each service tells how it fares. Rules: needs no root and nobody running; records that
may not be read are as if there were none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from pycompose.compose.state import observe

if TYPE_CHECKING:
    from pycompose.compose.diagram import Edge, Line, Node
    from pycompose.compose.model.observed import ObservedContainer
    from pycompose.compose.model.project import Dependency, Project

GraphForm = Literal["ascii", "unicode", "mermaid", "dot", "json"]
TIMES = "\N{MULTIPLICATION SIGN}"
# how a container is, in a word: its colour and its mark; the worst of a service's is the service's
STATES = {
    "unhealthy": ("red", "✖"),
    "failed": ("red", "✖"),
    "dead": ("red", "✖"),
    "restarting": ("yellow", "◌"),
    "starting": ("yellow", "◌"),
    "paused": ("yellow", "◌"),
    "removing": ("yellow", "◌"),
    "running": ("green", "●"),
    "healthy": ("green", "●"),
    "completed": ("green", "✔"),
    "stopped": ("dim", "○"),
    "created": ("dim", "○"),
    "not created": ("dim", "○"),
}


def drawn(
    described: Project,
    services: tuple[str, ...],
    form: GraphForm,
    room: int = 120,
    paint: Callable[[str, str], str] = lambda text, _: text,
) -> str:
    """The graph of the services named (empty: all) and what they depend on, as text, at most `room` columns wide.

    `paint` gives a text of a drawing its style.
    """
    from pycompose.compose.diagram import canvas, formats
    from pycompose.compose.plan import graph as graphs

    described = part(described, services)
    order, containers = graphs.levels(described), containers_of(described.name)
    if form == "json":
        return json.dumps(as_data(described, order, containers), indent=2, ensure_ascii=False) + "\n"
    nodes, edges = nodes_of(described, containers, marked=form != "ascii"), edges_of(described)
    if form == "mermaid":
        return formats.mermaid(nodes, edges)
    if form == "dot":
        return formats.dot(described.name, nodes, edges)
    glyphs = canvas.ASCII if form == "ascii" else canvas.UNICODE
    lines = canvas.draw(nodes, edges, room, glyphs, paint)
    return "\n".join(formats.levels(nodes, edges, order, room) if lines is None else lines) + "\n"


def part(whole: Project, services: tuple[str, ...]) -> Project:
    """The services named, and what they depend on."""
    if not services:
        return whole
    from dataclasses import replace

    from pycompose.compose.plan.select import chosen

    return replace(whole, services={name: whole.services[name] for name in chosen(whole, services)})


def containers_of(name: str) -> dict[str, list[ObservedContainer]]:
    """By service; empty where the project has none, or we may not look."""
    from pycompose.runtime.places import Places

    by_service: dict[str, list[ObservedContainer]] = {}
    try:
        for container in observe.containers(Places.default().project(name)):
            if not container.oneoff:
                by_service.setdefault(container.service, []).append(container)
    except OSError:
        return {}
    return by_service


def nodes_of(described: Project, containers: dict[str, list[ObservedContainer]], *, marked: bool) -> list[Node]:
    from pycompose.compose.diagram import Line, Node

    nodes = []
    for service in described.services.values():
        times = TIMES if marked else "x"
        lines = [Line(service.name + (f" {times}{service.replicas}" if service.replicas != 1 else ""))]
        if containers:
            lines.append(_state(containers.get(service.name, []), service.replicas, marked=marked))
        nodes.append(Node(service.name, tuple(lines)))
    return nodes


def edges_of(described: Project) -> list[Edge]:
    from pycompose.compose.diagram import Edge

    return [
        Edge(need.service, service.name, label(need))
        for service in described.services.values()
        for need in service.depends_on
        if need.service in described.services
    ]


def label(need: Dependency) -> str:
    """What is waited for, in a word: "healthy"; and whether it is optional, or restarts the dependent with it."""
    word = {"service_completed_successfully": "completed"}.get(need.condition, need.condition.removeprefix("service_"))
    return word + (", restart" if need.restart else "") + ("" if need.required else ", optional")


def _word(container: ObservedContainer) -> str:
    if container.status == "exited":
        return (
            "completed" if container.exit_code == 0 else "stopped" if container.supervision.stop_requested else "failed"
        )
    return container.health or container.status


def _state(containers: list[ObservedContainer], replicas: int, *, marked: bool) -> Line:
    """How a service's containers are: "healthy", "2 of 3 running", "2 running, 1 failed"."""
    from pycompose.compose.diagram import Line

    words = sorted((_word(container) for container in containers), key=list(STATES).index)
    if not words:
        words = ["not created"] if replicas else []
    counts = {word: words.count(word) for word in reversed(words)}
    worst = words[0] if words else "not created"
    if len(containers) <= 1 and replicas <= 1:
        text = worst if replicas or containers else "none wanted"
    elif not containers:
        text = worst
    else:
        text = ", ".join(f"{count} {word}" for word, count in counts.items())
        if len(counts) == 1 and len(containers) != replicas:
            text = f"{len(containers)} of {replicas} {worst}"
    colour, mark = STATES[worst]
    return Line(f"{mark} {text}" if marked else text, colour)


def as_data(
    described: Project, order: Sequence[Sequence[str]], containers: dict[str, list[ObservedContainer]]
) -> dict[str, object]:
    level = {name: number for number, names in enumerate(order) for name in names}
    return {
        "name": described.name,
        "services": [
            {
                "name": service.name,
                "image": service.image,
                "replicas": service.replicas,
                "level": level[service.name],
                "depends_on": [
                    {
                        "service": need.service,
                        "condition": need.condition,
                        "restart": need.restart,
                        "required": need.required,
                    }
                    for need in service.depends_on
                    if need.service in described.services
                ],
                "containers": [
                    {
                        "name": container.name,
                        "state": container.status,
                        "health": container.health,
                        "exit_code": container.exit_code,
                    }
                    for container in containers.get(service.name, ())
                ],
            }
            for service in described.services.values()
        ],
    }
