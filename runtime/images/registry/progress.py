"""Progress events of pulls and pushes: one whenever an image or a layer of it gets on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pycompose.frozen import dataclass

State = Literal["waiting", "here", "started", "retrying", "finishing", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Transfer:
    """`part` is a layer's digest, or empty: the image as a whole. Bytes are of what is transferred."""

    image: str
    part: str
    state: State
    done: int = 0
    total: int = 0
    text: str = ""  # of the image as a whole: its digest; of "retrying" and "failed": why


Report = Callable[[Transfer], None]


def silent(_: Transfer) -> None:
    """For whoever wants no events."""
