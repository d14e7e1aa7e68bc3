"""Defaults and metadata of the model's fields: the empty mapping, what is required, texts that are read specially."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Any

EMPTY: Mapping[str, str] = MappingProxyType({})


def no_text() -> Mapping[str, str]:
    """The empty mapping, as a field's default."""
    return EMPTY


def read_as(kind: str, *choices: str, default: Any = None) -> Any:
    """A field whose text is a "duration" (seconds), a "size" (bytes), a "count" (-1 is all), an "octal" mode, a
    "command", a "choice", or what `extra_hosts` ("hosts") or `ulimits` have."""
    return field(default=default, metadata={"as": kind, "choices": choices})


def required(default: Any = "") -> Any:
    return field(default=default, metadata={"required": True})
