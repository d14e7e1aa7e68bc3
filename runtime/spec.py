"""The OCI runtime specification's configuration (`config.json`), as frozen data with the specification's own names.

Only what a Linux container of ours can use; camelCase in JSON (`to_json`, `from_json`), snake_case here. `Bundle` adds
what OCI leaves to the caller: of what the root file system is made, where output goes, which sockets the container's
network namespace shall hand out.

Rules: data only, standard library only, read by the keeper too (`python -I -S`). No defaults of policy live here: the
security profile is `runtime.profile`'s.
Source: opencontainers/runtime-spec v1.3, config.md and config-linux.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType
from typing import TypeVar

from pycompose.dataclass_json import Codec
from pycompose.frozen import dataclass

NO_TEXT: Mapping[str, str] = MappingProxyType({})


def no_text() -> Mapping[str, str]:
    """The empty mapping, as a field's default."""
    return NO_TEXT


@dataclass(frozen=True, slots=True)
class Rlimit:
    type: str  # RLIMIT_NOFILE
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class User:
    """Numbers, as OCI wants; a `username` ("name[:group]") that is not empty is resolved inside the root."""

    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()
    username: str = ""
    group_add: tuple[str, ...] = ()  # names or numbers, resolved like username


@dataclass(frozen=True, slots=True)
class Capabilities:
    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Process:
    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: User = User()
    terminal: bool = False
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    oom_score_adj: int | None = None
    apparmor_profile: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    """`source` of a bind is an absolute host path; options as in OCI (`rbind`, `ro`, `rro`, `rprivate`, …)."""

    destination: str
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Namespace:
    """`type` is mount, pid, network, uts, ipc, cgroup, time or user; `path` joins an existing one, empty makes one.

    A type that is not listed is shared with the host.
    """

    type: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class DeviceNode:
    path: str
    type: str  # c, b or p
    major: int
    minor: int
    file_mode: int = 0o666
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """For the device cgroup: v1 files, on v2 a BPF program."""

    allow: bool
    type: str = "a"  # a, c, b
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"


@dataclass(frozen=True, slots=True)
class MemoryResources:
    limit: int | None = None
    swap: int | None = None  # memory + swap; -1 unlimited
    reservation: int | None = None
    swappiness: int | None = None
    disable_oom_killer: bool = False


@dataclass(frozen=True, slots=True)
class CpuResources:
    shares: int | None = None
    quota: int | None = None
    period: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""


@dataclass(frozen=True, slots=True)
class WeightDevice:
    major: int
    minor: int
    weight: int


@dataclass(frozen=True, slots=True)
class ThrottleDevice:
    major: int
    minor: int
    rate: int


@dataclass(frozen=True, slots=True)
class BlockIoResources:
    weight: int | None = None
    weight_device: tuple[WeightDevice, ...] = ()
    throttle_read_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_write_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_read_iops_device: tuple[ThrottleDevice, ...] = ()
    throttle_write_iops_device: tuple[ThrottleDevice, ...] = ()


@dataclass(frozen=True, slots=True)
class Resources:
    devices: tuple[DeviceRule, ...] = ()
    memory: MemoryResources = MemoryResources()
    cpu: CpuResources = CpuResources()
    pids_limit: int | None = None
    block_io: BlockIoResources = BlockIoResources()


@dataclass(frozen=True, slots=True)
class SeccompArg:
    index: int
    value: int
    op: str  # SCMP_CMP_EQ …
    value_two: int = 0


@dataclass(frozen=True, slots=True)
class SeccompRule:
    names: tuple[str, ...]
    action: str  # SCMP_ACT_ALLOW …
    errno_ret: int | None = None
    args: tuple[SeccompArg, ...] = ()


@dataclass(frozen=True, slots=True)
class Seccomp:
    default_action: str
    default_errno_ret: int | None = None
    architectures: tuple[str, ...] = ()
    syscalls: tuple[SeccompRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Linux:
    namespaces: tuple[Namespace, ...] = ()
    devices: tuple[DeviceNode, ...] = ()
    cgroups_path: str = ""  # "project/container-id", under the tree of pycompose
    resources: Resources = Resources()
    seccomp: Seccomp | None = None
    sysctl: Mapping[str, str] = field(default_factory=no_text)
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    rootfs_propagation: str = "rprivate"


@dataclass(frozen=True, slots=True)
class Spec:
    process: Process
    root_readonly: bool = False
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[Mount, ...] = ()
    linux: Linux = Linux()
    annotations: Mapping[str, str] = field(default_factory=no_text)
    oci_version: str = "1.2.0"


@dataclass(frozen=True, slots=True)
class LayeredRoot:
    """An overlay: `lower` from the topmost down (the shared init layer first), a private upper and work folder."""

    lower: tuple[str, ...]
    upper: str
    work: str


@dataclass(frozen=True, slots=True)
class HostRoot:
    """The host's own file system, copy-on-write: `/` and every real disk file system mounted under it get an overlay.

    `store` is the container's folder for uppers and works; `hidden` are host paths that must not be seen inside,
    `shown` those below them that are. All are absolute and without links.
    """

    store: str
    lower: tuple[str, ...] = ()  # the init layer
    hidden: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()  # of an image that was built on the host's files, the topmost first
    shown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FolderRoot:
    """A folder used as it is (an OCI bundle's `root.path`, or a vfs copy)."""

    path: str


RootFilesystem = LayeredRoot | HostRoot | FolderRoot


@dataclass(frozen=True, slots=True)
class InsideSocket:
    """A socket that the container's first process makes in its network namespace and hands out, in the order asked.

    `kind`: "route" (NETLINK_ROUTE, SOCK_DGRAM), "netfilter" (NETLINK_NETFILTER), "udp" or "tcp" (bound; tcp listening).
    """

    kind: str
    host: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class Bundle:
    spec: Spec
    root: RootFilesystem
    sockets: tuple[InsideSocket, ...] = ()
    init: bool = False  # keep a process of ours as pid 1 that forwards signals and reaps
    stdin_open: bool = False
    log_max_size: int = 0  # bytes; 0 is without limit
    log_max_files: int = 1  # 0: nothing of it is kept
    shared: Mapping[str, str] = field(default_factory=no_text)  # namespace type -> id of the container that has it


# --- JSON ---
# Names are camelCase as in config.json; a root file system is told from another by "kind".

_TAGS: Mapping[type, str] = {LayeredRoot: "layered", HostRoot: "host", FolderRoot: "folder"}


def _json_name(name: str) -> str:
    if name == "block_io":
        return "blockIO"
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


_CODEC = Codec(key_of=_json_name, tag_of=_TAGS.get, steady=frozenset([Seccomp]))
_T = TypeVar("_T", Bundle, Spec, Process)


def to_json(value: Bundle | Spec | Process) -> str:
    """The text of `bundle.json`; `from_json` reads it back as an equal value."""
    return _CODEC.to_json(value)


def from_json(wanted: type[_T], text: str | bytes) -> _T:
    """Read what `to_json` wrote. Raises ValueError for anything else."""
    return _CODEC.from_json(wanted, text)
