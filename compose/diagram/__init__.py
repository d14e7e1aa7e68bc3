"""The graph of services as a picture: who starts after whom, and what each waits for. Pure.

`layout` decides where everything is, `canvas` puts characters there, `formats` writes the same graph for other
programs. It knows boxes, lines and labels; what is in a box is told from outside.
"""

from __future__ import annotations

from pycompose.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a box; `style` is a colour's name, or empty."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Edge:
    """`target` starts after `source` has come as far as `label` says."""

    source: str
    target: str
    label: str
