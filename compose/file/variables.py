"""Variables that a file asks for, with their defaults, as `config --variables` lists them. Pure.

It reads the values of a tree that is not interpolated yet, by the grammar of `interpolate`; what cannot be
interpolated is passed over here; there it is a problem.
"""

from __future__ import annotations

import re
from dataclasses import replace

from pycompose.frozen import dataclass

from .interpolate import closing
from .source import Text, Tree

_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_BRACED = re.compile(r"([_a-zA-Z][_a-zA-Z0-9]*)(:?[-?+])?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    required: bool = False
    default: str = ""
    alternate: str = ""  # what `:+` or `+` puts in its place


def variables(tree: Tree) -> dict[str, Variable]:
    """By name, in the order of the file; what several places say of one variable is put together."""
    by_name: dict[str, Variable] = {}
    visited: set[int] = set()
    pending: list[Tree] = [tree]
    while pending:
        value = pending.pop()
        if isinstance(value, Text):
            if "$" in value:
                _of(value, by_name)
        elif value is not None and id(value) not in visited:  # an alias may stand in many places
            visited.add(id(value))
            pending += reversed(value.values() if isinstance(value, dict) else value)
    return by_name


def _of(text: str, variables: dict[str, Variable]) -> None:
    index = 0
    while 0 <= (index := text.find("$", index)) < len(text) - 1:
        if text[index + 1] == "$":
            index += 2
        elif text[index + 1] == "{":
            end = closing(text, index)
            end = len(text) if end is None else end
            _braced(text[index + 2 : end], variables)
            index = end + 1
        else:
            if match := _NAME.match(text, index + 1):
                variables.setdefault(match[0], Variable(match[0]))
            index += 1


def _braced(inner: str, variables: dict[str, Variable]) -> None:
    match = _BRACED.match(inner)
    if match is None:
        return
    name, operator, operand = match[1], match[2] or "", inner[match.end() :]
    known = variables.setdefault(name, Variable(name))
    match operator[-1:]:
        case "-":
            known = replace(known, default=known.default or operand)
        case "+":
            known = replace(known, alternate=known.alternate or operand)
        case "?":
            known = replace(known, required=True)
    variables[name] = known
    _of(operand, variables)
