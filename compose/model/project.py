"""The compose model: what a compose file means, as frozen data.

A `Project` is the end of the loader's way (`compose.file`) and the start of everything else: graph, plan, engine.
Names are the compose specification's. Values are canonical: sizes are bytes, durations seconds, paths absolute,
short syntax is gone, defaults that the specification names are filled in, and references (`networks`, `volumes`, …)
are known to exist. `None` always means "the file does not say", so that an image's or the engine's own default applies.

Rules: plain data, standard library only, no I/O, nothing mutable. What the engine does not act on is here all the same
(much of it in `deployment`), and x- keys are in `kept`, so that nothing a file says is lost.
This module does not validate: `compose.file` does, where positions are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from types import MappingProxyType
from typing import Literal

from pycompose.frozen import dataclass

from .deployment import CredentialSpec, Deploy, DeviceRequest, LanguageModel, ModelUse, Provider
from .develop import Develop
from .errors import Obstacle
from .fields import Variables, no_text, no_variables
from .image_build import Build, Ulimit
from .lifetime import EXTENSIONS as EXTENSIONS
from .lifetime import Healthcheck as Healthcheck
from .lifetime import RestartCondition as RestartCondition
from .lifetime import RestartPolicy as RestartPolicy

Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]
PullPolicy = Literal["always", "never", "missing", "build", "daily", "weekly"] | str
Propagation = Literal["rprivate", "private", "rshared", "shared", "rslave", "slave"]


@dataclass(frozen=True, slots=True)
class Dependency:
    """One entry of `depends_on`, or one implied by links, volumes_from or a shared namespace."""

    service: str
    condition: Condition = "service_started"
    restart: bool = False
    required: bool = True
    extensions: str = EXTENSIONS


@dataclass(frozen=True, slots=True)
class Port:
    """A published (or, with `published` None, ephemerally published) container port.

    `published` is a port or an inclusive range out of which the engine takes the first free one.
    """

    target: int
    published: tuple[int, int] | None = None
    host_ip: str | None = None
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"
    mode: str = "ingress"
    name: str | None = None
    app_protocol: str | None = None
    extensions: str = EXTENSIONS


@dataclass(frozen=True, slots=True)
class BindMount:
    source: str  # absolute host path
    target: str
    read_only: bool = False
    create_host_path: bool = True
    propagation: Propagation | None = None
    recursive: Literal["enabled", "disabled", "writable", "readonly"] | None = None
    selinux: Literal["z", "Z"] | None = None
    extensions: str = EXTENSIONS


@dataclass(frozen=True, slots=True)
class VolumeMount:
    """A named (`source` is a key of Project.volumes) or anonymous (`source` None) volume."""

    source: str | None
    target: str
    read_only: bool = False
    nocopy: bool = False
    subpath: str | None = None
    labels: Mapping[str, str] = field(default_factory=no_text)
    extensions: str = EXTENSIONS


@dataclass(frozen=True, slots=True)
class TmpfsMount:
    target: str
    size: int | None = None  # bytes
    mode: int | None = None
    options: tuple[str, ...] = ()  # further mount options of the short syntax: uid=…, exec, …
    short: str | None = None  # as `tmpfs` has it; None: an entry of `volumes`
    extensions: str = EXTENSIONS


@dataclass(frozen=True, slots=True)
class ImageMount:
    source: str
    target: str
    subpath: str | None = None
    read_only: bool = False  # as the file says; it is, always
    extensions: str = EXTENSIONS


Mount = BindMount | VolumeMount | TmpfsMount | ImageMount


@dataclass(frozen=True, slots=True)
class FileReference:
    """A service's use of a top-level config or secret: `source` is its key."""

    source: str
    target: str  # absolute
    uid: str | None = None
    gid: str | None = None
    mode: int | None = None  # 0o444
    extensions: str = EXTENSIONS


@dataclass(frozen=True, slots=True)
class Attachment:
    """A service's place on one network. `network` is a key of Project.networks."""

    network: str
    aliases: tuple[str, ...] = ()
    ipv4_address: str | None = None
    ipv6_address: str | None = None
    mac_address: str | None = None
    interface_name: str | None = None
    link_local_ips: tuple[str, ...] = ()
    priority: int = 0
    gw_priority: int = 0
    driver_opts: Mapping[str, str] = field(default_factory=no_text)
    extensions: str = EXTENSIONS


@dataclass(frozen=True, slots=True)
class DeviceRate:
    path: str
    rate: int  # bytes or operations per second


@dataclass(frozen=True, slots=True)
class DeviceWeight:
    path: str
    weight: int  # 10..1000


