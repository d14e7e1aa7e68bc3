"""The `build` section of a service: how its image is made, field by field as the compose specification has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType
from typing import ClassVar

from pycompose.frozen import dataclass

from .fields import no_text, read_as, required


@dataclass(frozen=True, slots=True)
class Ulimit:
    soft: int  # -1 is unlimited
    hard: int


@dataclass(frozen=True, slots=True)
class BuildSecret:
    short: ClassVar[str] = "source"  # the field that a text alone stands for

    source: str = required()
    target: str | None = None
    uid: str | None = None
    gid: str | None = None
    mode: int | None = read_as("octal")
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class Build:
    """`context` is an absolute path, a URL, or `service:NAME`; `dockerfile` is relative to it."""

    short: ClassVar[str] = "context"

    context: str = "."
    dockerfile: str | None = None
    dockerfile_inline: str | None = None
    entitlements: tuple[str, ...] = ()
    args: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    provenance: str | None = None
    sbom: str | None = None
    ssh: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    labels: Mapping[str, str] = field(default_factory=no_text)
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    additional_contexts: Mapping[str, str] = field(default_factory=no_text, metadata={"as": "valued"})
    pull: bool = False
    extra_hosts: tuple[str, ...] = read_as("hosts", default=())  # name=address
    isolation: str | None = None
    network: str | None = None
    target: str | None = None
    secrets: tuple[BuildSecret, ...] = ()
    shm_size: int | None = read_as("whole size")
    tags: tuple[str, ...] = ()
    ulimits: Mapping[str, Ulimit] = field(default_factory=lambda: MappingProxyType({}), metadata={"as": "ulimits"})
    platforms: tuple[str, ...] = ()
    privileged: bool = False
    extensions: Mapping[str, str] = field(default_factory=no_text)
    canonical: str = ""  # all of it as the canonical mapping, as JSON
