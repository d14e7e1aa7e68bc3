"""Syntax of Go's text/template: a template's text as nodes. Pure.

Actions, pipelines, variables, `if`, `range`, `with` and their `else`, `break`, `continue`, trimmed spaces, comments.
Templates that name others (`define`, `template`, `block`) are an error: docker's have no names.
"""

from __future__ import annotations

import re
from typing import Any

from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)+')|(?P<raw>`[^`]*`)|(?P<number>[+-]?(?:0[xX][0-9a-fA-F]+"""
    r"""|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?))(?![\w.])|(?P<field>\.[A-Za-z_]\w*)|(?P<dot>\.)|(?P<variable>\$\w*)"""
    r"""|(?P<name>[A-Za-z_]\w*)|(?P<mark>:=|=|\||\(|\)|,))""",
)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)")


class TemplateError(PycomposeError):
    """A template that cannot be used."""

    def __init__(self, message: str) -> None:
        super().__init__(f"--format: {message}", hint="such as 'table {{.Name}}\\t{{.Status}}', or '{{json .}}'")


@dataclass(frozen=True, slots=True)
class Literal:
    value: Any


@dataclass(frozen=True, slots=True)
class Path:
    """Fields of what `base` is: the dot (None), a variable ("$x"), or a pipeline in parentheses."""

    base: str | Pipeline | None
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Name:
    """A function."""

    name: str


