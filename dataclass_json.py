"""Codec of dataclasses: JSON from and to them by their type hints.

What differs between formats is a codec's own: what JSON calls a field, and which classes carry a tag that tells the
members of a union apart. What to do for a type is worked out once and kept. Mappings are read as read-only ones,
sequences as tuples. Rules: pure, standard library only, for the keeper imports it. A field that the text lacks takes
its default, and a key that no field has is left out, so that records of an earlier and a later version can be read.
What it does not do: check the types of plain values (text, numbers, `Any`).
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
Reader = Callable[[Any], Any]


def _as_it_is(name: str) -> str:
    return name


def _untagged(kind: type) -> str | None:
    return None


def class_name(kind: type) -> str | None:
    """As `tag_of`: every object tells its class."""
    return kind.__name__


class Codec:
    """`key_of` is what JSON calls a field; `tag_of` what an object of a class has under `tag`, None for nothing.

    An object's tag comes first. Of a `steady` class, of which one large object is written and read again and again,
    the last is remembered: its objects must not change, nor what `to_plain` returns.
    """

    def __init__(
        self,
        *,
        key_of: Callable[[str], str] = _as_it_is,
        tag: str = "kind",
        tag_of: Callable[[type], str | None] = _untagged,
        steady: frozenset[type] = frozenset(),
    ) -> None:
        self._steady = steady
        self._written: dict[type, tuple[object, dict[str, Any]]] = {}  # of steady classes, the last
        self._read: dict[type, tuple[object, Any]] = {}
        self._key_of, self._tag, self._tag_of = key_of, tag, tag_of
        self._layouts: dict[type, tuple[dict[str, str], tuple[tuple[str, str], ...]] | None] = {}
        self._readers: dict[Any, Reader | None] = {}

    def to_plain(self, value: object) -> Any:
        """The value as `json.dumps` takes it. Raises TypeError for what is neither data nor a dataclass."""
        kind = type(value)
        if kind is str or value is None or kind is int:
            return value
        if kind is tuple or kind is list:
            return [self.to_plain(item) for item in cast(tuple[object, ...], value)]
        if (layout := self._layout(kind)) is not None:
            last = self._written.get(kind)
            if last is not None and last[0] is value:
                return last[1]
            tag, keys = layout
            plain = tag | {key: self.to_plain(getattr(value, name)) for name, key in keys}
            if kind in self._steady:
                self._written[kind] = value, plain
            return plain
        if isinstance(value, Mapping):
            return {str(key): self.to_plain(item) for key, item in value.items()}
        if isinstance(value, str | int | float):
            return value
        raise TypeError(f"a {kind.__name__} cannot be written as JSON")

    def to_json(self, value: object, *, ascii_only: bool = True) -> str:
        """Without blanks."""
        return json.dumps(self.to_plain(value), separators=(",", ":"), ensure_ascii=ascii_only)

    def from_plain(self, kind: type[T], tree: object) -> T:
        """Raises ValueError (with what is wrong) where the tree is not a `kind`, which may be a union too."""
        try:
            reader = self._reader(kind)
            return cast(T, tree if reader is None else reader(tree))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is not a {getattr(kind, '__name__', kind)}: {error}") from error

    def from_json(self, kind: type[T], text: str | bytes) -> T:
        """As `from_plain`; a JSONDecodeError (a ValueError) is raised for what is no JSON."""
        return self.from_plain(kind, json.loads(text))

    def _layout(self, kind: type) -> tuple[dict[str, str], tuple[tuple[str, str], ...]] | None:
        """The tag, and each field with its key; None for what is no dataclass."""
        if kind not in self._layouts:
            layout = None
            if dataclasses.is_dataclass(kind):
                tag = self._tag_of(kind)
                keys = tuple((field.name, self._key_of(field.name)) for field in dataclasses.fields(kind))
                layout = ({} if tag is None else {self._tag: tag}), keys
            self._layouts[kind] = layout  # once it is whole: other threads look, too
        return self._layouts[kind]

    def _reader(self, hint: Any) -> Reader | None:
        """What makes a value of `hint` from plain JSON; None where JSON's own value is it already."""
        if hint not in self._readers:
            self._readers[hint] = self._made_reader(hint)
        return self._readers[hint]

    def _made_reader(self, hint: Any) -> Reader | None:
        origin = get_origin(hint)
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            return self._object_reader(hint)
        if origin is tuple:
            return self._tuple_reader(get_args(hint))
        if origin in (Union, types.UnionType):
            return self._union_reader(get_args(hint))
        if isinstance(origin, type) and issubclass(origin, Mapping):
            item_of = self._reader(get_args(hint)[1])
            if item_of is None:
                return lambda value: types.MappingProxyType(dict(value))
            return lambda value: types.MappingProxyType({key: item_of(item) for key, item in value.items()})
        return float if hint is float else None

    def _tuple_reader(self, members: tuple[Any, ...]) -> Reader:
        if len(members) == 2 and members[1] is Ellipsis:
            each = self._reader(members[0])
            if each is None:
                return lambda value: tuple(_listed(value))
            return lambda value: tuple([each(item) for item in _listed(value)])
        several = tuple(self._reader(member) for member in members)
        return lambda value: tuple(
            [item if one is None else one(item) for one, item in zip(several, _listed(value), strict=True)]
        )

    def _object_reader(self, kind: type) -> Reader:
        readers: list[tuple[str, str, Reader | None]] = []

        def read(value: Any) -> Any:
            if not isinstance(value, dict):
                raise TypeError("an object is wanted")
            if (last := self._read.get(kind)) is not None and last[0] == value:
                return last[1]
            if not readers:  # filled on first use, so that types may refer to each other
                hints = get_type_hints(kind)
                _, keys = self._layout(kind) or ({}, ())
                readers[:] = [(name, key, self._reader(hints[name])) for name, key in keys]  # at once, as above
            values = {
                name: value[key] if one is None else one(value[key]) for name, key, one in readers if key in value
            }
            result = kind(**values)
            if kind in self._steady:
                self._read[kind] = value, result
            return result

        return read

    def _union_reader(self, members: tuple[Any, ...]) -> Reader | None:
        objects = [m for m in members if isinstance(m, type) and dataclasses.is_dataclass(m)]
        tagged = {tag: self._reader(m) for m in objects if (tag := self._tag_of(m)) is not None}
        untagged = next((self._reader(m) for m in objects if self._tag_of(m) is None), None)
        others = [m for m in members if m is not types.NoneType and m not in objects]
        sequence = next((self._reader(m) for m in others if get_origin(m) is tuple), None)
        plain = next((self._reader(m) for m in others if get_origin(m) not in (tuple, Literal)), None)
        if not objects and sequence is None and plain is None:
            return None

        def read(value: Any) -> Any:
            if value is None:
                return None
            one = sequence if isinstance(value, list) else plain
            if isinstance(value, dict) and objects:
                one = tagged[value[self._tag]] if tagged and self._tag in value else untagged or plain
            return value if one is None else one(value)

        return read


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("a list is wanted")
    return value
