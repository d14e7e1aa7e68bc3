"""The model written back as canonical compose attributes: what `config` shows, and what is hashed. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pycompose.compose.model import (
    BindMount,
    FileReference,
    FileSource,
    ImageMount,
    Mount,
    Network,
    Project,
    Service,
    TmpfsMount,
    Volume,
    VolumeMount,
)

from .reading import canonical_json

NOT_HASHED = frozenset({"build", "pull_policy", "scale", "depends_on", "profiles"})
PLAIN = [
    "image",
    "platform",
    "container_name",
    "working_dir",
    "user",
    "hostname",
    "domainname",
    "mac_address",
    "network_mode",
    "stop_signal",
    "shm_size",
    "ipc",
    "pid",
    "uts",
    "userns_mode",
    "cgroup",
    "cgroup_parent",
    "pull_policy",
]
FLAGS = ["tty", "stdin_open", "init", "privileged", "read_only"]
LISTS = [
    "group_add",
    "expose",
    "dns",
    "dns_search",
    "dns_opt",
    "volumes_from",
    "device_cgroup_rules",
    "cap_add",
    "cap_drop",
    "security_opt",
    "profiles",
]
PAIRS = ["environment", "labels", "annotations", "sysctls"]
LIMITS = [
    "cpus",
    "cpu_shares",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpuset",
    "mem_limit",
    "mem_reservation",
    "memswap_limit",
    "mem_swappiness",
    "pids_limit",
    "oom_score_adj",
]


def duration(seconds: float) -> str:
    if seconds != int(seconds):
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        (f"{hours}h" if hours else "")
        + (f"{minutes}m" if minutes else "")
        + (f"{rest}s" if rest or seconds < 60 else "")
    )


def _sparse(**values: Any) -> dict[str, Any]:
    return {k: v for k, v in values.items() if v is not None and v is not False and v != {} and v != []}


def service_tree(service: Service) -> dict[str, Any]:
    """A service with long forms; what is at its default is left out, except `command` and `entrypoint` (null)."""
    made: dict[str, Any] = {}
    for key in PLAIN:
        if (value := getattr(service, key)) is not None:
            made[key] = value
    for key in FLAGS:
        if getattr(service, key):
            made[key] = True
    for key in LISTS:
        if value := getattr(service, key):
            made[key] = list(value)
    for key in PAIRS:
        if value := getattr(service, key):
            made[key] = dict(value)
    for key in LIMITS:
        if (value := getattr(service.resources, key)) is not None:
            made[key] = value
    if service.resources.oom_kill_disable:
        made["oom_kill_disable"] = True
    if blkio := service.resources.blkio:
        made["blkio_config"] = _sparse(
            weight=blkio.weight,
            weight_device=[{"path": d.path, "weight": d.weight} for d in blkio.weight_device],
            **{
                key: [{"path": d.path, "rate": d.rate} for d in getattr(blkio, key)]
                for key in ("device_read_bps", "device_read_iops", "device_write_bps", "device_write_iops")
            },
        )
    made["command"] = None if service.command is None else list(service.command)
    made["entrypoint"] = None if service.entrypoint is None else list(service.entrypoint)
    if not service.attach:
        made["attach"] = False
    if service.build:
        made["build"] = json.loads(service.build.canonical)
    if service.replicas != 1:
        made["scale"] = service.replicas
    if service.stop_grace_period is not None:
        made["stop_grace_period"] = duration(service.stop_grace_period)
    if service.restart.condition != "no":
        attempts = service.restart.max_attempts
        made["restart"] = service.restart.condition + (f":{attempts}" if attempts is not None else "")
    if check := service.healthcheck:
        times = {k: getattr(check, k) for k in ("interval", "timeout", "start_period", "start_interval")}
        made["healthcheck"] = _sparse(
            test=list(check.test) if check.test is not None else None,
            retries=check.retries,
            disable=check.disable,
            **{k: duration(v) for k, v in times.items() if v is not None},
        )
    if service.depends_on:
        made["depends_on"] = {
            d.service: {"condition": d.condition, **({"restart": True} if d.restart else {}), "required": d.required}
            for d in service.depends_on
        }
    for key in ("post_start", "pre_stop", "pre_start"):
        if hooks := getattr(service, key):
            made[key] = [
                _sparse(
                    command=list(h.command),
                    user=h.user,
                    privileged=h.privileged,
                    working_dir=h.working_dir,
                    environment=dict(h.environment),
                    image=h.image,
                    per_replica=h.per_replica,
                )
                for h in hooks
            ]
    if service.logging:
        made["logging"] = _sparse(driver=service.logging.driver, options=dict(service.logging.options))
    if service.networks:
        made["networks"] = {
            a.network: _sparse(
                aliases=list(a.aliases),
                ipv4_address=a.ipv4_address,
                ipv6_address=a.ipv6_address,
                mac_address=a.mac_address,
                interface_name=a.interface_name,
                link_local_ips=list(a.link_local_ips),
                priority=a.priority or None,
                gw_priority=a.gw_priority or None,
                driver_opts=dict(a.driver_opts),
            )
            or None
            for a in service.networks
        }
    if service.links:
        made["links"] = [name if name == alias else f"{name}:{alias}" for name, alias in service.links]
    if service.ports:
        made["ports"] = [
            _sparse(
                name=p.name,
                mode=p.mode,
                host_ip=p.host_ip,
                target=p.target,
                published=None
                if p.published is None
                else str(p.published[0])
                if p.published[0] == p.published[1]
                else f"{p.published[0]}-{p.published[1]}",
                protocol=p.protocol,
                app_protocol=p.app_protocol,
            )
            for p in service.ports
        ]
    if service.extra_hosts:
        made["extra_hosts"] = [f"{name}={address}" for name, address in service.extra_hosts]
    if service.mounts:
        made["volumes"] = [_mount(m) for m in service.mounts]
    for key in ("configs", "secrets"):
        if uses := getattr(service, key):
            made[key] = [_use(u) for u in uses]
    if service.devices:
        made["devices"] = [
            {"source": d.source, "target": d.target, "permissions": d.permissions} for d in service.devices
        ]
    if service.ulimits:
        made["ulimits"] = {k: {"soft": u.soft, "hard": u.hard} for k, u in service.ulimits.items()}
    for key, value in service.kept.items():
        made[key] = json.loads(value)
    return dict(sorted(made.items()))


def _use(use: FileReference) -> dict[str, Any]:
    mode = None if use.mode is None else f"0{use.mode:o}"
    return _sparse(source=use.source, target=use.target, uid=use.uid, gid=use.gid, mode=mode)


def _mount(mount: Mount) -> dict[str, Any]:
    match mount:
        case BindMount():
            bind = _sparse(propagation=mount.propagation, recursive=mount.recursive, selinux=mount.selinux)
            if not mount.create_host_path:
                bind["create_host_path"] = False
            return _sparse(type="bind", source=mount.source, target=mount.target, read_only=mount.read_only, bind=bind)
        case VolumeMount():
            volume = _sparse(nocopy=mount.nocopy, subpath=mount.subpath, labels=dict(mount.labels))
            return _sparse(
                type="volume", source=mount.source, target=mount.target, read_only=mount.read_only, volume=volume
            )
        case TmpfsMount():
            mode = None if mount.mode is None else f"0{mount.mode:o}"
            tmpfs = _sparse(size=mount.size, mode=mode, options=list(mount.options))
            return _sparse(type="tmpfs", target=mount.target, tmpfs=tmpfs)
        case ImageMount():
            image = _sparse(subpath=mount.subpath)
            return _sparse(
                type="image", source=mount.source, target=mount.target, read_only=mount.read_only, image=image
            )


def network_tree(network: Network) -> dict[str, Any]:
    pools = [
        _sparse(subnet=p.subnet, ip_range=p.ip_range, gateway=p.gateway, aux_addresses=dict(p.aux_addresses))
        for p in network.ipam_pools
    ]
    made = _sparse(
        name=network.name,
        external=network.external,
        driver=network.driver,
        driver_opts=dict(network.driver_opts),
        internal=network.internal,
        attachable=network.attachable,
        enable_ipv6=network.enable_ipv6,
        ipam=_sparse(driver=network.ipam_driver, config=pools),
        labels=dict(network.labels),
    )
    return made if network.enable_ipv4 else {**made, "enable_ipv4": False}


def volume_tree(volume: Volume) -> dict[str, Any]:
    return _sparse(
        name=volume.name,
        external=volume.external,
        driver=volume.driver,
        driver_opts=dict(volume.driver_opts),
        labels=dict(volume.labels),
    )


def _source(source: FileSource) -> dict[str, Any]:
    content = None if source.environment else source.content
    return _sparse(
        name=source.name,
        file=source.file,
        environment=source.environment,
        content=content,
        external=source.external,
        labels=dict(source.labels),
    )


def project_tree(project: Project) -> dict[str, Any]:
    """The canonical file of a project: active services, and the networks and volumes of the file."""
    made: dict[str, Any] = {"name": project.name}
    made["services"] = {key: service_tree(s) for key, s in sorted(project.services.items())}
    for key, one in (("networks", network_tree), ("volumes", volume_tree), ("configs", _source), ("secrets", _source)):
        if entries := getattr(project, key):
            made[key] = {k: one(v) for k, v in sorted(entries.items())}
    for key, value in project.kept.items():
        made[key] = json.loads(value)
    return made


def _digest(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def service_hashes(service: Service) -> tuple[str, dict[str, str]]:
    """(config_hash, attribute -> short hash) of all that a container is made from."""
    tree = {key: value for key, value in service_tree(service).items() if key not in NOT_HASHED}
    if isinstance(tree.get("deploy"), dict):
        tree["deploy"] = {k: v for k, v in tree["deploy"].items() if k != "replicas"}
    return _digest(tree), {key: _digest(value)[:12] for key, value in tree.items()}


def network_hash(network: Network) -> str:
    return _digest(network_tree(network))


def volume_hash(volume: Volume) -> str:
    return _digest(volume_tree(volume))