Operand = Literal | Path | Name


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands of which each gets what the one before it gave; `declared` are the variables that it is put into."""

    commands: tuple[tuple[Operand, ...], ...]
    declared: tuple[str, ...] = ()
    assigns: bool = False  # to variables that are there


@dataclass(frozen=True, slots=True)
class Block:
    """`if`, `range` or `with`."""

    word: str
    subject: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """`break` or `continue`."""

    word: str


Node = str | Pipeline | Block | Leave
_Token = tuple[str, str]


def parsed(text: str) -> tuple[Node, ...]:
    """Raises TemplateError."""
    reader = _Reader(_pieces(text))
    nodes, ended = reader.nodes(0)
    if ended:
        raise TemplateError(f'"{ended[0][1]}" without "if", "range" or "with"')
    return nodes


def _pieces(text: str) -> list[str | list[_Token]]:
    pieces: list[str | list[_Token]] = []
    index, trim = 0, False
    while (start := text.find("{{", index)) >= 0:
        before = text[index:start]
        before = before.lstrip() if trim else before
        start += 2
        if re.match(r"-\s", text[start:]):
            before, start = before.rstrip(), start + 1
        pieces.append(before)
        if comment := re.match(r"\s*/\*.*?\*/", text[start:], re.DOTALL):
            tokens: list[_Token] = []
            index = start + comment.end()
        else:
            tokens, index = _tokens(text, start)
        end = re.match(r"(\s+-)?\s*\}\}", text[index:])
        if end is None:
            raise TemplateError(
                "template parsing error: template: :1: unclosed action"
                if "}}" not in text[index:]
                else f'"{text[index:][:20]}" is not understood'
            )
        if not comment:
            pieces.append(tokens)
        trim, index = bool(end[1]), index + end.end()
    rest = text[index:]
    pieces.append(rest.lstrip() if trim else rest)
    return pieces


def _tokens(text: str, index: int) -> tuple[list[_Token], int]:
    tokens: list[_Token] = []
    while not re.match(r"(\s+-)?\s*\}\}", text[index:]) and (match := _TOKEN.match(text, index)):
        kind = match.lastgroup or ""
        spaced = match.start(kind) > index or not tokens
        # ".A.B" and "(…).B" are one operand; ".A .B" are two.
        tokens.append(("chained" if kind == "field" and not spaced else kind, match[kind]))
        index = match.end()
    return tokens, index


class _Reader:
    def __init__(self, pieces: list[str | list[_Token]]) -> None:
        self._pieces, self._at = pieces, 0

    def nodes(self, ranges: int) -> tuple[tuple[Node, ...], list[_Token]]:
        """The nodes up to an `else` or `end`, whose words are given too."""
        nodes: list[Node] = []
        while self._at < len(self._pieces):
            piece = self._pieces[self._at]
            self._at += 1
            if isinstance(piece, str):
                if piece:
                    nodes.append(piece)
                continue
            if not piece:
                raise TemplateError("a command is missing")
            word = piece[0][1] if piece[0][0] == "name" else ""
            match word:
                case "end" | "else":
                    return tuple(nodes), piece
                case "if" | "range" | "with":
                    nodes.append(self._block(word, piece[1:], ranges + (word == "range")))
                case "break" | "continue":
                    if not ranges:
                        raise TemplateError(f'"{word}" outside of "range"')
                    nodes.append(Leave(word))
                case "define" | "template" | "block":
                    raise TemplateError(f'"{word}" is not there: a template here has no others beside it')
                case _:
                    nodes.append(_pipeline(piece))
        return tuple(nodes), []

    def _block(self, word: str, subject: list[_Token], ranges: int) -> Block:
        body, ended = self.nodes(ranges)
        otherwise: tuple[Node, ...] = ()
        if [text for _, text in ended] == ["else"]:
            otherwise, ended = self.nodes(ranges - (word == "range"))
        elif ended and ended[0][1] == "else":
            again = ended[1][1]
            if again not in ("if", "with") or again != word:
                raise TemplateError(f'"else {again}" in "{word}"')
            return Block(word, _pipeline(subject), body, (self._block(word, ended[2:], ranges),))
        if [text for _, text in ended] != ["end"]:
            raise TemplateError(f'"{word}" has no "end"')
        return Block(word, _pipeline(subject), body, otherwise)


def _pipeline(tokens: list[_Token]) -> Pipeline:
    declared: list[str] = []
    assigns = False
    for count in (1, 3):
        names = tokens[:count]
        if len(tokens) > count and tokens[count][1] in (":=", "=") and names[0][0] == names[-1][0] == "variable":
            declared = [text for kind, text in names if kind == "variable"]
            assigns, tokens = tokens[count][1] == "=", tokens[count + 1 :]
            break
    commands, index = [], 0
    while True:
        operands, index = _operands(tokens, index)
        if not operands:
            raise TemplateError("a command is missing")
        commands.append(tuple(operands))
        if index == len(tokens):
            return Pipeline(tuple(commands), tuple(declared), assigns)
        if tokens[index][1] != "|":
            raise TemplateError(f'unexpected "{tokens[index][1]}"')
        index += 1


def _operands(tokens: list[_Token], index: int) -> tuple[list[Operand], int]:
    operands: list[Operand] = []
    while index < len(tokens):
        kind, text = tokens[index]
        if kind == "mark" and text != "(":
            break
        index += 1
        match kind:
            case "string" if text[0] == "'":
                operands.append(Literal(ord(_unquoted(text)[:1] or "\0")))
            case "string":
                operands.append(Literal(_unquoted(text)))
            case "raw":
                operands.append(Literal(text[1:-1]))
            case "number":
                operands.append(Literal(_number(text)))
            case "name" if text in ("true", "false", "nil"):
                operands.append(Literal({"true": True, "false": False}.get(text)))
            case "name":
                operands.append(Name(text))
            case _:
                base: str | Pipeline | None = None
                fields: list[str] = []
                if kind == "mark":
                    end = _closing(tokens, index)
                    base, index = _pipeline(tokens[index:end]), end + 1
                elif kind == "variable":
                    base = text
                elif kind in ("field", "chained"):
                    fields.append(text[1:])
                while index < len(tokens) and tokens[index][0] == "chained":
                    fields.append(tokens[index][1][1:])
                    index += 1
                operands.append(Path(base, tuple(fields)))
    return operands, index


def _closing(tokens: list[_Token], index: int) -> int:
    depth = 1
    for at in range(index, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[at][1], 0) if tokens[at][0] == "mark" else 0
        if not depth:
            return at
    raise TemplateError('a "(" is not closed')


def _number(text: str) -> int | float:
    return float(text) if re.search(r"[.eE]", text) and "x" not in text.lower() else int(text, 0 if "x" in text else 10)


def _unquoted(text: str) -> str:
    """A Go string's value."""

    def one(match: re.Match[str]) -> str:
        escape = match[1]
        if escape[0] in "xuU":
            return chr(int(escape[1:], 16))
        return chr(int(escape, 8)) if len(escape) == 3 else _ESCAPES.get(escape, escape)

    return _ESCAPE.sub(one, text[1:-1])


def paths_at_top(nodes: tuple[Node, ...]) -> set[str]:
    """The first fields that a template asks of what it is given, where the dot is still that."""
    names: set[str] = set()
    for node in nodes:
        match node:
            case Pipeline():
                names |= _of_pipeline(node)
            case Block(word, subject, body, otherwise):
                names |= _of_pipeline(subject) | paths_at_top(otherwise)
                if word == "if":
                    names |= paths_at_top(body)
    return names


def _of_pipeline(pipeline: Pipeline) -> set[str]:
    names: set[str] = set()
    for command in pipeline.commands:
        for operand in command:
            match operand:
                case Path(None | "$", fields) if fields:
                    names.add(fields[0])
                case Path(Pipeline() as inner):
                    names |= _of_pipeline(inner)
    return names
