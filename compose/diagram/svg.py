"""The graph of services as SVG, where `layout` puts it: for pages and notebooks.

Rules: one element tree as text, with no script, no style sheet and nothing fetched; whatever is in a box is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from . import Edge, Node
from .layout import Layout, lay_out, parts

COLUMN, LINE = 8, 18  # pixels of a cell of the layout
MARGIN = 8
COLOURS = {"red": "#c62828", "yellow": "#b26a00", "green": "#2e7d32", "dim": "#757575"}
TEXT = 'font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="13" text-anchor="middle"'


def svg(nodes: Sequence[Node], edges: Sequence[Edge], room: int = 120) -> str | None:
    """The picture in at most `room` columns of the layout, or None where it does not fit. Parts that do not hang
    together stand below each other."""
    by_name = {node.name: node for node in nodes}
    elements: list[str] = []
    width, top = 0, MARGIN
    for names in parts(by_name, edges):
        sizes = {
            name: (max(len(line.text) for line in by_name[name].lines) + 4, len(by_name[name].lines) + 2)
            for name in names
        }
        layout = lay_out(sizes, [edge for edge in edges if edge.source in sizes], room)
        if layout is None:
            return None
        elements.append(f'<g transform="translate({MARGIN},{top})">{"".join(_part(layout, by_name))}</g>')
        width, top = max(width, layout.width * COLUMN), top + layout.height * LINE + LINE
    size = f'width="{width + 2 * MARGIN}" height="{top}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(elements)}</svg>'


def _part(layout: Layout, nodes: dict[str, Node]) -> list[str]:
    elements = []
    for wire in layout.wires:
        path = " ".join(f"M{_x(x0)} {_y(y0)}L{_x(x1)} {_y(y1)}" for x0, y0, x1, y1 in wire.runs)
        elements.append(f'<path d="{path}" fill="none" stroke="#90a4ae" stroke-width="1.5"/>')
        for x, y in wire.heads:
            half = COLUMN // 2
            elements.append(f'<path d="M{_x(x) - half} {_y(y) - 8}h{COLUMN}l-{half} 8z" fill="#607d8b"/>')
    for name, box in layout.boxes.items():
        x, y = box.x * COLUMN, box.y * LINE + LINE // 2
        size = f'width="{box.width * COLUMN}" height="{(box.height - 1) * LINE}"'
        elements.append(f'<rect x="{x}" y="{y}" {size} rx="6" fill="#fafafa" stroke="#546e7a"/>')
        for number, line in enumerate(nodes[name].lines, start=1):
            centre = x + box.width * COLUMN // 2
            elements.append(_text(centre, box.y + number, line.text, COLOURS.get(line.style, "#212121")))
    for wire in layout.wires:
        if wire.label:
            column, row = wire.place
            room = len(wire.label) * COLUMN
            place = f'x="{column * COLUMN}" y="{row * LINE + 2}"'
            elements.append(f'<rect {place} width="{room}" height="{LINE - 4}" fill="#ffffff"/>')
            elements.append(_text(column * COLUMN + room // 2, row, wire.label, COLOURS["dim"]))
    return elements


def _text(x: int, row: int, text: str, colour: str) -> str:
    return f'<text x="{x}" y="{row * LINE + 13}" fill="{colour}" {TEXT}>{escape(text)}</text>'


def _x(column: int) -> int:
    return column * COLUMN + COLUMN // 2


def _y(row: int) -> int:
    return row * LINE + LINE // 2
