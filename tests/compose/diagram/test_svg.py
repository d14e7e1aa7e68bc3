"""The graph as SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from pycompose.compose.diagram import Edge, Line, Node
from pycompose.compose.diagram.svg import svg

SVG = "{http://www.w3.org/2000/svg}"
NODES = [
    Node("db", (Line("db"), Line("● healthy", "green"))),
    Node("web", (Line("<script>&"),)),
    Node("alone", (Line("a"),)),
]
EDGES = [Edge("db", "web", "healthy")]


def test_boxes_names_states_and_labels_are_in_it_and_what_is_named_is_text() -> None:
    drawn = svg(NODES, EDGES)
    assert drawn is not None
    tree = ElementTree.fromstring(drawn)
    texts = [element.text for element in tree.iter(f"{SVG}text")]
    assert sorted(filter(None, texts)) == sorted(["db", "● healthy", "<script>&", "a", "healthy"])
    assert {element.tag for element in tree.iter()} == {SVG + tag for tag in ("svg", "g", "path", "rect", "text")}


def test_everything_lies_within_the_picture() -> None:
    tree = ElementTree.fromstring(svg(NODES, EDGES) or "")
    width, height = int(tree.attrib["width"]), int(tree.attrib["height"])
    for group in tree:
        left, top = map(int, group.attrib["transform"].removeprefix("translate(").rstrip(")").split(","))
        for box in group.iter(f"{SVG}rect"):
            assert left + int(box.attrib["x"]) + int(box.attrib["width"]) <= width
            assert top + int(box.attrib["y"]) + int(box.attrib["height"]) <= height


def test_what_does_not_fit_is_not_drawn() -> None:
    assert svg([Node("db", (Line("x" * 100),))], [], 20) is None
    assert svg([], []) is not None
