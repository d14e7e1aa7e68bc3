"""Compose files as trees that know their positions.

`parse` reads YAML by libyaml's parser and makes `Map`, `Seq`, `Text` and None out of it. A scalar stays text until
`build` knows which type its attribute has, so that neither `22:22` nor `no` nor `1.10` is guessed wrong. This module
alone knows PyYAML. It does not interpolate, merge or validate.
"""

from __future__ import annotations

import re

import yaml
from pycompose.compose.errors import FileError, Position, Problem

BaseLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Text(str):
    """A scalar. `plain` is False for a quoted or block scalar, which is never a number, a boolean or null."""

    at: Position | None
    plain: bool


class Map(dict[str, "Tree"]):
    """A mapping; `keys_at` has the places of its keys."""

    at: Position | None = None
    tag: str = ""

    def __init__(self, at: Position | None = None) -> None:
        super().__init__()
        self.at = at
        self.keys_at: dict[str, Position | None] = {}
        self.tags: dict[str, str] = {}  # key -> "reset" or "override"

    def put(self, key: str, value: Tree, at: Position | None = None) -> None:
        self[key] = value
        self.keys_at[key] = at


class Seq(list["Tree"]):
    at: Position | None = None

    def __init__(self, items: object = (), at: Position | None = None) -> None:
        super().__init__(items)  # type: ignore[call-overload]
        self.at = at


Tree = Map | Seq | Text | None

NULL = frozenset({"", "~", "null", "Null", "NULL"})
TRUE = frozenset({"true", "True", "TRUE"})
FALSE = frozenset({"false", "False", "FALSE"})
INTEGER = re.compile(r"[-+]?(?:0o[0-7]+|0x[0-9a-fA-F]+|[0-9]+)\Z")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")


def text(value: str, at: Position | None = None, plain: bool = False) -> Text:
    made = Text(value)
    made.at = at
    made.plain = plain
    return made


def position(value: Tree) -> Position | None:
    return None if value is None else value.at


def plain_value(value: Tree) -> object:
    """A tree as Python data, scalars by the core schema of YAML 1.2."""
    if value is None:
        return None
    if isinstance(value, Map):
        return {str(k): plain_value(v) for k, v in value.items()}
    if isinstance(value, Seq):
        return [plain_value(v) for v in value]
    if value.plain:
        if value in TRUE or value in FALSE:
            return value in TRUE
        if INTEGER.match(value):
            sign, digits = (-1, value[1:]) if value[0] == "-" else (1, value.lstrip("+"))
            base = {"0o": 8, "0x": 16}.get(digits[:2], 10)
            return sign * int(digits[2:] if base != 10 else digits, base)
        if FLOAT.match(value):
            return float(value)
    return str(value)


def parse(content: str, path: str) -> list[Tree]:
    """All documents of a file. Raises FileError."""
    try:
        nodes = list(yaml.compose_all(content, Loader=BaseLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Position(path, mark.line + 1, mark.column + 1) if mark else Position(path, 1, 1)
        raise FileError((Problem(f"not valid YAML: {error.problem or error.context}", place, code="yaml"),)) from error
    except yaml.YAMLError as error:
        raise FileError((Problem(f"not valid YAML: {error}", Position(path, 1, 1), code="yaml"),)) from error
    conversion = _Conversion(path)
    trees = [conversion.tree(node) for node in nodes if node is not None]
    if conversion.problems:
        raise FileError(tuple(conversion.problems))
    return trees


class _Conversion:
    def __init__(self, path: str) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self.made: dict[int, Tree] = {}
        self.open: set[int] = set()

    def place(self, node: yaml.Node) -> Position:
        return Position(self.path, node.start_mark.line + 1, node.start_mark.column + 1)

    def tree(self, node: yaml.Node) -> Tree:
        if isinstance(node, yaml.ScalarNode):
            plain = not node.style and not (node.tag == "tag:yaml.org,2002:str" and INTEGER.match(node.value))
            return None if plain and node.value in NULL else text(node.value, self.place(node), plain)
        key = id(node)
        if key in self.made:
            return self.made[key]
        if key in self.open:
            self.problems.append(Problem("an anchor contains itself", self.place(node), code="anchor-cycle"))
            return None
        self.open.add(key)
        if isinstance(node, yaml.SequenceNode):
            made: Tree = Seq((self.tree(item) for item in node.value), self.place(node))
        else:
            made = self.mapping(node)
        self.open.discard(key)
        self.made[key] = made
        return made

    def mapping(self, node: yaml.Node) -> Map:
        made = Map(self.place(node))
        merged: list[Map] = []
        for key_node, value_node in node.value:
            place = self.place(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem("a key must be text", place, code="key"))
                continue
            key = key_node.value
            value = self.tree(value_node)
            if key == "<<" and not key_node.style:
                sources = value if isinstance(value, Seq) else [value]
                for source in sources:
                    if isinstance(source, Map):
                        merged.append(source)
                    else:
                        self.problems.append(Problem("'<<' needs a mapping", place, code="merge-key"))
                continue
            if key in made:
                first = made.keys_at[key]
                self.problems.append(
                    Problem(
                        f'key "{key}" is given twice',
                        place,
                        f"the first is on line {first.line}" if first else "",
                        "duplicate-key",
                    )
                )
                continue
            made.put(key, value, place)
            if value_node.tag in ("!reset", "!override"):
                made.tags[key] = value_node.tag[1:]
        for source in merged:
            for key, value in source.items():
                if key not in made:
                    made.put(key, value, source.keys_at.get(key))
        return made
