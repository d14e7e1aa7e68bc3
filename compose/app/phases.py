"""Phases of an operation, and the warnings beside them: values that are handed to whoever watches it.

A phase begins with `TransfersBegin`, `BuildsBegin` or `PlanBegin`, goes on with events of its own, and ends with
`PhaseEnd`, whatever happens. Rules: what an event is about is in its fields; how it is told is the watcher's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from typing import TYPE_CHECKING, Literal

from pycompose.frozen import dataclass

if TYPE_CHECKING:
    from pycompose.compose.control.protocol import Report
    from pycompose.compose.model.errors import Problem
    from pycompose.compose.plan.steps import Plan
    from pycompose.runtime.images.dockerfile.request import Happened
    from pycompose.runtime.images.registry.progress import Transfer


@dataclass(frozen=True, slots=True)
class FileWarning:
    """Something odd in a compose file."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class OperationWarning:
    text: str


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to know, and nothing to worry about."""

    text: str


@dataclass(frozen=True, slots=True)
class LockAwaited:
    """Another command acts on the project; this one waits for it."""

    project: str


@dataclass(frozen=True, slots=True)
class ImagePlanned:
    """In a dry run: what would be done with an image; `context` is what it would be built from."""

    verb: Literal["pull", "push", "build", "remove"]
    image: str
    context: str = ""


@dataclass(frozen=True, slots=True)
class ProviderProgress:
    """What a provider says while a step of the plan runs it; `debug`: it is told to those who want to know all."""

    service: str
    text: str
    debug: bool = False


@dataclass(frozen=True, slots=True)
class ImageRemoved:
    image: str


@dataclass(frozen=True, slots=True)
class ImageBuilt:
    """`image` is its first name, or its digest where it has none."""

    image: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """Something that a watch of files does; `count` is that of changed paths, `text` why it failed."""

    what: Literal["enabled", "large", "syncing", "rebuilding", "built", "build failed", "restarted", "failed", "over"]
    services: tuple[str, ...] = ()
    count: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class TransfersBegin:
    """`skipped`: image -> why it is left out."""

    verb: Literal["pull", "push"]
    images: tuple[str, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BuildsBegin:
    """`names` are services, or "" for an image built by hand."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BuildEvent:
    name: str
    event: Happened


@dataclass(frozen=True, slots=True)
class PlanBegin:
    """A plan, of the command `title`, that is carried out from now on: reports of its steps follow."""

    plan: Plan
    title: str


@dataclass(frozen=True, slots=True)
class PhaseEnd:
    """The phase that began last is over, or broke off."""


Beginning = TransfersBegin | BuildsBegin | PlanBegin
if TYPE_CHECKING:
    Phase = (
        Beginning
        | PhaseEnd
        | Transfer
        | BuildEvent
        | Report
        | FileWarning
        | OperationWarning
        | Remark
        | LockAwaited
        | ImagePlanned
        | ImageRemoved
        | ProviderProgress
        | ImageBuilt
        | WatchEvent
    )
    Tell = Callable[[Phase], None]


def silent(_: Phase) -> None:
    """Tell nobody."""


@contextmanager
def phase(tell: Tell, beginning: Beginning) -> Iterator[None]:
    tell(beginning)
    try:
        yield
    finally:
        tell(PhaseEnd())
