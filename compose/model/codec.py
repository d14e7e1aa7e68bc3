"""The frozen dataclasses of this folder as JSON text and back, by their type hints.

A value of a union of dataclasses carries its class's name as "kind". Mappings come back read-only, sequences as tuples.
What to do for a type is worked out once and kept. Rules: pure; a field that the text lacks takes its default, and a key
that no field has is passed over, so that records of an earlier and a later version can be read.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

KIND = "kind"
T = TypeVar("T")


def to_json(value: object) -> str:
    return json.dumps(_encode(value), separators=(",", ":"), ensure_ascii=False)


def from_json(kind: type[T], text: str | bytes) -> T:
    """Raises ValueError (with what is wrong) where the text is not a `kind`."""
    try:
        return cast(T, _decoder(cast(Any, kind))(json.loads(text)))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is not a {getattr(kind, '__name__', kind)}: {error}") from error


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(kind))


def _encode(value: object) -> object:
    if value is None or isinstance(value, str | int | float):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = _field_names(type(value))
        return {KIND: type(value).__name__} | {name: _encode(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): _encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_encode(item) for item in value]
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


@cache
def _decoder(hint: Any) -> Callable[[Any], Any]:
    origin = get_origin(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _dataclass_decoder(hint)
    if origin is tuple:
        members = get_args(hint)
        if len(members) == 2 and members[1] is Ellipsis:
            each = _decoder(members[0])
            return lambda value: tuple(each(item) for item in value)
        several = tuple(_decoder(member) for member in members)
        return lambda value: tuple(one(item) for one, item in zip(several, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        item_of = _decoder(get_args(hint)[1])
        return lambda value: types.MappingProxyType({key: item_of(item) for key, item in value.items()})
    if origin in (Union, types.UnionType):
        return _union_decoder(get_args(hint))
    if hint is float:
        return float
    return _same  # str, int, bool, None and Literal are what JSON made of them


def _same(value: Any) -> Any:
    return value


def _dataclass_decoder(kind: type) -> Callable[[Any], Any]:
    fields: dict[str, Callable[[Any], Any]] = {}

    def decode(value: Any) -> Any:
        if not fields:  # filled on first use, so that types may refer to each other
            hints = get_type_hints(kind)
            fields.update({name: _decoder(hints[name]) for name in _field_names(kind)})
        return kind(**{name: one(value[name]) for name, one in fields.items() if name in value})

    return decode


def _union_decoder(members: tuple[Any, ...]) -> Callable[[Any], Any]:
    by_kind = {m.__name__: _decoder(m) for m in members if dataclasses.is_dataclass(m) and isinstance(m, type)}
    others = [m for m in members if m is not type(None) and not dataclasses.is_dataclass(m)]
    sequences = [m for m in others if get_origin(m) is tuple]
    plain = next((_decoder(m) for m in others if get_origin(m) not in (tuple, Literal)), _same)
    sequence = _decoder(sequences[0]) if sequences else _same

    def decode(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, dict) and KIND in value and by_kind:
            return by_kind[value[KIND]](value)
        return sequence(value) if isinstance(value, list) else plain(value)

    return decode
