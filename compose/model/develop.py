"""The `develop` section of a service: which changes of its sources are carried into its containers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType

from pycompose.frozen import dataclass

from .fields import no_text, read_as, required, required_choice


@dataclass(frozen=True, slots=True)
class WatchCommand:
    command: tuple[str, ...] | None = read_as("command", needed=True)
    user: str | None = None
    privileged: bool = False
    working_dir: str | None = None
    environment: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class Watch:
    path: str = required()
    action: str | None = required_choice("rebuild", "sync", "restart", "sync+restart", "sync+exec")
    target: str | None = None
    exec: WatchCommand | None = None
    include: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    initial_sync: bool = read_as("switch", default=False)
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class Develop:
    watch: tuple[Watch, ...] = ()
    extensions: Mapping[str, str] = field(default_factory=no_text)
