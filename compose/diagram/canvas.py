"""A layout as lines of text: boxes, wires with heads, labels; in Unicode's line characters or in ASCII's. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pycompose.frozen import dataclass

from . import Edge, Node
from .layout import Layout, lay_out, parts

UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
Paint = Callable[[str, str], str]  # (text, style) -> text


@dataclass(frozen=True, slots=True)
class Glyphs:
    lines: str  # by the sides that meet: UP + DOWN + LEFT + RIGHT
    head: str


UNICODE = Glyphs(" │││─┘┐┤─└┌├─┴┬┼", "▼")
ASCII = Glyphs(" |||-++|-++|-+++", "v")


def draw(
    nodes: Sequence[Node], edges: Sequence[Edge], room: int, glyphs: Glyphs = UNICODE, paint: Paint | None = None
) -> list[str] | None:
    """The picture of a graph in at most `room` columns, or None where it does not fit. Parts that do not hang together
    stand beside each other, or below."""
    by_name = {node.name: node for node in nodes}
    pictures: list[_Canvas] = []
    for names in parts(by_name, edges):
        sizes = {name: _size(by_name[name]) for name in names}
        layout = lay_out(sizes, [edge for edge in edges if edge.source in sizes], room)
        if layout is None:
            return None
        pictures.append(_Canvas(layout, by_name, glyphs))
    lines: list[str] = []
    for row in _rows(sorted(pictures, key=lambda one: -one.layout.height), room):
        lines += ["", *_beside(row, paint)] if lines else _beside(row, paint)
    return lines


def _size(node: Node) -> tuple[int, int]:
    return max(len(line.text) for line in node.lines) + 4, len(node.lines) + 2


def _rows(pictures: list[_Canvas], room: int) -> list[list[_Canvas]]:
    rows: list[list[_Canvas]] = []
    used = 0
    for picture in pictures:
        if rows and used + 4 + picture.layout.width <= room:
            rows[-1].append(picture)
            used += 4 + picture.layout.width
        else:
            rows.append([picture])
            used = picture.layout.width
    return rows


def _beside(row: list[_Canvas], paint: Paint | None) -> list[str]:
    height = max(picture.layout.height for picture in row)
    lines = [""] * height
    for number, picture in enumerate(row):
        last = number == len(row) - 1
        for y in range(height):
            lines[y] += picture.line(y, paint) + ("" if last else "    ")
    return [line.rstrip() for line in lines]


class _Canvas:
    def __init__(self, layout: Layout, nodes: dict[str, Node], glyphs: Glyphs) -> None:
        self.layout, self.glyphs = layout, glyphs
        self.cells: dict[tuple[int, int], tuple[str, str]] = {}  # (x, y) -> character, style
        self._wires()
        for name, box in layout.boxes.items():
            self._box(nodes[name], box.x, box.y, box.width, box.height)
        for wire in layout.wires:
            x, y = wire.tail
            self.cells[x, y] = (glyphs.lines[LEFT + RIGHT + DOWN], "")
            for x, y in wire.heads:
                self.cells[x, y] = (glyphs.head, "")
            self._text(*wire.place, wire.label, "dim")

    def line(self, y: int, paint: Paint | None) -> str:
        """One line, as wide as the picture."""
        line, run, style = "", "", ""
        for x in range(self.layout.width):
            character, its = self.cells.get((x, y), (" ", ""))
            if its != style:
                line, run, style = line + (paint(run, style) if paint and style else run), "", its
            run += character
        return line + (paint(run, style) if paint and style else run)

    def _wires(self) -> None:
        sides: dict[tuple[int, int], dict[int, int]] = {}  # (x, y) -> wire -> sides that it uses
        for number, wire in enumerate(self.layout.wires):
            for x0, y0, x1, y1 in wire.runs:
                for x in range(x0, x1 + 1):
                    for y in range(y0, y1 + 1):
                        cell = sides.setdefault((x, y), {})
                        bits = (UP * (y > y0)) | (DOWN * (y < y1)) | (LEFT * (x > x0)) | (RIGHT * (x < x1))
                        cell[number] = cell.get(number, 0) | bits
        for place, wires in sides.items():
            uses = list(wires.values())
            if len(uses) > 1:  # two that cross: the one that goes down is in front
                uses = [max(uses, key=lambda bits: bits & (UP | DOWN))]
            self.cells[place] = (self.glyphs.lines[uses[0]], "")

    def _box(self, node: Node, x: int, y: int, width: int, height: int) -> None:
        lines = self.glyphs.lines
        across, down = lines[LEFT + RIGHT], lines[UP + DOWN]
        self._text(x, y, lines[DOWN + RIGHT] + across * (width - 2) + lines[DOWN + LEFT])
        for number, line in enumerate(node.lines):
            self._text(x, y + 1 + number, down + " " * (width - 2) + down)
            left = (width - 2 - len(line.text)) // 2
            self._text(x + 1 + left, y + 1 + number, line.text, line.style)
        self._text(x, y + height - 1, lines[UP + RIGHT] + across * (width - 2) + lines[UP + LEFT])

    def _text(self, x: int, y: int, text: str, style: str = "") -> None:
        for place, character in enumerate(text):
            self.cells[x + place, y] = (character, style)
