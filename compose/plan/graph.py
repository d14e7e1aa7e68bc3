"""Dependency graph of the services of a project, and the orders that follow from it. The only importer of networkx.

An edge leads from a service to one that it depends on; its `condition`, `restart` and `required` are the dependency's.
Rules: pure. networkx takes longer to import than a plan takes to make, so it is imported where something is to be
ordered: not for services of which none needs another, and not for a project that bears its order (`Project.order`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pycompose.compose.model.project import Project
from pycompose.errors import PycomposeError

if TYPE_CHECKING:
    from networkx import DiGraph

Needs = Mapping[str, Collection[str]]  # name -> the names that it needs


class CycleError(PycomposeError):
    """Services that wait for each other; `path` starts and ends with the same one."""

    def __init__(self, path: tuple[str, ...]) -> None:
        super().__init__("dependency cycle detected: " + " -> ".join(path), hint="take one of these dependencies away")
        self.path = path


def needs(project: Project) -> dict[str, tuple[str, ...]]:
    """Active service -> the active services that it depends on, both in the order of the file."""
    return {
        service.name: tuple(d.service for d in service.depends_on if d.service in project.services)
        for service in project.services.values()
    }


def build(project: Project) -> DiGraph[str]:
    """The graph of the active services. Raises CycleError."""
    graph = _graph(needs(project))
    for service in project.services.values():
        for need in service.depends_on:
            if need.service in project.services:
                attributes = {"condition": need.condition, "restart": need.restart, "required": need.required}
                graph.edges[service.name, need.service].update(attributes)
    return _acyclic(graph)


def order(project: Project) -> tuple[str, ...]:
    """The active services so that what is needed comes first, else as in the file. Raises CycleError."""
    if project.order or not any(needs(project).values()):
        return project.order or tuple(project.services)
    import networkx

    return tuple(networkx.dfs_postorder_nodes(build(project)))


def ordered(project: Project) -> Project:
    """The project with its order, so that nobody has to work that out again. Raises CycleError."""
    return project if project.order else replace(project, order=order(project))


def levels(project: Project) -> tuple[tuple[str, ...], ...]:
    """What can start at once, first to last; the names of a level in the order of the file. Raises CycleError."""
    import networkx

    rank = {name: index for index, name in enumerate(project.services)}
    generations = networkx.topological_generations(build(project).reverse(copy=False))
    return tuple(tuple(sorted(level, key=rank.__getitem__)) for level in generations)


def closure(names: Iterable[str], wanted: Needs, sequence: Iterable[str]) -> set[str]:
    """`names` and all they need; `sequence` has what is needed first."""
    closed = set(names)
    for name in reversed(tuple(sequence)):  # who needs comes before what it needs: one pass is enough
        if name in closed:
            closed.update(wanted.get(name, ()))
    return closed


def sequence(wanted: Needs) -> tuple[str, ...]:
    """Names so that what is needed comes first, else as they were; a circle is broken where it closes."""
    if not any(wanted.values()):
        return tuple(wanted)
    import networkx

    return tuple(networkx.dfs_postorder_nodes(_graph(wanted)))


def build_order(wanted: Needs) -> list[str]:
    """Names so that what is needed comes before what needs it, else as they were. Raises CycleError."""
    if not any(wanted.values()):
        return list(wanted)
    import networkx

    rank = {name: index for index, name in enumerate(wanted)}
    graph = _acyclic(_graph(wanted)).reverse(copy=False)
    return list(networkx.lexicographical_topological_sort(graph, key=rank.__getitem__))


def _graph(wanted: Needs) -> DiGraph[str]:
    import networkx

    graph: DiGraph[str] = networkx.DiGraph()
    graph.add_nodes_from(wanted)
    graph.add_edges_from((name, other) for name, others in wanted.items() for other in others)
    return graph


def _acyclic(graph: DiGraph[str]) -> DiGraph[str]:
    import networkx

    if not networkx.is_directed_acyclic_graph(graph):
        edges = networkx.find_cycle(graph)
        raise CycleError((*(edge[0] for edge in edges), edges[0][0]))
    return graph
