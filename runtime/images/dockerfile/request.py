"""The request of a build, and the events while it goes on. Data only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Literal

from pycompose.errors import Place
from pycompose.frozen import dataclass
from pycompose.runtime.spec import no_text

from .running import RunLimits
from .trees import Tree


@dataclass(frozen=True, slots=True)
class Secret:
    """A file or the content itself."""

    file: str = ""
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Request:
    context: Tree
    dockerfile: str  # its text
    name: str = "Dockerfile"  # for messages
    target: str = ""
    tags: tuple[str, ...] = ()
    args: Mapping[str, str] = field(default_factory=no_text)
    labels: Mapping[str, str] = field(default_factory=no_text)
    contexts: Mapping[str, Tree | str] = field(default_factory=dict)  # name -> a tree, or the name of an image
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    ssh: Mapping[str, str] = field(default_factory=no_text)  # id -> socket of an agent
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()  # stages
    cache_from: tuple[str, ...] = ()
    pull: bool = False
    limits: RunLimits = field(default_factory=RunLimits)
    epoch: int | None = None  # SOURCE_DATE_EPOCH


@dataclass(frozen=True, slots=True)
class BuildStep:
    number: int  # in the whole build, from 1
    title: str  # "[build 2/5] RUN make"
    position: Place


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of a build; `text` is a line of output, or why."""

    step: BuildStep | None
    kind: Literal["started", "cached", "done", "failed", "output", "warning"]
    text: str = ""


Tell = Callable[[Happened], None]
