"""Parts of a service that address others: a swarm or Kubernetes (`deploy`), a provider, a model runner, a GPU driver.

They are typed as the specification has them, field by field under its names, and are part of the model, so that nothing
a file says is lost. `compose.file.declarations` reads and writes them by their hints; a field whose text is no plain
value says how it is read in its metadata. Rules: plain data, None or empty is "the file does not say"; `extensions` are
x- keys, as canonical JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType

from pycompose.frozen import dataclass

from .fields import no_text, read_as, required


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """An entry of `gpus` or of a reservation's `devices`."""

    capabilities: tuple[str, ...] = ()
    driver: str | None = None
    count: int | None = read_as("count")
    device_ids: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=no_text, metadata={"as": "labels"})
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class DiscreteResource:
    resource_kind: str | None = field(default=None, metadata={"name": "kind"})  # `kind` is the codec's
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
    max_attempts: int | None = read_as("natural")
    window: float | None = read_as("duration")
    extensions: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class UpdateConfig:
    """Of an update, and (without `rollback` as an action) of a rollback."""

    parallelism: int | None = read_as("natural")
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
    max_replicas_per_node: int | None = read_as("natural")
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
