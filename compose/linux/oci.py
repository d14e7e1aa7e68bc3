"""From a service and its image to the bundle that the runtime starts: a pure function.

The security profile (capabilities, seccomp, masked paths, `/dev`, …) is `runtime.profile`'s, arrives as its `Defaults`,
so this module decides only what a compose file may change. What depends on the machine (paths of volumes, device
numbers, namespaces of other containers) is looked up by the caller and given as data. Rules: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from pycompose.compose.model.fields import EMPTY, no_text, with_variables
from pycompose.compose.model.project import DeviceRate, Logging, Project, Service, ServiceLimits
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass
from pycompose.network.spec import DNS_ADDRESS
from pycompose.runtime import spec as oci
from pycompose.runtime.policy.profile import Defaults
from pycompose.sizes import size_in_bytes

from . import network_spec

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NAMESPACES = (("network_mode", "network"), ("pid", "pid"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup"))


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says of the containers made from it."""

    env: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Paths, numbers and ids of this machine for one service, looked up by the caller."""

    mounts: tuple[oci.Mount, ...] = ()  # the service's own, resolved to paths of the host
    numbers: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # block device -> major, minor
    shared: Mapping[str, str] = field(default_factory=no_text)  # namespace type -> id of the container that has it
    hostname: str = ""  # where the service does not say
    ipv6: bool = True  # the kernel has it
    variables: Mapping[str, str] = field(default_factory=no_text)  # what it knows of itself


def host_namespaces(service: Service) -> tuple[str, ...]:
    """Types of the namespaces that are the host's."""
    return tuple(kind for attribute, kind in NAMESPACES if getattr(service, attribute) == "host")


def bundle(
    project: Project,
    service: Service,
    container_id: str,
    root: oci.RootFilesystem,
    image: ImageConfig,
    profile: Defaults,
    facts: HostFacts | None = None,
    *,
    annotations: Mapping[str, str] = EMPTY,
) -> oci.Bundle:
    """The bundle of one container; `profile` is the one of this service."""
    facts = facts or HostFacts()
    hostname = service.hostname or facts.hostname or container_id[:12]
    taken = {mount.destination for mount in facts.mounts}
    spec = oci.Spec(
        process=process(service, image, profile, hostname, facts.variables),
        root_readonly=service.read_only,
        hostname=hostname if service.uts != "host" else "",
        domainname=service.domainname or "",
        mounts=tuple(mount for mount in profile.mounts if mount.destination not in taken) + facts.mounts,
        linux=oci.Linux(
            namespaces=profile.namespaces,
            devices=profile.devices,
            cgroups_path=f"{project.name}/{container_id}",
            resources=resources(service.resources, profile.device_rules, facts.numbers),
            seccomp=profile.seccomp,
            sysctl={**network_spec.sysctls(project, service, facts.ipv6), **profile.sysctl},
            masked_paths=profile.masked_paths,
            readonly_paths=profile.readonly_paths,
        ),
        annotations={**service.annotations, **annotations},
    )
    size, files = log_limits(service.logging)
    return oci.Bundle(
        spec=spec,
        root=root,
        sockets=sockets(service),
        init=bool(service.init),
        stdin_open=service.stdin_open,
        log_max_size=size,
        log_max_files=files,
        shared=facts.shared,
    )


def sockets(service: Service) -> tuple[oci.InsideSocket, ...]:
    """Those that the container's network is set up and served through: none where it has no network of ours."""
    if not network_spec.has_network(service):
        return ()
    return (
        oci.InsideSocket("route"),
        oci.InsideSocket("netfilter"),
        oci.InsideSocket("udp", DNS_ADDRESS, 0),
        oci.InsideSocket("tcp", DNS_ADDRESS, 0),
    )


def log_limits(logging: Logging | None) -> tuple[int, int]:
    """(bytes of a log file, 0 without limit; how many files), from `max-size` and `max-file`; no file for "none"."""
    if logging and logging.driver == "none":
        return 0, 0
    options = logging.options if logging else {}
    text, files = options.get("max-size", ""), options.get("max-file", "")
    size = size_in_bytes(text or "0")
    if size is None or (files and not files.isdecimal()):
        raise PycomposeError(f"logging options max-size={text!r}, max-file={files!r} are not understood", hint="10m, 3")
    return size, max(1, int(files or 1))


