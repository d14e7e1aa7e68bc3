"""Compose files as trees that know their positions.

`parse` turns YAML's events (of libyaml where PyYAML has it; the pure parser gives the same) into `Map`, `Seq`, `Text`
and None. A scalar stays text until `build` knows which type its attribute has, so that neither `22:22` nor `no` nor
`1.10` is guessed wrong. This module alone knows PyYAML. It does not interpolate, merge or validate.

Rules: whatever the bytes are, the work is bounded (`BYTES`, `VALUES` after aliases are written out, `DEPTH`), nothing
recurses, and what is wrong is a FileError with its place. A tree is never changed once it is made, so that an anchor's
aliases may share one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

import yaml
from pycompose.compose.model.errors import FileError, Problem
from pycompose.errors import Place

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

TAB_INDENTS = "not valid YAML: found character that cannot start any token: a tab cannot indent"
BYTES = 16 << 20
VALUES = 1_000_000  # as many as compose-go lets aliases make
DEPTH = 100


class Text(str):
    """A scalar. `plain` is False for a quoted or block scalar, which is never a number, a boolean or null.

    `filled` is set where a variable's value was put in: that is text, whatever it looks like.
    """

    __slots__ = ("at", "filled", "plain")

    at: Place | None
    plain: bool
    filled: bool


class Map(dict[str, "Tree"]):
    """A mapping; `keys_at` has the places of its keys, `tags` those that say "reset" or "override".

    `scope` is set on what an included file defines: the variables that file is read with, None for the project's own.
    `joined` marks pairs of several files.
    """

    __slots__ = ("at", "joined", "keys_at", "scope", "tags")

    def __init__(self, at: Place | None = None) -> None:
        super().__init__()
        self.at = at
        self.keys_at: dict[str, Place | None] = {}
        self.tags: dict[str, str] = {}
        self.scope: Mapping[str, str] | None = None
        self.joined = False

    def put(self, key: str, value: Tree, at: Place | None = None) -> None:
        self[key] = value
        self.keys_at[key] = at

    def copy(self) -> Map:
        mapping = Map(self.at)
        mapping.update(self)
        mapping.keys_at, mapping.tags, mapping.scope = dict(self.keys_at), dict(self.tags), self.scope
        mapping.joined = self.joined
        return mapping

    def replaced(self, key: str, value: Tree) -> Map:
        """A copy with another value for a key that is there."""
        mapping = self.copy()
        mapping[key] = value
        return mapping

    def without(self, *keys: str) -> Map:
        mapping = self.copy()
        for key in keys:
            mapping.pop(key, None)
            mapping.keys_at.pop(key, None)
        return mapping


class Seq(list["Tree"]):
    __slots__ = ("at",)

    def __init__(self, items: Iterable[Tree] = (), at: Place | None = None) -> None:
        super().__init__(items)
        self.at = at


Tree = Map | Seq | Text | None

NULL = frozenset({"", "~", "null", "Null", "NULL"})
TRUE = frozenset({"true", "True", "TRUE"})
FALSE = frozenset({"false", "False", "FALSE"})
INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)\Z")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")


def text(value: str, at: Place | None = None, plain: bool = False, filled: bool = False) -> Text:
    scalar = Text(value)
    scalar.at = at
    scalar.plain = plain
    scalar.filled = filled
    return scalar


def position(value: Tree) -> Place | None:
    return None if value is None else value.at


def whole(value: str) -> int | None:
    """A plain scalar as YAML reads a whole number: 0b, 0o, 0x, a leading 0 for octal, `_` between digits."""
    if not INTEGER.match(value):
        return None
    digits = value.replace("_", "").lower()
    sign = -1 if digits[0] == "-" else 1
    digits = digits.lstrip("+-")
    base = {"0b": 2, "0o": 8, "0x": 16}.get(digits[:2])
    if base is None and len(digits) > 1 and digits[0] == "0" and digits.strip("01234567") == "":
        base = 8
    if len(digits) > 40:  # no attribute has such a number, and int() of very long text takes long, or raises
        return None
    try:
        return sign * (int(digits[2:], base) if base and digits[1] in "box" else int(digits, base or 10))
    except ValueError:  # "0x_"
        return None


def spelled(value: Text) -> str:
    """A scalar as the text that docker compose makes of it, where text is wanted and YAML has a number or a boolean.

    compose-go lets YAML decide first and Go print the result: True is true, 1.10 is 1.1, 0x10 is 16.
    """
    if not value.plain or value.filled:
        return str(value)
    if value in TRUE or value in FALSE:
        return "true" if value in TRUE else "false"
    if value in NOT_FINITE:
        return NOT_FINITE[value]
    if (integer := whole(value)) is not None and -(1 << 63) <= integer < 1 << 64:
        return str(integer)
    digits = value.replace("_", "")
    if FLOAT.match(digits) and len(digits) < 400 and math.isfinite(number := float(digits)):
        return _as_go(number)
    return str(value)


NOT_FINITE = {
    sign + word: infinity
    for sign, infinity in (("", "+Inf"), ("+", "+Inf"), ("-", "-Inf"))
    for word in (".inf", ".Inf", ".INF")
} | {word: "NaN" for word in (".nan", ".NaN", ".NAN")}


def _as_go(number: float) -> str:
    """The fewest digits that mean it, with an exponent where the first one's place is below -4 or above 5 (strconv)."""
    from decimal import Decimal  # 2 ms, for files with a fraction where text is wanted

    sign, digits, shift = Decimal(repr(number)).normalize().as_tuple()
    assert isinstance(shift, int)
    minus, figures = "-" if sign else "", "".join(map(str, digits))
    place = len(figures) + shift - 1
    if figures == "0":
        return f"{minus}0"
    if -4 <= place < 6:
        return minus + format(Decimal(figures).scaleb(shift), "f")
    fraction = f".{figures[1:]}" if len(figures) > 1 else ""
    return f"{minus}{figures[0]}{fraction}e{place:+03d}"


