"""Defaults and metadata of the model's fields: the empty mapping, what is required, texts that are read specially."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Any

EMPTY: Mapping[str, str] = MappingProxyType({})

Variables = Mapping[str, str | None]
"""Environment variables. One that is None is *unset*: it takes away what an image or a container has of that name."""


def no_text() -> Mapping[str, str]:
    """The empty mapping, as a field's default."""
    return EMPTY


def no_variables() -> Variables:
    return EMPTY


def with_variables(entries: Iterable[str], variables: Variables) -> tuple[str, ...]:
    """`NAME=value` entries with `variables` over them: a later one wins, the first one's place stays."""
    merged: dict[str, str | None] = dict(entry.partition("=")[::2] for entry in entries)
    merged.update(variables)
    return tuple(f"{name}={value}" for name, value in merged.items() if value is not None)


def read_as(kind: str, *choices: str, default: Any = None, needed: bool = False) -> Any:
    """A field that is read as a kind of value.

    A "duration" (seconds), a "size" (bytes; a "whole size" has no fraction), a "count" (-1 is all), a "natural" number,
    an "octal" mode, a "switch" (no text), a "command", a "choice"; pairs as `labels` are, or "valued" (none is a name
    alone); or what `extra_hosts` ("hosts") or `ulimits` have.
    """
    return field(default=default, metadata={"as": kind, "choices": choices, "required": needed})


def required_choice(*choices: str) -> Any:
    """A text that is one of these, and has to be there."""
    return field(default=None, metadata={"as": "choice", "choices": choices, "required": True})


def required(default: Any = "") -> Any:
    return field(default=default, metadata={"required": True})