def logging_notes(logging: Logging | None) -> tuple[str, ...]:
    """What a person is told of a logging driver that is not there."""
    if logging is None or logging.driver in (None, "", "json-file", "local", "none"):
        return ()
    return (f'logging driver "{logging.driver}" is not there: output is kept in files, which `pycompose logs` reads',)


def process(
    service: Service, image: ImageConfig, profile: Defaults, hostname: str, variables: Mapping[str, str] = EMPTY
) -> oci.Process:
    """The first process. An entrypoint of the file also clears the image's command, as in Docker."""
    if service.entrypoint is None:
        start, image_command = image.entrypoint, image.cmd
    else:
        start, image_command = service.entrypoint, ()
    args = start + (image_command if service.command is None else service.command)
    if not args:
        raise PycomposeError(
            f"service {service.name!r}: no command to run", hint="the image names none: give the service a command"
        )
    user = service.user or image.user
    return oci.Process(
        args=args,
        env=environment(service, image, hostname, variables),
        cwd=service.working_dir or image.working_dir or "/",
        user=oci.User(username=user or "0", group_add=service.group_add),  # root too has groups
        terminal=service.tty,
        capabilities=profile.capabilities,
        rlimits=tuple(_rlimit(name, limit.soft, limit.hard) for name, limit in service.ulimits.items()),
        no_new_privileges=profile.no_new_privileges,
        oom_score_adj=service.resources.oom_score_adj,
        apparmor_profile=profile.apparmor_profile,
    )


def environment(
    service: Service, image: ImageConfig, hostname: str, variables: Mapping[str, str] = EMPTY
) -> tuple[str, ...]:
    """Docker's own variables, then the image's, ours, the service's; a later one wins, the first one's place stays."""
    first = [PATH, f"HOSTNAME={hostname}", *(["TERM=xterm"] if service.tty else [])]
    return with_variables([*first, *image.env], {**variables, **service.environment})


def resources(
    wanted: ServiceLimits, rules: tuple[oci.DeviceRule, ...] = (), numbers: Mapping[str, tuple[int, int]] | None = None
) -> oci.Resources:
    """Limits as cgroups take them. Memory without a swap limit gets as much swap again, as in Docker."""
    period, quota = wanted.cpu_period, wanted.cpu_quota
    if wanted.cpus is not None:
        period, quota = 100_000, round(wanted.cpus * 100_000)
    swap = wanted.memswap_limit or None
    if swap is None and wanted.mem_limit is not None:
        swap = 2 * wanted.mem_limit
    return oci.Resources(
        devices=rules,
        memory=oci.MemoryResources(
            limit=wanted.mem_limit,
            swap=swap,
            reservation=wanted.mem_reservation,
            swappiness=None if wanted.mem_swappiness == -1 else wanted.mem_swappiness,
            disable_oom_killer=wanted.oom_kill_disable,
        ),
        cpu=oci.CpuResources(
            shares=wanted.cpu_shares,
            quota=quota,
            period=period,
            realtime_runtime=wanted.cpu_rt_runtime,
            realtime_period=wanted.cpu_rt_period,
            cpus=wanted.cpuset or "",
        ),
        pids_limit=wanted.pids_limit,
        block_io=_block_io(wanted, numbers or {}),
    )


def _block_io(wanted: ServiceLimits, numbers: Mapping[str, tuple[int, int]]) -> oci.BlockIoResources:
    blkio = wanted.blkio
    if blkio is None:
        return oci.BlockIoResources()

    def throttles(rates: tuple[DeviceRate, ...]) -> tuple[oci.ThrottleDevice, ...]:
        return tuple(oci.ThrottleDevice(*numbers[r.path], r.rate) for r in rates)

    return oci.BlockIoResources(
        weight=blkio.weight,
        weight_device=tuple(oci.WeightDevice(*numbers[w.path], w.weight) for w in blkio.weight_device),
        throttle_read_bps_device=throttles(blkio.device_read_bps),
        throttle_write_bps_device=throttles(blkio.device_write_bps),
        throttle_read_iops_device=throttles(blkio.device_read_iops),
        throttle_write_iops_device=throttles(blkio.device_write_iops),
    )


def _rlimit(name: str, soft: int, hard: int) -> oci.Rlimit:
    unlimited = 2**64 - 1
    return oci.Rlimit(f"RLIMIT_{name.upper()}", unlimited if soft == -1 else soft, unlimited if hard == -1 else hard)
