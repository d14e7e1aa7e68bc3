"""A project as a notebook shows it, by MIME type: its graph with live states as SVG, its containers as HTML, and text.

Rules: what anybody can have named is escaped; nothing is fetched, and no script runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from pycompose.compose.app import service_graph

from .service_objects import Container

if TYPE_CHECKING:
    from pycompose.compose.model.observed import PublishedPort
    from pycompose.compose.model.project import Project

COLUMNS = 120  # of the layout that the picture may take


def bundle(title: str, description: Project, containers: Iterable[Container]) -> dict[str, str]:
    """The project as it is now; no SVG where its graph is wider than the page."""
    from pycompose.compose.diagram.svg import svg

    observed = service_graph.containers_of(description.name)
    nodes = service_graph.nodes_of(description, observed, marked=True)
    drawn = svg(nodes, service_graph.edges_of(description), COLUMNS)
    plain = "\n".join([title, *(f"  {' '.join(line.text for line in node.lines)}" for node in nodes)])
    texts = {"text/plain": plain, "text/html": f"<div>{drawn or ''}{table(containers)}</div>"}
    return {**texts, "image/svg+xml": drawn} if drawn else texts


def table(containers: Iterable[Container]) -> str:
    """Containers as HTML, empty where there are none."""
    rows = [
        (one.name, one.health or one.status, ", ".join(one.addresses.values()), ", ".join(map(_port, one.ports)))
        for one in containers
    ]
    if not rows:
        return ""
    lines = ["".join(f"<td>{escape(text)}</td>" for text in row) for row in rows]
    head = "".join(f"<th>{text}</th>" for text in ("container", "state", "address", "ports"))
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _port(port: PublishedPort) -> str:
    return f"{port.host_ip}:{port.published}→{port.target}/{port.protocol}"


def preformatted(text: str) -> dict[str, str]:
    """A text as it is, by MIME type."""
    return {"text/plain": text, "text/html": f"<pre>{escape(text)}</pre>"}
