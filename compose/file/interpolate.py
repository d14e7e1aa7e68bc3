"""`$VAR`, `${VAR}` and its operators, in the values (never the keys) of a tree. Pure.

Source: compose specification, "Interpolation". Operators: `:-` `-` `:?` `?` `:+` `+`; operands may nest; `$$` is `$`.
What comes out is bounded, however often a long variable is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from .source import Map, Seq, Text, Tree, text

if TYPE_CHECKING:
    from .reading import Reading

LENGTH = 16 << 20  # of one value, in characters
TOTAL = 64 << 20  # of all values of a project
NESTING = 50
NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
OPERATOR = re.compile(r":?[-?+]")
LITERAL = "a variable is ${NAME} or ${NAME:-default}; a $ that is meant as such is written $$"
SHORTER = "is a variable in it a whole file?"
BRACE = re.compile(r"[{}]")


class InterpolationError(ValueError):
    """A value that cannot be filled in; `hint` says what to try."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def substitute(
    value: str, lookup: Callable[[str], str | None], unset: Callable[[str], None] = lambda name: None, depth: int = 0
) -> str:
    """`value` with its variables replaced. `unset` hears of every name that has neither value nor default."""
    if depth > NESTING:
        raise InterpolationError(f"interpolations are nested more than {NESTING} deep", "nest fewer defaults")
    out: list[str] = []
    index = length = 0
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
            end = closing(value, dollar)
            if end is None:
                raise InterpolationError(f'"{_short(value)}" has a "${{" that is not closed', LITERAL)
            out.append(_braced(value[dollar + 2 : end], lookup, unset, depth))
            index = end + 1
        elif match := NAME.match(value, dollar + 1):
            known = lookup(match[0])
            if known is None:
                unset(match[0])
            out.append(known or "")
            index = match.end()
        else:
            out.append("$")
            index = dollar + 1
        length += len(out[-1])
        if length > LENGTH:
            raise InterpolationError("the value becomes too long", SHORTER)


def closing(value: str, dollar: int) -> int | None:
    """Where the `${` at `dollar` ends: braces count, so that a default may be JSON; else at the last `}` there is."""
    depth = 0
    for brace in BRACE.finditer(value, dollar):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    last = value.rfind("}", dollar)
    return None if last < 0 else last


def _short(value: str) -> str:
    return value if len(value) <= 60 else value[:57] + "…"


def _braced(inner: str, lookup: Callable[[str], str | None], unset: Callable[[str], None], depth: int) -> str:
    match = NAME.match(inner)
    if not match:
        raise InterpolationError(f'"${{{_short(inner)}}}" is not a valid interpolation', LITERAL)
    name, rest = match[0], inner[match.end() :]
    known = lookup(name)
    if not rest:
        if known is None:
            unset(name)
        return known or ""
    operator = OPERATOR.match(rest)
    if not operator:
        raise InterpolationError(f'"${{{_short(inner)}}}" is not a valid interpolation', LITERAL)
    operand = rest[operator.end() :]
    usable = bool(known) if operator[0][0] == ":" else known is not None
    match operator[0][-1]:
        case "-":
            return (known or "") if usable else substitute(operand, lookup, unset, depth + 1)
        case "+":
            return substitute(operand, lookup, unset, depth + 1) if usable else ""
        case _:
            if usable:
                return known or ""
            why = substitute(operand, lookup, unset, depth + 1)
            message = f"required variable {name} is missing a value{': ' + why if why else ''}"
            raise InterpolationError(message, f"set it: in the shell, or as {name}=… in the file .env")


class Interpolation:
    """The values of one or several trees, filled in from one set of variables. Problems go to `reading`."""

    def __init__(self, variables: Mapping[str, str], reading: Reading) -> None:
        self.variables = variables
        self.reading = reading

    def tree(self, value: Tree) -> Tree:
        return self._tree(value, {})

    def _tree(self, value: Tree, copies: dict[int, Tree]) -> Tree:
        if value is None:
            return None
        if isinstance(value, Text):
            return self.scalar(value) if "$" in value else value
        if id(value) in copies:
            return copies[id(value)]
        new: Tree
        if isinstance(value, Map):
            new = Map(value.at)
            new.keys_at, new.tags, new.scope = value.keys_at, value.tags, value.scope
            for key, item in value.items():
                new[key] = self._tree(item, copies)
        else:
            new = Seq((self._tree(item, copies) for item in value), value.at)
        copies[id(value)] = new
        return new

    def scalar(self, value: Text) -> Text:
        try:
            filled = substitute(value, self.variables.get, lambda name: self.reading.unset(name, value.at))
            self.reading.filled += len(filled)
            if self.reading.filled > TOTAL:
                raise InterpolationError("all values together become too long", SHORTER)
            return text(filled, value.at, value.plain, filled=True)
        except InterpolationError as error:
            self.reading.lacking = True
            if not self.reading.existing:
                self.reading.problem(str(error), value.at, error.hint, "interpolation")
            return value
