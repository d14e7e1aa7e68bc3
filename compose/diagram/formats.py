"""The same graph for other programs: Mermaid, Graphviz's DOT, JSON; and, where no picture fits, a table. Pure.

Arrows go from what is needed to what needs it, as things start.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

from . import Edge, Node

FILL = {"green": "#d3f9d8", "yellow": "#fff3bf", "red": "#ffe3e3", "dim": "#f1f3f5"}
NO_BREAK = "\xa0"  # a space where no line is broken


def mermaid(nodes: Sequence[Node], edges: Sequence[Edge]) -> str:
    names = {node.name: f"n{number}" for number, node in enumerate(nodes)}
    lines = ["flowchart TD"]
    for node in nodes:
        text = "<br/>".join(line.text.replace('"', "#quot;") for line in node.lines)
        lines.append(f'    {names[node.name]}["{text}"]')
    lines += [f"    {names[edge.source]} -->|{edge.label}| {names[edge.target]}" for edge in edges]
    for style, colour in FILL.items():
        if its := [names[node.name] for node in nodes if _style(node) == style]:
            lines += [f"    classDef {style} fill:{colour}", f"    class {','.join(its)} {style}"]
    return "\n".join(lines) + "\n"


def dot(name: str, nodes: Sequence[Node], edges: Sequence[Edge]) -> str:
    lines = [f"digraph {_quoted(name)} {{", "  node [shape=box, style=filled, fillcolor=white];"]
    for node in nodes:
        colour = f', fillcolor="{FILL[style]}"' if (style := _style(node)) in FILL else ""
        label = _quoted("\n".join(line.text for line in node.lines))
        lines.append(f"  {_quoted(node.name)} [label={label}{colour}];")
    lines += [f"  {_quoted(e.source)} -> {_quoted(e.target)} [label={_quoted(e.label)}];" for e in edges]
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # DOT's escapes are a part of JSON's


def _style(node: Node) -> str:
    return next((line.style for line in node.lines if line.style), "")


def levels(nodes: Sequence[Node], edges: Sequence[Edge], order: Sequence[Sequence[str]], room: int) -> list[str]:
    """What starts at once, one level after the other; each with what it waits for."""
    by_name = {node.name: node for node in nodes}
    needs: dict[str, list[str]] = {name: [] for name in by_name}
    for edge in edges:
        needs[edge.target].append(f"{edge.source}{NO_BREAK}({edge.label})")
    texts = {name: ", ".join(line.text.replace(" ", NO_BREAK) for line in node.lines) for name, node in by_name.items()}
    width = min(max(map(len, texts.values()), default=0), room // 2)
    margin = len(str(len(order))) + 2
    indent = margin + width + 8
    if indent > room // 2:
        indent = margin + 4
    lines: list[str] = []
    for number, level in enumerate(order, 1):
        for place, name in enumerate(level):
            head = f"{'' if place else number:<{margin}}{texts[name]:<{width}}"
            text = f"  after{NO_BREAK}{', '.join(needs[name])}" if needs[name] else ""
            lines += textwrap.wrap(
                head + text,
                room,
                subsequent_indent=" " * indent,
                break_long_words=False,
                break_on_hyphens=False,
                drop_whitespace=True,
            ) or [head]
    return [line.rstrip().replace(NO_BREAK, " ") for line in lines]
