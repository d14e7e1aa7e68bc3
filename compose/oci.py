"""From a service and its image to the bundle that the runtime starts: a pure function.

The security profile (capabilities, seccomp, masked paths, `/dev`, …) arrives as a `Profile`, so this module decides
only what a compose file may change. What depends on the machine (paths of volumes, device numbers, namespaces of other
containers) is looked up by the caller and given as data. Rules: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pycompose.runtime import spec as oci

from .errors import PycomposeError
from .model import EMPTY, Project, Resources, Service

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHARED_NAMESPACES = (("pid", "pid"), ("ipc", "ipc"), ("uts", "uts"))  # (service attribute, namespace type)


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says of the containers made from it."""

    env: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """The runtime's defaults, already chosen for a privileged container or for a usual one."""

    capabilities: tuple[str, ...]
    all_capabilities: tuple[str, ...]
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mounts: tuple[oci.Mount, ...] = ()
    devices: tuple[oci.DeviceNode, ...] = ()
    device_rules: tuple[oci.DeviceRule, ...] = ()
    seccomp: oci.Seccomp | None = None


def bundle(
    project: Project,
    service: Service,
    container_id: str,
    root: oci.RootFilesystem,
    image: ImageConfig,
    profile: Profile,
    *,
    mounts: tuple[oci.Mount, ...] = (),
    sockets: tuple[oci.InsideSocket, ...] = (),
    shared: Mapping[str, str] = EMPTY,
    annotations: Mapping[str, str] = EMPTY,
) -> oci.Bundle:
    """The bundle of one container. `mounts` are the service's own, resolved to paths of the host."""
    hostname = service.hostname or container_id[:12]
    spec = oci.Spec(
        process=process(service, image, profile, hostname),
        root_readonly=service.read_only,
        hostname=hostname,
        domainname=service.domainname or "",
        mounts=_default_mounts(service, profile, mounts) + mounts,
        linux=oci.Linux(
            namespaces=namespaces(service, shared),
            devices=profile.devices,
            cgroups_path=f"{project.name}/{container_id}",
            resources=resources(service.resources, profile.device_rules),
            seccomp=None if service.privileged or _option(service, "seccomp") == "unconfined" else profile.seccomp,
            sysctl=service.sysctls,
            masked_paths=() if service.privileged else profile.masked_paths,
            readonly_paths=() if service.privileged else profile.readonly_paths,
        ),
        annotations={**service.annotations, **annotations},
    )
    return oci.Bundle(
        spec=spec, root=root, sockets=sockets, init=service.init, stdin_open=service.stdin_open, shared=shared
    )


def process(service: Service, image: ImageConfig, profile: Profile, hostname: str) -> oci.Process:
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
    caps = capabilities(service, profile)
    user = service.user or image.user
    return oci.Process(
        args=args,
        env=environment(service, image, hostname),
        cwd=service.working_dir or image.working_dir or "/",
        user=oci.User(username=user, group_add=service.group_add),
        terminal=service.tty,
        capabilities=oci.Capabilities(bounding=caps, effective=caps, permitted=caps),
        rlimits=tuple(_rlimit(name, limit.soft, limit.hard) for name, limit in service.ulimits.items()),
        no_new_privileges=_option(service, "no-new-privileges") in ("", "true"),
        oom_score_adj=service.resources.oom_score_adj,
    )


def environment(service: Service, image: ImageConfig, hostname: str) -> tuple[str, ...]:
    """Docker's own variables, then the image's, then the service's; the later one wins, the first one's place stays."""
    first = [PATH, f"HOSTNAME={hostname}", *(["TERM=xterm"] if service.tty else [])]
    found = dict(item.partition("=")[::2] for item in [*first, *image.env])
    found.update(service.environment)
    return tuple(f"{name}={value}" for name, value in found.items())


def capabilities(service: Service, profile: Profile) -> tuple[str, ...]:
    """Drops first, then adds; ALL in either means every one, and an explicit name wins over ALL of the other list."""
    if service.privileged:
        return profile.all_capabilities
    add = {_capability(name) for name in service.cap_add}
    drop = {_capability(name) for name in service.cap_drop}
    for name in sorted(add | drop):
        if name != "CAP_ALL" and name not in profile.all_capabilities:
            raise PycomposeError(f"service {service.name!r}: unknown capability {name}")
    if "CAP_ALL" in add:
        kept = set(profile.all_capabilities) - drop
    else:
        kept = (set() if "CAP_ALL" in drop else set(profile.capabilities) - drop) | add
    return tuple(name for name in profile.all_capabilities if name in kept)


def namespaces(service: Service, shared: Mapping[str, str]) -> tuple[oci.Namespace, ...]:
    """New namespaces of the container; one shared with the host or with another container is not listed."""
    kinds = ["mount"]
    if service.network_mode != "host":
        kinds.append("network")
    kinds += [kind for attribute, kind in SHARED_NAMESPACES if getattr(service, attribute) != "host"]
    if service.cgroup != "host":
        kinds.append("cgroup")
    return tuple(oci.Namespace(kind) for kind in kinds if kind not in shared)


def resources(wanted: Resources, rules: tuple[oci.DeviceRule, ...] = ()) -> oci.Resources:
    """Limits as cgroups take them. Memory without a swap limit gets as much swap again, as in Docker."""
    period, quota = wanted.cpu_period, wanted.cpu_quota
    if wanted.cpus is not None:
        period, quota = 100_000, round(wanted.cpus * 100_000)
    swap = wanted.memswap_limit
    if swap is None and wanted.mem_limit is not None:
        swap = 2 * wanted.mem_limit
    return oci.Resources(
        devices=rules,
        memory=oci.MemoryResources(
            limit=wanted.mem_limit,
            swap=swap,
            reservation=wanted.mem_reservation,
            swappiness=wanted.mem_swappiness,
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
        block_io=oci.BlockIoResources(weight=wanted.blkio.weight if wanted.blkio else None),
    )


def _default_mounts(service: Service, profile: Profile, own: tuple[oci.Mount, ...]) -> tuple[oci.Mount, ...]:
    """The profile's mounts without those that the service's own replace, with `shm_size` applied."""
    taken = {mount.destination for mount in own}
    found = []
    for mount in profile.mounts:
        if mount.destination in taken:
            continue
        if mount.destination == "/dev/shm" and service.shm_size is not None:
            kept = tuple(item for item in mount.options if not item.startswith("size="))
            mount = oci.Mount(mount.destination, mount.type, mount.source, (*kept, f"size={service.shm_size}"))
        found.append(mount)
    return tuple(found)


def _capability(name: str) -> str:
    upper = name.upper()
    return upper if upper.startswith("CAP_") else f"CAP_{upper}"


def _option(service: Service, name: str) -> str | None:
    """The value of a `security_opt` ("" where it stands alone), or None where it is not given."""
    for item in service.security_opt:
        key, _, value = item.replace("=", ":", 1).partition(":")
        if key == name:
            return value
    return None


def _rlimit(name: str, soft: int, hard: int) -> oci.Rlimit:
    unlimited = 2**64 - 1
    return oci.Rlimit(f"RLIMIT_{name.upper()}", unlimited if soft == -1 else soft, unlimited if hard == -1 else hard)
