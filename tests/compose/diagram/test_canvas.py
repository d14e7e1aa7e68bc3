"""Pictures in golden lines, for terminals with and without Unicode; the same graph for other programs."""

from __future__ import annotations

from collections.abc import Mapping

from pycompose.compose.diagram import Edge, Line, Node, formats
from pycompose.compose.diagram.canvas import ASCII, UNICODE, Glyphs, draw


def graph(needs: Mapping[str, str], styles: Mapping[str, str] | None = None) -> tuple[list[Node], list[Edge]]:
    """`needs`: service -> "database=healthy cache", as it depends on them."""
    styles = styles or {}
    nodes = [
        Node(
            name,
            (
                Line(name),
                *((Line(styles[name].partition(":")[2], styles[name].partition(":")[0]),) if name in styles else ()),
            ),
        )
        for name in needs
    ]
    edges = []
    for name, others in needs.items():
        for other in others.split():
            source, _, label = other.partition("=")
            edges.append(Edge(source, name, label or "started"))
    return nodes, edges


def picture(needs: Mapping[str, str], room: int = 80, glyphs: Glyphs = UNICODE) -> str:
    lines = draw(*graph(needs), room, glyphs)
    return "nothing" if lines is None else "\n".join(["", *lines, ""])


PIPELINE = {"database": "", "migrate": "database=healthy", "worker": "migrate=completed", "web": "migrate=completed"}


def test_what_is_needed_is_above_and_a_label_is_told_once() -> None:
    assert (
        picture(PIPELINE)
        == """
     ┌──────────┐
     │ database │
     └─────┬────┘
           │ healthy
      ┌────▼────┐
      │ migrate │
      └────┬────┘
           │ completed
     ┌─────┴─────┐
┌────▼───┐    ┌──▼──┐
│ worker │    │ web │
└────────┘    └─────┘
"""
    )


def test_a_terminal_without_unicode_gets_ascii() -> None:
    assert (
        picture(PIPELINE, glyphs=ASCII)
        == """
     +----------+
     | database |
     +-----+----+
           | healthy
      +----v----+
      | migrate |
      +----+----+
           | completed
     +-----+-----+
+----v---+    +--v--+
| worker |    | web |
+--------+    +-----+
"""
    )


def test_wires_go_round_what_is_between_and_one_service_may_wait_for_many() -> None:
    needs = {"db": "", "cache": "", "api": "db=healthy cache", "web": "api=healthy db=healthy"}
    assert (
        picture(needs)
        == """
┌────┐          ┌───────┐
│ db │          │ cache │
└──┬─┘          └───┬───┘
   │ healthy        │ started
   └──┬────┐   ┌────┘
      │   ┌▼───▼┐
      │   │ api │
      │   └──┬──┘
      │      │ healthy
      └─┐   ┌┘
       ┌▼───▼┐
       │ web │
       └─────┘
"""
    )


def test_a_layer_too_wide_for_the_terminal_goes_on_below() -> None:
    assert (
        picture({"db": "", **{f"service-{n}": "db=healthy" for n in range(6)}}, 60)
        == """
                          ┌────┐
                          │ db │
                          └──┬─┘
                             │ healthy
            ┌─────────┬──────┼──────────────────┐
      ┌─────▼─────┐   │   ┌──▼────────┐   ┌─────▼─────┐
      │ service-0 │   │   │ service-1 │   │ service-2 │
      └───────────┘   │   └───────────┘   └───────────┘
      ┌───────────────┼───────────────┐
┌─────▼─────┐   ┌─────▼─────┐   ┌─────▼─────┐
│ service-3 │   │ service-4 │   │ service-5 │
└───────────┘   └───────────┘   └───────────┘
"""
    )


def test_services_of_their_own_stand_beside_each_other() -> None:
    assert (
        picture({"a": "", "b": "", "c": "b"}, 40)
        == """
┌───┐           ┌───┐
│ b │           │ a │
└─┬─┘           └───┘
  │ started
┌─▼─┐
│ c │
└───┘
"""
    )


def test_what_does_not_fit_is_a_table() -> None:
    needs = {"a-service-with-a-long-name": "", "b": "a-service-with-a-long-name=healthy"}
    nodes, edges = graph(needs)
    assert draw(nodes, edges, 20) is None
    assert formats.levels(nodes, edges, [["a-service-with-a-long-name"], ["b"]], 70) == [
        "1  a-service-with-a-long-name",
        "2  b",
        "       after a-service-with-a-long-name (healthy)",
    ]


def test_only_what_is_in_boxes_is_painted_and_widths_stay() -> None:
    nodes, edges = graph({"a": "", "b": "a"}, {"a": "green:running"})
    plain = draw(nodes, edges, 80)
    painted = draw(nodes, edges, 80, UNICODE, lambda text, style: f"<{style}>{text}</>")
    assert plain is not None
    assert painted is not None
    assert any("<green>running</>" in line for line in painted)
    stripped = [line.replace("<green>", "").replace("<dim>", "").replace("</>", "") for line in painted]
    assert stripped == plain


def test_mermaid_and_dot_say_the_same() -> None:
    nodes, edges = graph({"db": "", 'w"b': "db=healthy"}, {"db": "green:running"})
    assert (
        formats.mermaid(nodes, edges)
        == """\
flowchart TD
    n0["db<br/>running"]
    n1["w#quot;b"]
    n0 -->|healthy| n1
    classDef green fill:#d3f9d8
    class n0 green
"""
    )
    assert (
        formats.dot("p", nodes, edges)
        == """\
digraph "p" {
  node [shape=box, style=filled, fillcolor=white];
  "db" [label="db\\nrunning", fillcolor="#d3f9d8"];
  "w\\"b" [label="w\\"b"];
  "db" -> "w\\"b" [label="healthy"];
}
"""
    )
