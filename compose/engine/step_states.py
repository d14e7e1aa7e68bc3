"""The states of one step of a plan that is carried out: a table of what may happen in each. Pure.

(state, occurrence) -> state:

    waiting  began       -> started
    waiting  need failed -> skipped
    started  performed   -> done
    started  raised      -> failed
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

Reached = Literal["started", "done", "failed", "skipped"]
Occurrence = Literal[
    "began",  # every step that it comes after is done, and it has a place among those that act
    "need failed",  # a step that it comes after, near or far, has failed, or says that it is planned anew
    "performed",
    "raised",
]

TRANSITIONS: Mapping[tuple[Literal["waiting"] | Reached, Occurrence], Reached] = MappingProxyType(
    {
        ("waiting", "began"): "started",
        ("waiting", "need failed"): "skipped",
        ("started", "performed"): "done",
        ("started", "raised"): "failed",
    }
)


def drawing() -> str:
    """The table as the text at the head of this module."""
    return "\n".join(
        f"    {state:<8} {occurrence:<11} -> {reached}" for (state, occurrence), reached in TRANSITIONS.items()
    )
