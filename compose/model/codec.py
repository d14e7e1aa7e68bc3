"""The data of `compose` as JSON text and back: every object carries its class's name as "kind". Pure."""

from __future__ import annotations

from typing import TypeVar

from pycompose.dataclass_json import Codec, class_name

T = TypeVar("T")
_CODEC = Codec(tag_of=class_name)


def to_json(value: object) -> str:
    """Text that is UTF-8 whatever bytes names of files have: those that are none are escaped."""
    text = _CODEC.to_json(value, ascii_only=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates: how Python has such bytes
        return _CODEC.to_json(value)
    return text


def from_json(kind: type[T], text: str | bytes) -> T:
    """Raises ValueError (with what is wrong) where the text is not a `kind`."""
    return _CODEC.from_json(kind, text)
