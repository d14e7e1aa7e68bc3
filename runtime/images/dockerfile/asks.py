"""Questions that a stage under way asks of the build: another stage, an image, leave to write, a RUN step.

    Need(stage)   -> the Result of another stage
    Base(name)    -> the Image of that name
    Work(key)     -> None; now files will be written, or fetched. Who asks looks again whether it is remembered
    Execute(job)  -> the exit code of a RUN step

Data only.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import field
from typing import Any

from pycompose.frozen import dataclass

from .request import BuildStep
from .running import Job


@dataclass(frozen=True, slots=True)
class Result:
    """A finished stage. `config`, `history` are of the image's JSON; `keys` lead from the cache to its layers."""

    layers: tuple[str, ...]  # diff_ids, the lowest first
    config: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]
    created: str
    host: bool = False
    author: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    args: Mapping[str, str] = field(default_factory=dict)  # build arguments that are known at the end of a stage


@dataclass(frozen=True, slots=True)
class Need:
    stage: int


@dataclass(frozen=True, slots=True)
class Base:
    name: str
    pull: bool = False
    step: BuildStep | None = None  # of the FROM that asks


@dataclass(frozen=True, slots=True)
class Work:
    key: str = ""  # of what will be done; whoever does the same already is waited for


@dataclass(frozen=True, slots=True)
class Execute:
    job: Job
    output: Callable[[str], None]


Ask = Need | Base | Work | Execute
Asking = Generator[Ask, Any, Any]