def plain_value(value: Tree) -> object:
    """A tree as Python data, scalars by the core schema of YAML 1.2."""
    if value is None:
        return None
    if isinstance(value, Map):
        return {str(k): plain_value(v) for k, v in value.items()}
    if isinstance(value, Seq):
        return [plain_value(v) for v in value]
    if value.plain and not value.filled:
        if value in TRUE or value in FALSE:
            return value in TRUE
        if (integer := whole(value)) is not None:
            return integer
        if FLOAT.match(value) and len(value) < 40 and math.isfinite(number := float(value)):
            return number
    return str(value)


def _fail(message: str, at: Place, hint: str = "", code: str = "yaml") -> FileError:
    return FileError((Problem(message, at, hint, code),))


TAB = re.compile(r" *\t")
ASCII_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@cache
def control() -> re.Pattern[str]:
    """The characters that YAML does not allow. Compiling it takes 4 ms, which most files do not need."""
    return re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def decode(data: bytes, path: str) -> str:
    """The text of a file: UTF-8, or UTF-16 with a byte order mark. Raises FileError."""
    if len(data) > BYTES:
        message = f"the file is larger than {BYTES >> 20} MiB"
        raise _fail(message, Place(path, 1, 1), "is it the right file?", "too-large")
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        content = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" in data[:8192]:
            raise _fail("the file is binary, not text", Place(path, 1, 1), code="binary") from error
        start = data.rfind(b"\n", 0, error.start) + 1
        column = len(data[start : error.start].decode("utf-8", "replace")) + 1
        place = Place(path, data.count(b"\n", 0, error.start) + 1, column)
        message = f"the file is not UTF-8 text: byte 0x{data[error.start]:02x}"
        raise _fail(message, place, "save it as UTF-8", "encoding") from error
    if "\0" in content:
        raise _fail("the file is binary, not text", Place(path, 1, 1), code="binary")
    return content


def place_in(content: str, index: int, path: str) -> Place:
    start = content.rfind("\n", 0, index) + 1
    return Place(path, content.count("\n", 0, index) + 1, index - start + 1)


def parse(content: str, path: str, warnings: list[Problem] | None = None) -> list[Tree]:
    """All documents of a file that are not empty. Raises FileError; what is odd is added to `warnings`."""
    if odd := (ASCII_CONTROL if content.isascii() else control()).search(content):
        message = f"the character U+{ord(odd[0]):04X} is not allowed in YAML"
        raise _fail(message, place_in(content, odd.start(), path), 'write it as an escape in "…"')
    builder = _Builder(path)
    try:
        trees: list[Tree] = [tree for tree in builder.documents(yaml.parse(content, Loader=Loader)) if tree is not None]
    except yaml.YAMLError as error:
        raise FileError((*builder.problems, _explained(error, content, path))) from error
    if builder.problems:
        raise FileError(tuple(builder.problems))
    if warnings is not None:
        warnings += builder.warnings
    return trees


