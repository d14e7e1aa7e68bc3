"""Templates of --format, as docker's users write them: Go's text/template over rows. Pure.

A field that no row has is an error that lists those that there are, whether there are rows or not, before anything is
printed. A value may be a function (`.Label "x"`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, assert_never

from .tables import table
from .template_functions import FUNCTIONS, OF_TITLES, shown
from .template_syntax import (
    Block,
    Leave,
    Literal,
    Name,
    Node,
    Operand,
    Path,
    Pipeline,
    TemplateError,
    parsed,
    paths_at_top,
)

__all__ = ("TemplateError", "printed")

_Functions = Mapping[str, Callable[..., Any]]
_NONE = object()  # no value is piped


class _Leaving(Exception):
    """`break` or `continue`, on the way to its `range`."""


def printed(form: str, rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str], fields: Iterable[str] = ()) -> str:
    """Each row by the template `form`, a line each; with "table " before it as columns at its tabs, below `titles`.

    `fields` are those of a row, for where there is none. Raises TemplateError.
    """
    form = form.replace(r"\t", "\t").replace(r"\n", "\n")
    is_table, text = form.startswith("table"), form.removeprefix("table").strip() if form.startswith("table") else form
    nodes = parsed(text)
    known = {*fields, *(rows[0] if rows else ())}
    for name in sorted(paths_at_top(nodes) - known) if known else ():
        raise TemplateError(_no_field(name, known))
    lines = [_Rendering(row, FUNCTIONS).text(nodes) for row in rows]
    if not is_table:
        return "".join(f"{line}\n" for line in lines)
    head = _Rendering(_Titles(titles), OF_TITLES).text(nodes).split("\t")
    cells = [line.split("\t") for line in lines]
    width = max(map(len, [head, *cells]))
    return table(_wide(head, width), [_wide(row, width) for row in cells])


def _wide(row: list[str], width: int) -> list[str]:
    return row + [""] * (width - len(row))


class _Titles(dict[str, Any]):
    """The head of a column that has no title of its own is its name in capitals; of a label, its last word."""

    def __missing__(self, key: str) -> Any:
        if key == "Label":
            return lambda name: name.rpartition(".")[2].replace("-", " ").replace("_", " ")
        return key.upper()


def _no_field(name: str, known: Iterable[str]) -> str:
    return f"can't evaluate field {name}; there are: {', '.join(sorted(known))}"


class _Rendering:
    """One row by a template, with the variables that it declares."""

    def __init__(self, row: Any, functions: _Functions) -> None:
        self._functions = functions
        self._scopes: list[dict[str, Any]] = [{"$": row}]
        self._dot = row

    def text(self, nodes: Sequence[Node]) -> str:
        texts: list[str] = []
        self._render(nodes, texts)
        return "".join(texts)

    def _render(self, nodes: Sequence[Node], texts: list[str]) -> None:
        for node in nodes:
            match node:
                case str():
                    texts.append(node)
                case Pipeline():
                    value = self._value(node)
                    if not node.declared:
                        texts.append(shown(value))
                case Block("range"):
                    self._range(node, texts)
                case Block():
                    self._block(node, texts)
                case Leave(word):
                    raise _Leaving(word)
                case _:
                    assert_never(node)

    def _block(self, block: Block, texts: list[str]) -> None:
        self._scopes.append({})
        dot, value = self._dot, self._value(block.subject)
        if value and block.word == "with":
            self._dot = value
        self._render(block.body if value else block.otherwise, texts)
        self._dot = dot
        self._scopes.pop()

    def _range(self, block: Block, texts: list[str]) -> None:
        items = self._value(Pipeline(block.subject.commands))
        if isinstance(items, int) and not isinstance(items, bool):
            items = range(items)
        pairs = sorted(items.items()) if isinstance(items, Mapping) else list(enumerate(items or ()))
        if isinstance(items, str):
            pairs = []
        dot = self._dot
        for key, item in pairs:
            names = block.subject.declared
            self._scopes.append(dict(zip(names, (key, item) if len(names) > 1 else (item,), strict=False)))
            self._dot = item
            depth = len(self._scopes)
            try:
                self._render(block.body, texts)
            except _Leaving as leaving:
                del self._scopes[depth:]
                if leaving.args == ("break",):
                    break
            finally:
                self._scopes.pop()
                self._dot = dot
        if not pairs:
            self._render(block.otherwise, texts)

    def _value(self, pipeline: Pipeline) -> Any:
        value: Any = _NONE
        for command in pipeline.commands:
            value = self._command(command, value)
        for name in pipeline.declared:
            scope = self._scopes[-1]
            if pipeline.assigns:
                scope = next((one for one in reversed(self._scopes) if name in one), {})
                if not scope:
                    raise TemplateError(f"{name} is not declared")
            scope[name] = value
        return value

    def _command(self, command: Sequence[Operand], piped: Any) -> Any:
        first, *others = command
        if isinstance(first, Name):
            function = self._function(first.name)
            if first.name in ("and", "or"):
                return self._first_that(first.name == "or", others, piped)
            subject = first.name
        else:
            function = self._operand(first)
            subject = first.fields[-1] if isinstance(first, Path) and first.fields else "a value"
            if not callable(function):
                if others or piped is not _NONE:
                    raise TemplateError(f"{subject} takes no arguments")
                return function
        arguments = [self._called(self._operand(one), one) for one in others]
        if piped is not _NONE:
            arguments.append(piped)
        try:
            return function(*arguments)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise TemplateError(f'"{subject}": {error}') from error

    def _called(self, value: Any, operand: Operand) -> Any:
        return value() if callable(value) and isinstance(operand, Name) else value

    def _first_that(self, truth: bool, operands: Sequence[Operand], piped: Any) -> Any:
        """Of `and` and `or`: what decides, and no more is looked at."""
        value: Any = None
        for one in operands:
            if bool(value := self._operand(one)) is truth:
                return value
        return value if piped is _NONE else piped

    def _function(self, name: str) -> Callable[..., Any]:
        if name not in self._functions:
            raise TemplateError(f'"{name}" is not known; functions are: {", ".join(sorted(self._functions))}')
        return self._functions[name]

    def _operand(self, operand: Operand) -> Any:
        match operand:
            case Literal(value):
                return value
            case Name(name):
                return self._function(name)
            case Path(None, fields):
                return _field(self._dot, fields)
            case Path(str() as name, fields):
                scope = next((one for one in reversed(self._scopes) if name in one), None)
                if scope is None:
                    raise TemplateError(f"{name} is not declared")
                return _field(scope[name], fields)
            case Path(Pipeline() as inner, fields):
                return _field(self._value(inner), fields)
            case _:
                raise AssertionError(operand)


def _field(holder: Any, fields: Sequence[str]) -> Any:
    for name in fields:
        if not isinstance(holder, Mapping):
            raise TemplateError(f"can't evaluate field {name} in {shown(holder)}")
        if name not in holder and not isinstance(holder, _Titles):
            raise TemplateError(_no_field(name, holder))
        holder = holder[name]
    return holder