@dataclass(frozen=True, slots=True)
class BlkioConfig:
    weight: int | None = None
    weight_device: tuple[DeviceWeight, ...] = ()
    device_read_bps: tuple[DeviceRate, ...] = ()
    device_read_iops: tuple[DeviceRate, ...] = ()
    device_write_bps: tuple[DeviceRate, ...] = ()
    device_write_iops: tuple[DeviceRate, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """Limits, from the service's own keys or from deploy.resources (the loader has made sure that they agree)."""

    cpus: float | None = None
    cpu_shares: int | None = None
    cpu_period: int | None = None  # microseconds
    cpu_quota: int | None = None  # microseconds
    cpu_rt_period: int | None = None
    cpu_rt_runtime: int | None = None
    cpuset: str | None = None
    mem_limit: int | None = None  # bytes
    mem_reservation: int | None = None
    memswap_limit: int | None = None  # memory + swap; -1 is unlimited
    mem_swappiness: int | None = None
    pids_limit: int | None = None  # -1 is unlimited
    blkio: BlkioConfig | None = None
    oom_kill_disable: bool = False
    oom_score_adj: int | None = None


@dataclass(frozen=True, slots=True)
class Device:
    source: str
    target: str
    permissions: str = "rwm"
    extensions: str = EXTENSIONS


@dataclass(frozen=True, slots=True)
class Hook:
    command: tuple[str, ...]
    user: str | None = None
    privileged: bool = False
    working_dir: str | None = None
    environment: Variables = field(default_factory=no_variables)
    image: str | None = None
    per_replica: bool = False
    extensions: str = EXTENSIONS


@dataclass(frozen=True, slots=True)
class Logging:
    driver: str | None = None
    options: Mapping[str, str] = field(default_factory=no_text)
    extensions: str = EXTENSIONS


@dataclass(frozen=True, slots=True)
class Service:
    """One service. `command`/`entrypoint`: None inherits the image's, () clears it."""

    name: str
    image: str | None = None
    build: Build | None = None
    pull_policy: PullPolicy | None = None
    platform: str | None = None
    container_name: str | None = None
    replicas: int = 1
    profiles: tuple[str, ...] = ()

    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    working_dir: str | None = None
    user: str | None = None
    group_add: tuple[str, ...] = ()
    environment: Variables = field(default_factory=no_variables)  # env_file and environment, resolved
    labels: Mapping[str, str] = field(default_factory=no_text)
    annotations: Mapping[str, str] = field(default_factory=no_text)
    tty: bool = False
    stdin_open: bool = False
    init: bool | None = None
    attach: bool = True
    stop_signal: str | None = None
    stop_grace_period: float | None = None  # seconds; 10
    restart: RestartPolicy | None = None  # as `restart` has it; what counts is `restart_policy`
    healthcheck: Healthcheck | None = None
    depends_on: tuple[Dependency, ...] = ()
    post_start: tuple[Hook, ...] = ()
    pre_stop: tuple[Hook, ...] = ()
    pre_start: tuple[Hook, ...] = ()
    logging: Logging | None = None

    hostname: str | None = None
    domainname: str | None = None
    networks: tuple[Attachment, ...] = ()  # empty only with network_mode
    network_mode: str | None = None  # none | host | bridge | service:X | container:X
    links: tuple[tuple[str, str], ...] = ()  # (service, alias)
    ports: tuple[Port, ...] = ()
    expose: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    extra_hosts: tuple[tuple[str, str], ...] = ()  # (name, address or "host-gateway")
    mac_address: str | None = None

    mounts: tuple[Mount, ...] = ()  # volumes and tmpfs, by target
    configs: tuple[FileReference, ...] = ()
    secrets: tuple[FileReference, ...] = ()
    volumes_from: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    read_only: bool = False
    shm_size: int | None = None  # bytes

    resources: ServiceLimits = ServiceLimits()
    ulimits: Mapping[str, Ulimit] = field(default_factory=lambda: MappingProxyType({}))
    sysctls: Mapping[str, str] = field(default_factory=no_text)
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    security_opt: tuple[str, ...] = ()
    ipc: str | None = None
    pid: str | None = None
    uts: str | None = None
    userns_mode: str | None = None
    cgroup: str | None = None
    cgroup_parent: str | None = None

    deploy: Deploy | None = None  # replicas and limits are above, too
    develop: Develop | None = None
    provider: Provider | None = None
    provided: Mapping[str, str] = field(default_factory=no_text)  # variables that it told, for those who depend on it
    models: Mapping[str, ModelUse] = field(default_factory=lambda: MappingProxyType({}))
    gpus: tuple[DeviceRequest, ...] = ()
    credential_spec: CredentialSpec | None = None
    label_file: tuple[str, ...] = ()  # absolute; their labels are in `labels`
    external_links: tuple[str, ...] = ()
    storage_opt: Mapping[str, str] = field(default_factory=no_text)
    isolation: str | None = None
    runtime: str | None = None
    pull_refresh_after: str | None = None
    use_api_socket: bool = False
    cpu_count: int | None = None
    cpu_percent: float | None = None
    restart_unhealthy: bool = False  # of x-pycompose.restart
    replica_identity: bool = False  # of x-pycompose.replica_identity
    host_show: tuple[str, ...] = ()  # of x-pycompose.host.show: absolute paths that the image `host` does not hide

    kept: Mapping[str, str] = field(default_factory=no_text)  # x- keys, as canonical JSON
    config_hash: str = ""  # sha256, as in docker compose: without build, pull_policy, scale, depends_on, profiles
    hash_parts: Mapping[str, str] = field(
        default_factory=no_text
    )  # attribute -> short hash, so that a cause can name what changed

    @property
    def further_images(self) -> tuple[str, ...]:
        """Images beside its own that its containers need: those that are mounted, and those of its pre_start hooks."""
        mounted = [mount.source for mount in self.mounts if isinstance(mount, ImageMount)]
        return tuple(dict.fromkeys((*mounted, *(hook.image for hook in self.pre_start if hook.image))))

    @property
    def restart_policy(self) -> RestartPolicy:
        """What `deploy` says of it, before what `restart` says."""
        policy = self.restart or RestartPolicy()
        if self.deploy is not None and (said := self.deploy.restart_policy) is not None:
            words: dict[str, RestartCondition] = {"none": "no", "on-failure": "on-failure"}
            condition = words.get(said.condition or "any", "always")
            policy = RestartPolicy(condition, said.max_attempts or None, said.delay or None, said.window or None)
        return replace(policy, unhealthy=True) if self.restart_unhealthy else policy


@dataclass(frozen=True, slots=True)
class IpamPool:
    subnet: str | None = None
    ip_range: str | None = None
    gateway: str | None = None
    aux_addresses: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class Network:
    key: str
    name: str  # the real name: project_key, or what the file says
    external: bool = False
    driver: str | None = None
    driver_opts: Mapping[str, str] = field(default_factory=no_text)
    internal: bool = False
    attachable: bool = False
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    ipam_driver: str | None = None
    ipam_pools: tuple[IpamPool, ...] = ()
    ipam_options: Mapping[str, str] = field(default_factory=no_text)
    labels: Mapping[str, str] = field(default_factory=no_text)
    kept: Mapping[str, str] = field(default_factory=no_text)
    config_hash: str = ""


@dataclass(frozen=True, slots=True)
class Volume:
    key: str
    name: str
    external: bool = False
    driver: str | None = None
    driver_opts: Mapping[str, str] = field(default_factory=no_text)
    labels: Mapping[str, str] = field(default_factory=no_text)
    kept: Mapping[str, str] = field(default_factory=no_text)
    config_hash: str = ""


@dataclass(frozen=True, slots=True)
class FileSource:
    """A top-level config or secret: exactly one of file, environment (name of a variable), content, or external."""

    key: str
    name: str
    file: str | None = None
    environment: str | None = None
    content: str | None = None  # for `environment`: the value that the loader found
    external: bool = False
    labels: Mapping[str, str] = field(default_factory=no_text)
    driver: str | None = None
    driver_opts: Mapping[str, str] = field(default_factory=no_text)
    template_driver: str | None = None
    kept: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class Project:
    """A whole compose file, or several merged. Mappings keep the order of the file."""

    name: str
    working_dir: str
    config_files: tuple[str, ...]
    environment_files: tuple[str, ...] = ()
    services: Mapping[str, Service] = field(default_factory=lambda: MappingProxyType({}))
    disabled_services: Mapping[str, Service] = field(default_factory=lambda: MappingProxyType({}))  # by profile
    networks: Mapping[str, Network] = field(default_factory=lambda: MappingProxyType({}))
    volumes: Mapping[str, Volume] = field(default_factory=lambda: MappingProxyType({}))
    configs: Mapping[str, FileSource] = field(default_factory=lambda: MappingProxyType({}))
    secrets: Mapping[str, FileSource] = field(default_factory=lambda: MappingProxyType({}))
    models: Mapping[str, LanguageModel] = field(default_factory=lambda: MappingProxyType({}))
    profiles: tuple[str, ...] = ()  # those that are active
    kept: Mapping[str, str] = field(default_factory=no_text)  # x- keys, as canonical JSON
    obstacles: tuple[Obstacle, ...] = ()  # only a plan that makes the containers of those services fails by them
    order: tuple[str, ...] = ()  # the active services, what is needed first; empty: not worked out (`plan.graph.order`)
    separator: str = "-"  # between the parts of names that no file gave; "_" as of Compose 1

    def own_image(self, service: str) -> str:
        """The name of an image that is built for a service and that no file names."""
        return f"{self.name}{self.separator}{service}"
