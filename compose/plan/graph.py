"""Who needs whom: the services of a project as a directed graph. The only importer of networkx, and only when asked.

An edge leads from a service to one that it depends on; its `condition`, `restart` and `required` are the dependency's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pycompose.compose.model.project import Project
from pycompose.errors import PycomposeError

if TYPE_CHECKING:
    from networkx import DiGraph


class CycleError(PycomposeError):
    """Services that wait for each other; `path` starts and ends with the same one."""

    def __init__(self, path: tuple[str, ...]) -> None:
        super().__init__(
            "services depend on each other: " + " -> ".join(path), hint="take one of these dependencies away"
        )
        self.path = path


def build(project: Project) -> DiGraph[str]:
    """The graph of the active services. Raises CycleError."""
    import networkx

    graph: DiGraph[str] = networkx.DiGraph()
    graph.add_nodes_from(project.services)
    for service in project.services.values():
        for need in service.depends_on:
            if need.service in project.services:
                graph.add_edge(
                    service.name, need.service, condition=need.condition, restart=need.restart, required=need.required
                )
    if not networkx.is_directed_acyclic_graph(graph):
        edges = networkx.find_cycle(graph)
        raise CycleError((*(edge[0] for edge in edges), edges[0][0]))
    return graph


def order(project: Project) -> tuple[tuple[str, ...], ...]:
    """Levels: what can start at once, first to last. Names of a level in the order of the file. Raises CycleError."""
    import networkx

    rank = {name: index for index, name in enumerate(project.services)}
    levels = networkx.topological_generations(build(project).reverse(copy=False))
    return tuple(tuple(sorted(level, key=rank.__getitem__)) for level in levels)


def build_order(needs: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Names so that what is needed comes before what needs it, else as they were. Raises CycleError."""
    import networkx

    graph: DiGraph[str] = networkx.DiGraph()
    graph.add_nodes_from(needs)
    graph.add_edges_from((other, name) for name, others in needs.items() for other in others)
    if not networkx.is_directed_acyclic_graph(graph):
        edges = networkx.find_cycle(graph.reverse(copy=False))
        raise CycleError((*(edge[0] for edge in edges), edges[0][0]))
    rank = {name: index for index, name in enumerate(needs)}
    return list(networkx.lexicographical_topological_sort(graph, key=rank.__getitem__))