# (part of) a message of either parser -> our message, and the hint
EXPLANATIONS = (
    (
        ("mapping values are not allowed",),
        'a ": " cannot stand here',
        'text that has ": " in it needs quotes; or the line is indented wrongly',
    ),
    (("could not find expected ':'",), "a key has no colon", "a key is followed by a colon and a space: `key: value`"),
    (
        ("did not find expected key", "expected <block end>", "did not find expected '-'"),
        "this does not continue what stands above",
        "the indentation here, or just above, does not fit; or a bracket or quote is not closed",
    ),
    (
        ("did not find expected ',' or", "expected ',' or"),
        "a comma or a closing bracket is missing",
        "text that has : , [ ] { } in it needs quotes inside brackets",
    ),
    (
        ("did not find expected node content", "expected the node content", "sequence entries are not allowed"),
        "a value cannot begin with this",
        "is a value or a closing bracket missing, or the indentation wrong?",
    ),
    (("expected <document start>", "expected '<document start>'"), "the document has ended above", "is it indented?"),
    (
        ("unknown escape", "escape sequence"),
        "this escape is not known",
        r"in \"…\" a backslash is written \\; '…' keeps it",
    ),
    (("quoted scalar",), "a quote is not closed", "a quote ends with one of its kind; inside '…' it is written twice"),
)


def _explained(error: yaml.YAMLError, content: str, path: str) -> Problem:
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem(f"not valid YAML: {error}", Place(path, 1, 1), code="yaml")
    said, context = error.problem or "", error.context or ""
    mark = error.problem_mark or error.context_mark
    if "end of stream" in said and "quoted" in context:
        mark = error.context_mark
    place = Place(path, mark.line + 1, mark.column + 1) if mark else Place(path, 1, 1)
    if "nesting depth" in said:  # libyaml looks ahead in brackets, and has a bound of its own
        return _deep(place)
    if "cannot start any token" in said:
        lines = content.split("\n", place.line)
        line = lines[place.line - 1] if place.line <= len(lines) else ""
        character = line[place.column - 1 : place.column]
        if character == "\t":
            return Problem(TAB_INDENTS, place, "indent with spaces", "yaml")
        if character:
            return Problem(f'not valid YAML: "{character}" cannot begin a value', place, "put it in quotes", "yaml")
    if tab := _tab(content, place):
        return Problem(TAB_INDENTS, tab, "indent with spaces", "yaml")
    for parts, message, hint in EXPLANATIONS:
        if any(part in said or part in context for part in parts):
            return Problem(f"not valid YAML: {message}", place, hint, "yaml")
    return Problem(f"not valid YAML: {said or context}", place, code="yaml")


def _tab(content: str, place: Place) -> Place | None:
    """Where a tab indents: the line to blame, or the one before it."""
    lines = content.split("\n", place.line)[: place.line]
    for number in (place.line, place.line - 1):
        if 0 < number <= len(lines) and (match := TAB.match(lines[number - 1])):
            return Place(place.path, number, match.end())
    return None


class _Open:
    """A mapping or sequence whose end event is still to come."""

    __slots__ = ("anchor", "at", "key", "key_at", "merged", "repeated", "size", "tag", "value")

    def __init__(self, value: Map | Seq, at: Place, anchor: str | None, tag: str | None) -> None:
        self.value = value
        self.at = at
        self.anchor = anchor
        self.tag = tag
        self.size = 1
        self.key: Text | None = None  # of a mapping: the key whose value comes next
        self.key_at: Place | None = None
        self.repeated = False
        self.merged: list[Map] = []


