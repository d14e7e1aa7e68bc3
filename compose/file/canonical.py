"""The model written back as a compose file, as docker compose writes it: what `config` shows, and what is hashed. Pure.

Rules: long forms only; what is at its default is left out; keys are in docker compose's order, the entries of mappings
by name. Sizes are text, as docker compose has them. Loaded again, the result means the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from pycompose.compose.model.project import (
    BindMount,
    FileReference,
    FileSource,
    Healthcheck,
    Hook,
    ImageMount,
    Mount,
    Network,
    Port,
    Project,
    Service,
    ServiceLimits,
    TmpfsMount,
    Volume,
    VolumeMount,
)
from pycompose.compose.model.quantities import duration_text as duration
from pycompose.short_digest import sha256

from . import declarations
from .order import SERVICE, TOP, arranged, by_name, named, ordered, words
from .reading import canonical_json

NOT_HASHED = frozenset({"build", "pull_policy", "scale", "depends_on", "profiles"})
PLAIN = words("""
    platform container_name working_dir user hostname domainname mac_address network_mode stop_signal ipc pid uts
    userns_mode cgroup cgroup_parent pull_policy isolation runtime pull_refresh_after cpu_count
""")
FLAGS = ("tty", "stdin_open", "privileged", "read_only", "use_api_socket")
LISTS = words("""
    group_add expose dns dns_search dns_opt volumes_from device_cgroup_rules cap_add cap_drop security_opt profiles
    external_links
