"""Sections of a file as records (`compose.declared`) and back, by the records' own type hints.

A field is the attribute of its name, unless its metadata names another. Reading gathers problems with their places, as
`reading` does; writing leaves out what the file did not say and gives canonical values: durations and sizes as text, as
docker compose writes them. Pure.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pycompose.compose.model.quantities import duration_text

from .networking import extra_hosts
from .reading import Section
from .resources import ulimits
from .source import Map, Seq, Text, Tree

T = TypeVar("T")
Reader = Callable[[Section, str], Any]


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    name: str
    key: str  # as the file calls it
    read: Reader
    kind: str  # the metadata's "as"; "" is plain
    required: bool
    default: Any


def read(kind: type[T], section: Section) -> T:
    """The record that a section says; what is wrong becomes problems, and is left at its default."""
    fields = _fields(cast(Any, kind))
    values: dict[str, Any] = {}
    extensions = section.check_keys([one.key for one in fields])
    for one in fields:
        if section.map.get(one.key) is not None:
            value = one.read(section, one.key)
            if value is not None:
                values[one.name] = value
        elif one.required:
            message = f"{section.path() or section.name} missing property '{one.key}'"
            section.reading.problem(message, section.origin, f"{one.key}: …", "required")
    if extensions:
        values["extensions"] = MappingProxyType(extensions)
    return kind(**values)


def optional(kind: type[T], section: Section, key: str) -> T | None:
    """The record of an attribute that may be missing or null, which is the same."""
    if section.map.get(key) is None:
        return None
    name = f'"{key}" of {section.name}'
    value = long(kind, section.map[key])
    return read(kind, Section(section.reading, value, name, section.map.keys_at.get(key), (section, key)))


def several(kind: type[T], section: Section, key: str) -> tuple[T, ...]:
    """The records of a list."""
    records = []
    for number, item in enumerate(section.items(key), 1):
        name = f'entry {number} of "{key}" of {section.name}'
        one = Section(section.reading, long(kind, item), name, section.at(key), (section, f"{key}.{number - 1}"))
        records.append(read(kind, one))
    return tuple(records)


def long(kind: type, value: Tree) -> Tree:
    """A text that stands for the whole record, as the mapping it is short for."""
    short = getattr(kind, "short", None)
    if short is None or not isinstance(value, Text):
        return value
    mapping = Map(value.at)
    mapping.put(short, value, value.at)
    return mapping


def written(record: object) -> dict[str, Any]:
    """A record as the mapping that `read` takes."""
    mapping: dict[str, Any] = {}
    for one in _fields(cast(Any, type(record))):
        value = getattr(record, one.name)
        if value != one.default or one.required:
            mapping[one.key] = _written(value, one.kind)
    extensions: Mapping[str, str] = getattr(record, "extensions", {})
    return mapping | {key: json.loads(text) for key, text in extensions.items()}


def _written(value: Any, kind: str) -> Any:
    if value is None or kind in ("", "labels", "valued"):
        if dataclasses.is_dataclass(value):
            return written(value)
        if isinstance(value, Mapping):
            return {key: _written(item, "one") for key, item in value.items()}
        if isinstance(value, tuple):
            return [_written(item, "") for item in value]
        return int(value) if isinstance(value, float) and value.is_integer() else value
    if kind == "one" and isinstance(value, tuple):
        return list(value)
    if kind == "duration":
        return duration_text(value)
    if kind in ("size", "whole size"):
        return str(value)
    if kind == "octal":
        return f"0{value:o}"
    if kind == "ulimits":
        return {key: u.soft if u.soft == u.hard else {"soft": u.soft, "hard": u.hard} for key, u in value.items()}
    return list(value) if isinstance(value, tuple) else value


@cache
def _fields(kind: Any) -> tuple[_Field, ...]:
    hints = get_type_hints(kind)
    fields = []
    for one in dataclasses.fields(kind):
        if one.name in ("extensions", "canonical"):
            continue
        how = one.metadata.get("as", "")
        empty = one.default_factory is not dataclasses.MISSING
        default = one.default_factory() if one.default_factory is not dataclasses.MISSING else one.default
        assert empty or default is not dataclasses.MISSING, f"{kind.__name__}.{one.name} needs a default"
        reader = _special(how, one.metadata.get("choices", ())) if how else _reader(hints[one.name])
        key = one.metadata.get("name", one.name)
        fields.append(_Field(one.name, key, reader, how, bool(one.metadata.get("required")), default))
    return tuple(fields)


def _special(how: str, choices: tuple[str, ...]) -> Reader:
    match how:
        case "duration":
            return Section.duration
        case "size":
            return Section.size
        case "command":
            return Section.command
        case "whole size":
            return lambda section, key: section.size(key, fractions=False)
        case "natural":
            return Section.natural
        case "switch":
            return lambda section, key: section.flag(key, quoted=False)
        case "labels":
            return lambda section, key: MappingProxyType(section.pairs(key, like="labels"))
        case "valued":
            return lambda section, key: MappingProxyType(section.valued_pairs(key))
        case "octal":
            return Section.octal
        case "hosts":
            return lambda section, key: tuple(f"{name}={address}" for name, address in extra_hosts(section, key))
        case "ulimits":
            return lambda section, key: MappingProxyType(ulimits(section, key, quoted=False))
        case "count":
            return _count
        case "choice":
            return lambda section, key: section.choice(key, choices)
        case _:
            raise ValueError(how)


def _count(section: Section, key: str) -> int | None:
    return -1 if section.map.get(key) == "all" else section.integer(key)


def _reader(hint: Any) -> Reader:
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(one for one in get_args(hint) if one is not type(None))
    if dataclasses.is_dataclass(hint):
        record: type = hint  # type: ignore[assignment]
        return lambda section, key: None if (one := optional(record, section, key)) == record() else one
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        return (lambda section, key: several(inner, section, key)) if dataclasses.is_dataclass(inner) else Section.texts
    if get_origin(hint) is not None and issubclass(get_origin(hint), Mapping):
        inner = get_args(hint)[1]
        if inner is str:
            return lambda section, key: MappingProxyType(section.pairs(key))
        if get_origin(inner) is tuple:
            return _lists
        return lambda section, key: MappingProxyType(section.optional_pairs(key))
    plain: dict[Any, Reader] = {
        str: Section.text,
        bool: Section.flag,
        int: Section.integer,
        float: Section.number,
    }
    return plain[hint]


def _lists(section: Section, key: str) -> Mapping[str, tuple[str, ...]]:
    """A mapping to one text or several."""
    one = section.section(key)

    def texts(name: str, value: Tree) -> tuple[str, ...]:
        if isinstance(value, Text) or (isinstance(value, Seq) and all(isinstance(item, Text) for item in value)):
            return tuple(str(item) for item in (value if isinstance(value, Seq) else [value]))
        one.wrong(name, "text or a list of text")
        return ()

    return MappingProxyType({name: texts(name, value) for name, value in one.map.items()})