class _Builder:
    def __init__(self, path: str) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.anchors: dict[str, tuple[Tree, int, str | None]] = {}
        self.stack: list[_Open] = []

    def documents(self, events: Iterator[yaml.Event]) -> Iterator[Tree]:
        stack, count = self.stack, 0
        for event in events:
            tag: str | None = None
            node: Tree
            size = 1
            if isinstance(event, yaml.ScalarEvent):
                at, tag = self.place(event), event.tag
                node = text(event.value, at, not event.style)
                if tag is not None:
                    node = self.tagged(node, tag)
                if event.anchor is not None:
                    self.anchors[event.anchor] = (node, 1, tag)
            elif isinstance(event, yaml.CollectionStartEvent):
                at = self.place(event)
                if len(stack) == DEPTH:
                    raise FileError((*self.problems, _deep(at)))
                empty: Map | Seq = Map(at) if isinstance(event, yaml.MappingStartEvent) else Seq((), at)
                stack.append(_Open(empty, at, event.anchor, event.tag))
                continue
            elif isinstance(event, yaml.CollectionEndEvent):
                closed = stack.pop()
                node, size, tag, at = self.finished(closed), closed.size, closed.tag, closed.at
                if closed.anchor is not None:
                    self.anchors[closed.anchor] = (node, size, tag)
            elif isinstance(event, yaml.AliasEvent):
                at = self.place(event)
                node, size, tag = self.alias(event.anchor or "", at)
            else:
                if isinstance(event, yaml.DocumentStartEvent):
                    self.anchors.clear()
                continue
            count += 1
            if not stack:
                yield _or_null(node)
                continue
            inside = stack[-1]
            inside.size += size
            if count > VALUES or inside.size > VALUES:
                raise FileError((*self.problems, _many(at)))
            if isinstance(inside.value, Map):
                self.entry(inside, inside.value, node, tag, at)
            else:
                if tag == "!reset":
                    message = "!reset of an item of a list leaves that item out; the list that is overridden stays"
                    self.warnings.append(
                        Problem(message, at, "!reset and !override belong before the value of a key", "tag")
                    )
                else:
                    inside.value.append(_or_null(node))

    def place(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        assert mark is not None
        return Place(self.path, mark.line + 1, mark.column + 1)

    def alias(self, name: str, at: Place) -> tuple[Tree, int, str | None]:
        """What an anchor stands for, its size, and its tag: `!reset` and `!override` are where the alias is, too."""
        if name in self.anchors:
            return self.anchors[name]
        if any(one.anchor == name for one in self.stack):
            self.problems.append(Problem(f'anchor "{name}" contains itself', at, code="anchor-cycle"))
        else:
            from pycompose.compose.model.suggest import suggestion

            hint = suggestion(name, self.anchors) or f"an anchor is written &{name}, above and in the same document"
            self.problems.append(Problem(f"unknown anchor '{name}' referenced", at, hint, "anchor"))
        return None, 1, None

    def tagged(self, value: Text, tag: str) -> Text:
        match tag.removeprefix("tag:yaml.org,2002:"):
            case "str" | "!":
                value.plain = False
            case "int" | "float" | "bool" | "null" | "merge" | "timestamp":
                value.plain = True
            case "binary":
                import base64

                try:
                    return text(base64.b64decode(value).decode(), value.at)
                except ValueError:
                    self.problems.append(Problem("!!binary must be base64 of UTF-8 text", value.at, code="tag"))
            case "!reset" | "!override":
                pass
            case _:
                self.warnings.append(Problem(f"the tag {tag} has no meaning here", value.at, code="tag"))
        return value

    def entry(self, inside: _Open, mapping: Map, value: Tree, tag: str | None, at: Place) -> None:
        """A key, or the value of the key before it."""
        key = inside.key
        if key is None:
            if not isinstance(value, Text):
                self.problems.append(Problem("a key must be text", at, "such as name: value", "key"))
                value = text("", at)
                inside.repeated = True
            else:
                if value.plain and (value in TRUE or value in FALSE or FLOAT.match(value) or whole(value) is not None):
                    kind = "a boolean" if value in TRUE or value in FALSE else "a number"
                    message, hint = f"a key must be text, and {value} is {kind}", f'put it in quotes: "{value}"'
                    self.problems.append(Problem(message, at, hint, "key"))
                inside.repeated = value in mapping.keys_at
            inside.key, inside.key_at = value, at
            return
        inside.key = None
        value = _or_null(value)
        if key == "<<" and key.plain:
            for source in value if isinstance(value, Seq) else [value]:
                if isinstance(source, Map):
                    inside.merged.append(source)
                else:
                    self.problems.append(Problem("'<<' needs a mapping", inside.key_at, code="merge-key"))
        elif inside.repeated:
            if (first := mapping.keys_at.get(key)) is not None:
                message, hint = f'mapping key "{key}" already defined at line {first.line}', "take one of the two away"
                self.problems.append(Problem(message, inside.key_at, hint, "duplicate-key"))
        else:
            mapping.put(str(key), value, inside.key_at)
            if tag in ("!reset", "!override"):
                mapping.tags[key] = tag[1:]

    def finished(self, closed: _Open) -> Map | Seq:
        node = closed.value
        if isinstance(node, Map):
            for source in closed.merged:
                closed.size += len(source)
                for key, value in source.items():
                    if key not in node:
                        node.put(key, value, source.keys_at.get(key))
                        if key in source.tags:
                            node.tags[key] = source.tags[key]
        return node


def _or_null(value: Tree) -> Tree:
    return None if isinstance(value, Text) and value.plain and value in NULL else value


def _deep(at: Place) -> Problem:
    return Problem(f"values are nested more than {DEPTH} deep", at, code="too-deep")


def _many(at: Place) -> Problem:
    hint = "aliases count as what they stand for"
    return Problem(f"the file has more than {VALUES:,} values", at, hint, "too-many")
