"""`$VAR`, `${VAR}` and its operators, in the values (never the keys) of a tree. Pure.

Source: compose specification, "Interpolation". Operators: `:-` `-` `:?` `?` `:+` `+`; operands may nest; `$$` is `$`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pycompose.compose.errors import Problem

from .source import Map, Seq, Text, Tree, text

NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
OPERATOR = re.compile(r":?[-?+]")


class InterpolationError(ValueError):
    pass


def substitute(
    value: str, lookup: Callable[[str], str | None], unset: Callable[[str], None] = lambda name: None
) -> str:
    """`value` with its variables replaced. `unset` hears of every name that has neither value nor default."""
    out: list[str] = []
    index = 0
    while True:
        dollar = value.find("$", index)
        if dollar < 0 or dollar + 1 == len(value):
            out.append(value[index:])
            return "".join(out)
        out.append(value[index:dollar])
        following = value[dollar + 1]
        if following == "$":
            out.append("$")
            index = dollar + 2
        elif following == "{":
            end = _closing(value, dollar)
            out.append(_braced(value[dollar + 2 : end], value, lookup, unset))
            index = end + 1
        elif match := NAME.match(value, dollar + 1):
            found = lookup(match[0])
            if found is None:
                unset(match[0])
            out.append(found or "")
            index = match.end()
        else:
            out.append("$")
            index = dollar + 1


def _closing(value: str, dollar: int) -> int:
    depth, index = 0, dollar
    while index < len(value):
        if value.startswith("$$", index):
            index += 2
            continue
        if value.startswith("${", index):
            depth += 1
            index += 2
            continue
        if value[index] == "}":
            depth -= 1
            if depth == 0:
                return index
        index += 1
    raise InterpolationError(f'"{value}" has a "${{" that is not closed')


def _braced(inner: str, whole: str, lookup: Callable[[str], str | None], unset: Callable[[str], None]) -> str:
    match = NAME.match(inner)
    if not match:
        raise InterpolationError(f'"{whole}" is not a valid interpolation: "${{{inner}}}"')
    name, rest = match[0], inner[match.end() :]
    found = lookup(name)
    if not rest:
        if found is None:
            unset(name)
        return found or ""
    operator = OPERATOR.match(rest)
    if not operator:
        raise InterpolationError(f'"{whole}" is not a valid interpolation: "${{{inner}}}"')
    operand = rest[operator.end() :]
    given = bool(found) if operator[0][0] == ":" else found is not None
    match operator[0][-1]:
        case "-":
            return (found or "") if given else substitute(operand, lookup, unset)
        case "+":
            return substitute(operand, lookup, unset) if given else ""
        case _:
            if given:
                return found or ""
            why = substitute(operand, lookup, unset)
            raise InterpolationError(f'variable "{name}" is required{": " + why if why else ""}')


class Interpolation:
    """One run over the files of a project: problems and warnings gather here, each unset variable once."""

    def __init__(self, variables: Mapping[str, str], *, on: bool = True) -> None:
        self.variables = variables
        self.on = on
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.warned: set[str] = set()

    def tree(self, value: Tree) -> Tree:
        return self._tree(value, {}) if self.on else value

    def _tree(self, value: Tree, made: dict[int, Tree]) -> Tree:
        if value is None:
            return None
        if isinstance(value, Text):
            return self.scalar(value) if "$" in value else value
        if id(value) in made:
            return made[id(value)]
        new: Tree
        if isinstance(value, Map):
            new = Map(value.at)
            new.keys_at, new.tags = value.keys_at, value.tags
            for key, item in value.items():
                new[key] = self._tree(item, made)
        else:
            new = Seq((self._tree(item, made) for item in value), value.at)
        made[id(value)] = new
        return new

    def scalar(self, value: Text) -> Text:
        def unset(name: str) -> None:
            if name not in self.warned:
                self.warned.add(name)
                message = f'variable "{name}" is not set; it becomes empty text'
                self.warnings.append(Problem(message, value.at, code="unset-variable"))

        try:
            return text(substitute(value, self.variables.get, unset), value.at, value.plain)
        except InterpolationError as error:
            self.problems.append(Problem(str(error), value.at, code="interpolation"))
            return value
