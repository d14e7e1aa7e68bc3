"""Templates of --format, in the part of Go's text/template that docker's users write. Pure.

Fields, `json` and the other functions of docker's, pipes, `if` and `range` with `else`, trimmed spaces (`{{-`).
Variables, `with`, `define` and methods are not there: an error says so, before anything is printed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

from .tables import table

ACTION = re.compile(r"\{\{(-\s)?\s*(.*?)\s*(\s-)?\}\}", re.DOTALL)
WORD = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|`[^`]*`|\||\(|\)|[^\s"`|()]+)""", re.DOTALL)
NO_VALUE = "<no value>"


class TemplateError(PycomposeError):
    """A template that cannot be used."""

    def __init__(self, message: str) -> None:
        super().__init__(f"--format: {message}", hint="such as 'table {{.Name}}\\t{{.Status}}', or '{{json .}}'")


@dataclass(frozen=True, slots=True)
class _Block:
    """`if` or `range`: what it looks at, what it does, and what else."""

    word: str
    subject: tuple[str, ...]
    body: tuple[_Part, ...]
    otherwise: tuple[_Part, ...]


_Part = str | tuple[str, ...] | _Block  # text, a pipeline's words, a block


def printed(form: str, rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> str:
    """Each row by the template `form`, a line each; with "table " before it as columns at its tabs, below `titles`.

    Raises TemplateError.
    """
    form = form.replace(r"\t", "\t").replace(r"\n", "\n")
    is_table, text = form.startswith("table "), form.removeprefix("table ")
    parts = parsed(text)
    lines = [rendered(parts, row) for row in rows]
    if not is_table:
        return "".join(f"{line}\n" for line in lines)
    head = rendered(parts, _Titles(titles)).split("\t")
    cells = [line.split("\t") for line in lines]
    width = max(map(len, [head, *cells]))
    return table(_wide(head, width), [_wide(row, width) for row in cells])


def _wide(row: list[str], width: int) -> list[str]:
    return row + [""] * (width - len(row))


class _Titles(dict[str, Any]):
    """The head of a column that has no title of its own is its name in capitals."""

    def __missing__(self, key: str) -> str:
        return key.upper()


def parsed(text: str) -> tuple[_Part, ...]:
    """Raises TemplateError."""
    pieces: list[str | tuple[str, ...]] = []
    index, trim = 0, False
    for match in ACTION.finditer(text):
        before = text[index : match.start()]
        before = before.lstrip() if trim else before
        pieces.append(before.rstrip() if match[1] else before)
        pieces.append(_words(match[2]))
        index, trim = match.end(), bool(match[3])
    rest = text[index:].lstrip() if trim else text[index:]
    if "{{" in rest:
        raise TemplateError('a "{{" is not closed')
    stream = iter([*pieces, rest])
    parts, ended = _sequence(stream)
    if ended:
        raise TemplateError(f'"{ended}" without "if" or "range"')
    return parts


def _words(action: str) -> tuple[str, ...]:
    words, index = [], 0
    if action.startswith("/*"):
        return ()
    while index < len(action):
        match = WORD.match(action, index)
        if match is None:
            raise TemplateError(f'"{action}" is not understood')
        words.append(match[1])
        index = match.end()
    return tuple(words)


def _sequence(stream: Iterator[str | tuple[str, ...]]) -> tuple[tuple[_Part, ...], str]:
    """The parts up to an `else` or `end`, and which one it was."""
    parts: list[_Part] = []
    for piece in stream:
        if isinstance(piece, str):
            parts.append(piece)
            continue
        match piece:
            case ():
                pass
            case ("end",) | ("else",):
                return tuple(parts), piece[0]
            case ("if" | "range" as word, *subject):
                body, ended = _sequence(stream)
                otherwise: tuple[_Part, ...] = ()
                if ended == "else":
                    otherwise, ended = _sequence(stream)
                if ended != "end":
                    raise TemplateError(f'"{word}" has no "end"')
                parts.append(_Block(word, tuple(subject), body, otherwise))
            case _:
                parts.append(piece)
    return tuple(parts), ""


def rendered(parts: Sequence[_Part], dot: Any) -> str:
    """Raises TemplateError."""
    texts = []
    for part in parts:
        match part:
            case str():
                texts.append(part)
            case _Block("if", subject, body, otherwise):
                texts.append(rendered(body if _value(subject, dot) else otherwise, dot))
            case _Block(_, subject, body, otherwise):
                items = _value(subject, dot)
                items = list(items.values()) if isinstance(items, Mapping) else items
                items = [] if isinstance(items, str) or not items else items
                texts += [rendered(body, item) for item in items] or [rendered(otherwise, dot)]
            case _:
                texts.append(_text(_value(part, dot)))
    return "".join(texts)


def _text(value: Any) -> str:
    match value:
        case None:
            return NO_VALUE
        case bool():
            return str(value).lower()
        case Mapping():
            return "map[" + " ".join(f"{key}:{_text(item)}" for key, item in sorted(value.items())) + "]"
        case list() | tuple():
            return "[" + " ".join(map(_text, value)) + "]"
        case _:
            return str(value)


def _value(words: Sequence[str], dot: Any) -> Any:
    """Of a pipeline: each command gets what the one before it gave as its last argument."""
    commands: list[list[str]] = [[]]
    depth = 0
    for word in words:
        depth += {"(": 1, ")": -1}.get(word, 0)
        if word == "|" and depth == 0:
            commands.append([])
        else:
            commands[-1].append(word)
    piped: list[Any] = []
    for command in commands:
        arguments = _arguments(command, dot)
        if not arguments:
            raise TemplateError("a command is missing")
        first, *others = arguments
        piped = [first(*others, *piped)] if callable(first) else [first]
    return piped[0]


def _arguments(command: Sequence[str], dot: Any) -> list[Any]:
    arguments: list[Any] = []
    index = 0
    while index < len(command):
        word = command[index]
        if word == "(":
            depth, end = 1, index + 1
            while depth and end < len(command):
                depth += {"(": 1, ")": -1}.get(command[end], 0)
                end += 1
            if depth:
                raise TemplateError('a "(" is not closed')
            inner = _value(command[index + 1 : end - 1], dot)
            if end < len(command) and command[end].startswith("."):
                inner = _field(command[end], inner)
                end += 1
            arguments.append(inner)
            index = end
            continue
        arguments.append(_operand(word, dot))
        index += 1
    return arguments


def _operand(word: str, dot: Any) -> Any:
    if word[0] == '"':
        try:
            return json.loads(word)
        except ValueError:
            raise TemplateError(f"{word} is not understood") from None
    if word[0] == "`":
        return word[1:-1]
    if word.startswith("."):
        return _field(word, dot)
    if re.fullmatch(r"-?[0-9]+", word):
        return int(word)
    if word in ("true", "false"):
        return word == "true"
    if word in FUNCTIONS:
        return _checked(word, FUNCTIONS[word])
    raise TemplateError(f'"{word}" is not known; functions are: {", ".join(sorted(FUNCTIONS))}')


def _field(path: str, holder: Any) -> Any:
    """`.Name`, `.One.Other`, or `.` itself."""
    for name in filter(None, path.split(".")):
        if not isinstance(holder, Mapping):
            raise TemplateError(f'there is no field "{name}" in {_text(holder)}')
        if name not in holder and not isinstance(holder, _Titles):
            raise TemplateError(f'there is no field "{name}"; there are: {", ".join(sorted(holder))}')
        holder = holder[name]
    return holder


def _checked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise TemplateError(f'"{name}": {error}') from error

    return call


def _json(value: Any) -> str:
    return json.dumps(dict(value) if isinstance(value, Mapping) else value, ensure_ascii=False)


def _pad(text: str, left: int, right: int) -> str:
    return " " * left + text + " " * right if text else ""


def _index(holder: Any, *keys: Any) -> Any:
    for key in keys:
        holder = holder[key]
    return holder


def _printf(form: str, *arguments: Any) -> str:
    return re.sub(r"%v", "%s", form).replace("%q", '"%s"') % arguments


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "json": _json,
    "upper": str.upper,
    "lower": str.lower,
    "title": str.title,
    "split": lambda text, separator: text.split(separator),
    "join": lambda items, separator: separator.join(map(_text, items)),
    "pad": _pad,
    "truncate": lambda text, length: text[:length],
    "println": lambda *values: " ".join(map(_text, values)) + "\n",
    "print": lambda *values: "".join(map(_text, values)),
    "printf": _printf,
    "len": len,
    "index": _index,
    "eq": lambda one, *others: any(one == other for other in others),
    "ne": lambda one, other: one != other,
    "lt": lambda one, other: one < other,
    "gt": lambda one, other: one > other,
    "and": lambda *values: next((value for value in values if not value), values[-1]),
    "or": lambda *values: next((value for value in values if value), values[-1]),
    "not": lambda value: not value,
}
