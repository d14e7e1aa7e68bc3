"""Every graph is laid out so that it can be read: nothing lies on anything else, and every edge is there."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from pycompose.compose.diagram import Edge
from pycompose.compose.diagram.layout import Layout, lay_out, parts

LABELS = st.sampled_from(["started", "healthy", "completed", "healthy, restart"])


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, tuple[int, int]], list[Edge]]:
    count = draw(st.integers(2, 9))
    names = [f"n{number}" for number in range(count)]
    sizes = {name: (draw(st.integers(5, 20)), draw(st.integers(3, 4))) for name in names}
    edges = []
    for target in range(1, count):
        for source in draw(st.sets(st.integers(0, target - 1), min_size=1, max_size=3)):
            edges.append(Edge(names[source], names[target], draw(LABELS)))
    order = draw(st.permutations(names))
    return {name: sizes[name] for name in order}, edges


def check(layout: Layout, sizes: dict[str, tuple[int, int]], edges: list[Edge]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for name, box in layout.boxes.items():
        assert box.width >= sizes[name][0]
        for x in range(box.x, box.x + box.width):
            for y in range(box.y, box.y + box.height):
                assert (x, y) not in taken
                taken[x, y] = name
                assert 0 <= x < layout.width
                assert 0 <= y < layout.height
    used: dict[tuple[int, int], dict[int, set[str]]] = {}
    for number, wire in enumerate(layout.wires):
        ends = {wire.tail, *wire.heads}
        for x0, y0, x1, y1 in wire.runs:
            assert (x0 == x1) or (y0 == y1)
            assert x0 <= x1
            assert y0 <= y1
            for x in range(x0, x1 + 1):
                for y in range(y0, y1 + 1):
                    assert (x, y) not in taken or (x, y) in ends, "a wire runs through a box"
                    how = used.setdefault((x, y), {}).setdefault(number, set())
                    how |= {"up" for _ in range(y > y0)} | {"down" for _ in range(y < y1)}
                    how |= {"left" for _ in range(x > x0)} | {"right" for _ in range(x < x1)}
    for place, wires in used.items():
        assert len(wires) <= 2
        if len(wires) == 2:
            assert sorted(map(sorted, wires.values())) == [["down", "up"], ["left", "right"]], place
    for wire in layout.wires:
        x, y = wire.place
        for column in range(x, x + len(wire.label)):
            assert (column, y) not in taken
            assert (column, y) not in used
            taken[column, y] = wire.label
    heads = {
        (edge.source, edge.label, edge.target)
        for edge in edges
        for wire in layout.wires
        if wire.label == edge.label
        and taken[wire.tail] == edge.source
        and any(taken[head] == edge.target for head in wire.heads)
    }
    assert heads == {(edge.source, edge.label, edge.target) for edge in edges}
    assert sum(len(wire.heads) for wire in layout.wires) == len(set(edges))


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_nothing_lies_on_anything_else_and_every_edge_is_drawn(
    graph: tuple[dict[str, tuple[int, int]], list[Edge]],
) -> None:
    sizes, edges = graph
    layout = lay_out(sizes, edges, 200)
    if layout is not None:
        check(layout, sizes, edges)


@settings(max_examples=50, deadline=None)
@given(graphs(), st.integers(30, 120))
def test_what_is_laid_out_fits(graph: tuple[dict[str, tuple[int, int]], list[Edge]], room: int) -> None:
    sizes, edges = graph
    layout = lay_out(sizes, edges, room)
    assert layout is None or layout.width <= room


def test_what_is_needed_is_above() -> None:
    sizes = {name: (5, 3) for name in "dcba"}
    edges = [Edge("a", "b", "started"), Edge("b", "c", "started"), Edge("a", "c", "healthy"), Edge("d", "c", "started")]
    layout = lay_out(sizes, edges, 80)
    assert layout is not None
    rows = {name: box.y for name, box in layout.boxes.items()}
    assert rows["a"] < rows["b"] < rows["c"]
    assert rows["d"] == rows["b"], "just above what needs it"


def test_a_graph_too_large_for_a_picture_is_none_and_quick() -> None:
    names = [f"n{number}" for number in range(500)]
    edges = [Edge(names[i], names[j], "started") for j in range(1, 500) for i in {0, j - 1}]
    assert lay_out({name: (8, 3) for name in names}, edges, 200) is None


def test_parts_are_what_hangs_together() -> None:
    assert parts("abcde", [Edge("a", "c", ""), Edge("e", "d", "")]) == [["a", "c"], ["b"], ["d", "e"]]