""")
PAIRS = ("environment", "labels", "annotations", "sysctls", "storage_opt")
SOURCE = words("name file environment content external labels driver driver_opts template_driver")
RECORDS = ("deploy", "develop", "provider", "credential_spec")
NUMBERS = words("cpu_shares cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpuset pids_limit oom_score_adj")
BYTES = ("mem_limit", "mem_reservation", "memswap_limit", "mem_swappiness")  # the last is one to docker compose

SECRETS = "/run/secrets/"
LIMITS = {"cpus": "cpus", "memory": "mem_limit", "pids": "pids_limit"}  # of deploy.resources -> of the service itself


def number(value: float) -> float | int:
    """2.0 is written as 2."""
    return int(value) if value == int(value) else value


def _sparse(**values: Any) -> dict[str, Any]:
    return {k: v for k, v in values.items() if v is not None and v is not False and v != {} and v != [] and v != ""}


def service_tree(service: Service, own_image: str = "") -> dict[str, Any]:
    """A service as a mapping. `own_image` is the name of its image that no file gave, and is left out."""
    mapping = _declared(service)
    for key in PLAIN:
        if (value := getattr(service, key)) is not None:
            mapping[key] = value
    if service.init is not None:
        mapping["init"] = service.init
    for key in FLAGS:
        if getattr(service, key):
            mapping[key] = True
    for key in LISTS:
        if value := getattr(service, key):
            mapping[key] = list(value)
    for key in PAIRS:
        if value := getattr(service, key):
            mapping[key] = named(value)
    if service.image is not None and not (service.build and service.image == own_image):
        mapping["image"] = service.image
    if service.build:
        mapping["build"] = _build(json.loads(service.build.canonical))
    for key in ("command", "entrypoint"):
        if (words := getattr(service, key)) is not None:
            mapping[key] = list(words)
    if not service.attach:
        mapping["attach"] = False
    if service.shm_size is not None:
        mapping["shm_size"] = str(service.shm_size)
    if service.stop_grace_period is not None:
        mapping["stop_grace_period"] = duration(service.stop_grace_period)
    if service.healthcheck:
        mapping["healthcheck"] = _healthcheck(service.healthcheck)
    if service.depends_on:
        mapping["depends_on"] = named(
            {
                d.service: {
                    "condition": d.condition,
                    **({"restart": True} if d.restart else {}),
                    "required": d.required,
                    **_more(d.extensions),
                }
                for d in service.depends_on
            }
        )
    for key in ("post_start", "pre_stop", "pre_start"):
        if hooks := getattr(service, key):
            mapping[key] = [_hook(hook) for hook in hooks]
    if service.logging:
        logging = _sparse(driver=service.logging.driver, options=named(service.logging.options))
        mapping["logging"] = logging | _more(service.logging.extensions)
    if service.networks:
        mapping["networks"] = named(
            {
                a.network: _sparse(
                    aliases=list(a.aliases),
                    driver_opts=named(a.driver_opts),
                    gw_priority=a.gw_priority or None,
                    interface_name=a.interface_name,
                    ipv4_address=a.ipv4_address,
                    ipv6_address=a.ipv6_address,
                    link_local_ips=list(a.link_local_ips),
                    mac_address=a.mac_address,
                    priority=a.priority or None,
                    **_more(a.extensions),
                )
                or None
                for a in service.networks
            }
        )
    if service.links:
        mapping["links"] = [name if name == alias else f"{name}:{alias}" for name, alias in service.links]
    if service.ports:
        mapping["ports"] = [port_tree(port) for port in service.ports]
    if service.extra_hosts:
        mapping["extra_hosts"] = sorted(f"{name}={address}" for name, address in service.extra_hosts)
    listed = [mount for mount in service.mounts if isinstance(mount, TmpfsMount) and mount.short is not None]
    if listed:
        mapping["tmpfs"] = [mount.short for mount in listed]
    if len(service.mounts) > len(listed):
        mapping["volumes"] = [mount_tree(mount) for mount in service.mounts if mount not in listed]
    if service.configs:
        mapping["configs"] = [
            _use(use, None if use.target == f"/{use.source}" else use.target) for use in service.configs
        ]
    if service.secrets:
        mapping["secrets"] = [_use(use, _secret_target(use)) for use in service.secrets]
    if service.devices:
        mapping["devices"] = [
            {"source": d.source, "target": d.target, "permissions": d.permissions} | _more(d.extensions)
            for d in service.devices
        ]
    if service.ulimits:
        mapping["ulimits"] = named(
            {
                key: limit.soft if limit.soft == limit.hard else {"soft": limit.soft, "hard": limit.hard}
                for key, limit in service.ulimits.items()
            }
        )
    mapping.update(_resources(service.resources))
    _beside_deploy(service, mapping)
    return ordered(mapping, SERVICE)


def _build(build: dict[str, Any]) -> dict[str, Any]:
    mapping = dict(build)
    if isinstance(keys := build.get("ssh"), dict):
        mapping["ssh"] = [name if path is None else f"{name}={path}" for name, path in sorted(keys.items())]
    if mapping.get("shm_size") == "0":  # docker compose takes it for none
        del mapping["shm_size"]
    return cast(dict[str, Any], arranged(mapping, "build"))


def _resources(resources: ServiceLimits) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    if resources.cpus is not None:
        mapping["cpus"] = number(resources.cpus)
    for key in NUMBERS:
        if (value := getattr(resources, key)) is not None:
            mapping[key] = value
    for key in BYTES:
        if (value := getattr(resources, key)) is not None:
            mapping[key] = str(value)
    if resources.oom_kill_disable:
        mapping["oom_kill_disable"] = True
    if blkio := resources.blkio:
        mapping["blkio_config"] = _sparse(
            weight=blkio.weight,
            weight_device=[{"path": d.path, "weight": d.weight} for d in blkio.weight_device],
            **{
                key: [{"path": d.path, "rate": str(d.rate)} for d in getattr(blkio, key)]
                for key in ("device_read_bps", "device_read_iops", "device_write_bps", "device_write_iops")
            },
        )
    return mapping


def _declared(service: Service) -> dict[str, Any]:
    """What others than the engine act on, and x- keys."""
    mapping: dict[str, Any] = _extensions(service.kept)
    for key in RECORDS:
        if (record := getattr(service, key)) is not None:
            mapping[key] = declarations.written(record)
    if service.models:
        mapping["models"] = named({name: declarations.written(use) or None for name, use in service.models.items()})
    if service.gpus:
        mapping["gpus"] = [declarations.written(request) for request in service.gpus]
    if service.cpu_percent is not None:
        mapping["cpu_percent"] = number(service.cpu_percent)
    return {key: arranged(value, key) for key, value in mapping.items()}


def _beside_deploy(service: Service, mapping: dict[str, Any]) -> None:
    """`scale` and the limits, unless `deploy` has said them already."""
    deploy = mapping.get("deploy")
    deploy = deploy if isinstance(deploy, dict) else {}
    if service.replicas != 1 and "replicas" not in deploy:
        mapping["scale"] = service.replicas
    if service.restart is not None:
        attempts = service.restart.max_attempts
        mapping["restart"] = service.restart.condition + (f":{attempts}" if attempts is not None else "")
    resources = deploy.get("resources") or {}
    for key, attribute in LIMITS.items():
        if key in (resources.get("limits") or {}):
            mapping.pop(attribute, None)
    if "memory" in (resources.get("reservations") or {}):
        mapping.pop("mem_reservation", None)


def _healthcheck(check: Healthcheck) -> dict[str, Any]:
    def time(seconds: float | None) -> str | None:
        return None if seconds is None else duration(seconds)

    return _sparse(
        test=list(check.test) if check.test is not None else None,
        timeout=time(check.timeout),
        interval=time(check.interval),
        retries=check.retries,
        start_period=time(check.start_period),
        start_interval=time(check.start_interval),
        disable=check.disable and check.test != ("NONE",),
    ) | _more(check.extensions)


def _hook(hook: Hook) -> dict[str, Any]:
    return _sparse(
        command=list(hook.command),
        image=hook.image,
        user=hook.user,
        privileged=hook.privileged,
        working_dir=hook.working_dir,
        environment=named(hook.environment),
        per_replica=hook.per_replica,
    ) | _more(hook.extensions)


def port_tree(port: Port) -> dict[str, Any]:
    published = None
    if port.published is not None:
        first, last = port.published
        published = str(first) if first == last else f"{first}-{last}"
    return _sparse(
        name=port.name,
        mode=port.mode,
        host_ip=port.host_ip,
        target=port.target,
        published=published,
        protocol=port.protocol,
        app_protocol=port.app_protocol,
    ) | _more(port.extensions)


def _use(use: FileReference, target: str | None) -> dict[str, Any]:
    mode = None if use.mode is None else f"0{use.mode:o}"
    return _sparse(source=use.source, target=target, uid=use.uid, gid=use.gid, mode=mode) | _more(use.extensions)


def _secret_target(use: FileReference) -> str:
    """Another target than the default, as files have it: relative to /run/secrets."""
    return use.target if use.target == SECRETS + use.source else use.target.removeprefix(SECRETS)


def mount_tree(mount: Mount) -> dict[str, Any]:
    return _long_mount(mount) | _more(mount.extensions)


def _long_mount(mount: Mount) -> dict[str, Any]:
    match mount:
        case BindMount():
            bind = _sparse(selinux=mount.selinux, propagation=mount.propagation)
            bind |= {} if mount.create_host_path else {"create_host_path": False}
            bind |= _sparse(recursive=mount.recursive)
            return _long("bind", mount.source, mount.target, mount.read_only, bind)
        case VolumeMount():
            volume = _sparse(labels=named(mount.labels), nocopy=mount.nocopy, subpath=mount.subpath)
            return _long("volume", mount.source, mount.target, mount.read_only, volume)
        case TmpfsMount():
            size = None if mount.size is None else str(mount.size)
            return _long("tmpfs", None, mount.target, False, _sparse(size=size, mode=mount.mode) or None)
        case ImageMount():
            image = _sparse(subpath=mount.subpath)
            return _long("image", mount.source, mount.target, mount.read_only, image or None)


def _long(
    kind: str, source: str | None, target: str, read_only: bool, details: dict[str, Any] | None
) -> dict[str, Any]:
    mapping = _sparse(type=kind, source=source, target=target, read_only=read_only)
    return mapping if details is None else {**mapping, kind: details}


def network_tree(network: Network) -> dict[str, Any]:
    pools = [
        _sparse(subnet=p.subnet, gateway=p.gateway, ip_range=p.ip_range, aux_addresses=named(p.aux_addresses))
        for p in network.ipam_pools
    ]
    mapping = _sparse(
        name=network.name,
        driver=network.driver,
        driver_opts=named(network.driver_opts),
        ipam=_sparse(driver=network.ipam_driver, config=pools, options=named(network.ipam_options)),
        external=network.external,
        internal=network.internal,
        attachable=network.attachable,
        labels=named(network.labels),
    )
    if not network.enable_ipv4:
        mapping["enable_ipv4"] = False
    if network.enable_ipv6:
        mapping["enable_ipv6"] = True
    return mapping | _extensions(network.kept)


def volume_tree(volume: Volume) -> dict[str, Any]:
    return _sparse(
        name=volume.name,
        driver=volume.driver,
        driver_opts=named(volume.driver_opts),
        external=volume.external,
        labels=named(volume.labels),
    ) | _extensions(volume.kept)


def _source(source: FileSource) -> dict[str, Any]:
    mapping = _sparse(
        name=source.name,
        file=source.file,
        environment=source.environment,
        external=source.external,
        labels=named(source.labels),
        driver=source.driver,
        driver_opts=named(source.driver_opts),
        template_driver=source.template_driver,
    )
    if source.content is not None and source.environment is None:
        mapping["content"] = source.content
    return ordered(mapping | _extensions(source.kept), SOURCE)


def _more(extensions: str) -> dict[str, Any]:
    """x- keys of a mapping."""
    return dict(by_name(json.loads(extensions))) if extensions else {}


def _extensions(kept: Mapping[str, str]) -> dict[str, Any]:
    return {key: by_name(json.loads(text)) for key, text in kept.items()}


def project_tree(project: Project) -> dict[str, Any]:
    """The canonical file of a project: active services, and every network, volume, config and secret of the file."""
    mapping: dict[str, Any] = _extensions(project.kept)
    mapping["name"] = project.name
    mapping["services"] = named({key: service_tree(s, project.own_image(key)) for key, s in project.services.items()})
    for key, one in (("networks", network_tree), ("volumes", volume_tree), ("configs", _source), ("secrets", _source)):
        if entries := getattr(project, key):
            mapping[key] = named({k: one(v) for k, v in entries.items()})
    if project.models:
        mapping["models"] = named({key: declarations.written(model) for key, model in project.models.items()})
    return ordered(mapping, TOP)


def text_digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogateescape"))


def _digest(value: object) -> str:
    return text_digest(canonical_json(value))


def service_hashes(
    service: Service, contents: Mapping[str, str], env_files: Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """(config_hash, part -> short hash) of all that a container is made from; parts are how a cause names them.

    `contents` are the digests of its configs and secrets. Those of `env_files` are parts only: what of them counts is
    in the environment already.
    """
    tree = {key: value for key, value in service_tree(service).items() if key not in NOT_HASHED}
    if isinstance(tree.get("deploy"), dict):
        tree["deploy"] = {k: v for k, v in tree["deploy"].items() if k != "replicas"}
        if not tree["deploy"]:
            del tree["deploy"]
    parts = {**tree, **contents}
    return _digest(parts), {key: _digest(value)[:12] for key, value in (*parts.items(), *env_files.items())}


def network_hash(network: Network) -> str:
    return _digest(network_tree(network))


def volume_hash(volume: Volume) -> str:
    return _digest(volume_tree(volume))
