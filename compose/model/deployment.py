"""Parts of a compose file that say what others should do: a builder, a swarm, a watcher, a provider, a driver of GPUs.

They are typed as the specification has them, field by field under its names, and are part of the model, so that nothing
a file says is lost. `compose.file.records` reads and writes them by their hints; a field whose text is no plain value
says how it is read in its metadata. Rules: plain data, None or empty is "the file does not say"; `extensions` are x-
keys, as canonical JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Any, ClassVar

from pycompose.frozen import dataclass

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
    additional_contexts: Mapping[str, str] = field(default_factory=no_text)
    pull: bool = False
    extra_hosts: tuple[str, ...] = read_as("hosts", default=())  # name=address
    isolation: str | None = None
    network: str | None = None
    target: str | None = None
    secrets: tuple[BuildSecret, ...] = ()
    shm_size: int | None = read_as("size")
    tags: tuple[str, ...] = ()
    ulimits: Mapping[str, Ulimit] = field(default_factory=lambda: MappingProxyType({}), metadata={"as": "ulimits"})
    platforms: tuple[str, ...] = ()
    privileged: bool = False
    extensions: Mapping[str, str] = field(default_factory=no_text)
    canonical: str = ""  # all of it as the canonical mapping, as JSON


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """An entry of `gpus` or of a reservation's `devices`."""

    capabilities: tuple[str, ...] = ()
    driver: str | None = None
    count: int | None = read_as("count")
    device_ids: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=no_text)
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class DiscreteResource:
    resource_kind: str | None = field(default=None, metadata={"name": "kind"})  # `kind` is taken in `compose.codec`
    value: int | None = None
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class GenericResource:
    discrete_resource_spec: DiscreteResource | None = None
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class Limits:
    cpus: float | None = None
    memory: int | None = read_as("size")
    pids: int | None = None
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class Reservations:
    cpus: float | None = None
    memory: int | None = read_as("size")
    generic_resources: tuple[GenericResource, ...] = ()
    devices: tuple[DeviceRequest, ...] = ()
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class DeployResources:
    limits: Limits | None = None
    reservations: Reservations | None = None
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class DeployRestart:
    condition: str | None = read_as("choice", "none", "on-failure", "any")
    delay: float | None = read_as("duration")
    max_attempts: int | None = None
    window: float | None = read_as("duration")
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class UpdateConfig:
    """Of an update, and (without `rollback` as an action) of a rollback."""

    parallelism: int | None = None
    delay: float | None = read_as("duration")
    failure_action: str | None = read_as("choice", "continue", "rollback", "pause")
    monitor: float | None = read_as("duration")
    max_failure_ratio: float | None = None
    order: str | None = read_as("choice", "stop-first", "start-first")
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class Preference:
    spread: str | None = None
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class Placement:
    constraints: tuple[str, ...] = ()
    preferences: tuple[Preference, ...] = ()
    max_replicas_per_node: int | None = None
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class Deploy:
    mode: str | None = read_as("choice", "replicated", "global", "replicated-job", "global-job")
    replicas: int | None = None
    labels: Mapping[str, str] = field(default_factory=no_text)
    update_config: UpdateConfig | None = None
    rollback_config: UpdateConfig | None = None
    resources: DeployResources | None = None
    restart_policy: DeployRestart | None = None
    placement: Placement | None = None
    endpoint_mode: str | None = read_as("choice", "vip", "dnsrr")
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class Provider:
    """What runs a service that is no container; an option has one value or several."""

    type: str = required()
    options: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class CredentialSpec:
    config: str | None = None
    file: str | None = None
    registry: str | None = None
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A service's use of a top-level model: the variables that get its address and its name (None: after its key)."""

    endpoint_var: str | None = None
    model_var: str | None = None
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class LanguageModel:
    name: str | None = None
    model: str = required()
    context_size: int | None = None
    runtime_flags: tuple[str, ...] = ()
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class WatchCommand:
    command: tuple[str, ...] | None = read_as("command")
    user: str | None = None
    privileged: bool = False
    working_dir: str | None = None
    environment: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class Watch:
    path: str = required()
    action: str | None = read_as("choice", "rebuild", "sync", "restart", "sync+restart", "sync+exec")
    target: str | None = None
    exec: WatchCommand | None = None
    include: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    initial_sync: bool = False
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class Develop:
    watch: tuple[Watch, ...] = ()
    extensions: Mapping[str, str] = field(default_factory=no_text)
