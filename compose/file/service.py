"""One entry of `services` as a `Service`: short forms made long, implied dependencies named. Pure.

What only the whole project can tell (do references exist, which profile is active, env files) is `build`'s.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from types import MappingProxyType

from pycompose.compose.model import (
    Attachment,
    BindMount,
    BlkioConfig,
    Build,
    Dependency,
    Device,
    DeviceRate,
    DeviceWeight,
    FileReference,
    Healthcheck,
    Hook,
    ImageMount,
    Logging,
    Mount,
    Port,
    Resources,
    RestartPolicy,
    Service,
    TmpfsMount,
    Ulimit,
    VolumeMount,
)
from pycompose.frozen import dataclass

from .merge import named
from .paths import absolute, is_path, is_remote, volume_parts
from .reading import Section, canonical_json, duration_of, size_of
from .source import Map, Seq, Text, Tree, plain_value

ACTED = frozenset(
    [
        "image",
        "pull_policy",
        "platform",
        "container_name",
        "scale",
        "profiles",
        "command",
        "entrypoint",
        "working_dir",
        "user",
        "group_add",
        "environment",
        "env_file",
        "labels",
        "annotations",
        "tty",
        "stdin_open",
        "init",
        "attach",
        "stop_signal",
        "stop_grace_period",
        "restart",
        "healthcheck",
        "depends_on",
        "hostname",
        "domainname",
        "networks",
        "network_mode",
        "links",
        "ports",
        "expose",
        "dns",
        "dns_search",
        "dns_opt",
        "extra_hosts",
        "mac_address",
        "volumes",
        "tmpfs",
        "configs",
        "secrets",
        "volumes_from",
        "devices",
        "device_cgroup_rules",
        "read_only",
        "shm_size",
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
        "blkio_config",
        "oom_kill_disable",
        "oom_score_adj",
        "ulimits",
        "sysctls",
        "cap_add",
        "cap_drop",
        "privileged",
        "security_opt",
        "ipc",
        "pid",
        "uts",
        "userns_mode",
        "cgroup",
        "cgroup_parent",
        "deploy",
        "post_start",
        "pre_stop",
        "pre_start",
        "logging",
        "extends",
        "build",
    ]
)
KEPT = frozenset(
    [
        "credential_spec",
        "isolation",
        "runtime",
        "pull_refresh_after",
        "provider",
        "models",
        "label_file",
        "use_api_socket",
        "external_links",
        "develop",
        "gpus",
        "storage_opt",
        "cpu_count",
        "cpu_percent",
    ]
)
CONDITIONS = ("service_started", "service_healthy", "service_completed_successfully")
PROPAGATIONS = ("rprivate", "private", "rshared", "shared", "rslave", "slave")


@dataclass(frozen=True, slots=True)
class Context:
    working_dir: str  # empty: paths stay as they are written
    project: str
    variables: Mapping[str, str]
    normalize: bool = True  # name what the file implies


@dataclass(frozen=True, slots=True)
class EnvFile:
    path: str
    required: bool
    raw: bool
    section: Section


def read(name: str, section: Section, context: Context) -> Service:
    section.name = f'service "{name}"'
    kept = section.check_keys(ACTED, KEPT)
    reading = section.reading
    if not re.match(r"[a-zA-Z0-9._-]+\Z", name):
        reading.problem(f'"{name}" cannot be the name of a service', section.origin, "letters, digits, . _ -", "name")
    if not {"image", "build", "provider"} & section.map.keys() and not reading.incomplete:
        reading.problem(f"{section.name} has neither image nor build", section.origin, code="no-image")
    deploy = section.section("deploy")
    deploy.check_keys(
        ("replicas", "resources", "restart_policy"),
        ("mode", "labels", "endpoint_mode", "update_config", "rollback_config", "placement"),
    )
    if "deploy" in section and isinstance(section.map["deploy"], Map):
        kept["deploy"] = canonical_json(plain_value(section.map["deploy"]))
    mode = section.text("network_mode")
    networks = _networks(section)
    if mode is not None and networks:
        reading.problem(
            f"{section.name} has both network_mode and networks", section.at("network_mode"), code="conflict"
        )
    mounts = _mounts(section, context)
    pull = section.text("pull_policy")
    replicas = _replicas(section, deploy)
    container_name = section.text("container_name")
    if container_name is not None and replicas > 1:
        reading.problem(
            f"{section.name} has a container_name and so cannot have {replicas} replicas",
            section.at("container_name"),
            code="conflict",
        )
    links = tuple(_link(item) for item in section.texts("links"))
    return Service(
        name=name,
        image=section.text("image") or (f"{context.project}-{name}" if "build" in section else None),
        build=_build(section, context),
        pull_policy="missing" if pull == "if_not_present" else pull,
        platform=section.text("platform"),
        container_name=container_name,
        replicas=replicas,
        profiles=section.texts("profiles"),
        command=section.command("command"),
        entrypoint=section.command("entrypoint"),
        working_dir=section.text("working_dir"),
        user=section.text("user"),
        group_add=section.texts("group_add"),
        environment=MappingProxyType({k: v for k, v in section.optional_pairs("environment").items() if v is not None}),
        labels=MappingProxyType(section.pairs("labels")),
        annotations=MappingProxyType(section.pairs("annotations")),
        tty=section.flag("tty"),
        stdin_open=section.flag("stdin_open"),
        init=section.flag("init"),
        attach=section.flag("attach", True),
        stop_signal=section.text("stop_signal"),
        stop_grace_period=section.duration("stop_grace_period"),
        restart=_restart(section, deploy),
        healthcheck=_healthcheck(section),
        depends_on=_depends_on(section, links, context),
        post_start=_hooks(section, "post_start"),
        pre_stop=_hooks(section, "pre_stop"),
        pre_start=_hooks(section, "pre_start"),
        logging=_logging(section),
        hostname=section.text("hostname"),
        domainname=section.text("domainname"),
        networks=networks,
        network_mode=mode,
        links=links,
        ports=_ports(section),
        expose=section.texts("expose"),
        dns=section.texts("dns"),
        dns_search=section.texts("dns_search"),
        dns_opt=section.texts("dns_opt"),
        extra_hosts=_extra_hosts(section),
        mac_address=section.text("mac_address"),
        mounts=mounts,
        configs=_uses(section, "configs", "/"),
        secrets=_uses(section, "secrets", "/run/secrets/"),
        volumes_from=section.texts("volumes_from"),
        devices=_devices(section),
        device_cgroup_rules=section.texts("device_cgroup_rules"),
        read_only=section.flag("read_only"),
        shm_size=section.size("shm_size"),
        resources=_resources(section, deploy),
        ulimits=MappingProxyType(_ulimits(section)),
        sysctls=MappingProxyType(section.pairs("sysctls")),
        cap_add=section.texts("cap_add"),
        cap_drop=section.texts("cap_drop"),
        privileged=section.flag("privileged"),
        security_opt=section.texts("security_opt"),
        ipc=section.text("ipc"),
        pid=section.text("pid"),
        uts=section.text("uts"),
        userns_mode=section.text("userns_mode"),
        cgroup=section.text("cgroup"),
        cgroup_parent=section.text("cgroup_parent"),
        kept=MappingProxyType(kept),
    )


def _build(section: Section, context: Context) -> Build | None:
    value = section.map.get("build")
    if value is None:
        return None
    section.reading.warn_once(
        "build", f'"build" of {section.name} is not acted on yet', section.map.keys_at.get("build")
    )
    tree = plain_value(value)
    canonical = tree if isinstance(tree, dict) else {"context": str(tree)}
    where = str(canonical.get("context", "."))
    if not is_remote(where):
        where = absolute(where, context.working_dir)
    canonical = {"dockerfile": "Dockerfile", **canonical, "context": where}
    return Build(where, canonical_json(canonical))


def _replicas(section: Section, deploy: Section) -> int:
    scale, replicas = section.integer("scale"), deploy.integer("replicas")
    if scale is not None and replicas is not None and scale != replicas:
        section.reading.problem(
            f"{section.name} has scale {scale} and deploy.replicas {replicas}", section.at("scale"), code="conflict"
        )
    count = scale if scale is not None else replicas if replicas is not None else 1
    if count < 0:
        section.reading.problem(f"{section.name} cannot have {count} replicas", section.at("scale"), code="value")
        return 1
    return count


def _restart(section: Section, deploy: Section) -> RestartPolicy:
    value = section.map.get("restart")
    if isinstance(value, Text):
        condition, _, attempts = value.partition(":")
        if condition == "on-failure" and (not attempts or attempts.isdigit()):
            return RestartPolicy("on-failure", int(attempts) if attempts else None)
        if value in ("no", "always", "unless-stopped", "false"):
            return RestartPolicy("no" if value == "false" else str(value))  # type: ignore[arg-type]
        section.wrong("restart", "no, always, on-failure[:N] or unless-stopped")
        return RestartPolicy()
    if "restart_policy" in deploy:
        policy = deploy.section("restart_policy")
        policy.check_keys(("condition", "max_attempts"), ("delay", "window"))
        chosen = policy.choice("condition", ("none", "on-failure", "any")) or "any"
        return RestartPolicy({"none": "no", "any": "always"}.get(chosen, chosen), policy.integer("max_attempts"))  # type: ignore[arg-type]
    return RestartPolicy()


def _healthcheck(section: Section) -> Healthcheck | None:
    if section.map.get("healthcheck") is None:
        return None
    check = section.section("healthcheck")
    check.check_keys(("test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"))
    value = check.map.get("test")
    test: tuple[str, ...] | None = None
    if isinstance(value, Text):
        test = ("CMD-SHELL", str(value))
    elif value is not None:
        test = check.command("test")
        if test and test[0] not in ("CMD", "CMD-SHELL", "NONE"):
            check.reading.problem(
                f'the test of {check.name} must start with CMD, CMD-SHELL or NONE, not "{test[0]}"', check.at("test")
            )
    return Healthcheck(
        test=test,
        interval=check.duration("interval"),
        timeout=check.duration("timeout"),
        retries=check.integer("retries"),
        start_period=check.duration("start_period"),
        start_interval=check.duration("start_interval"),
        disable=check.flag("disable") or test == ("NONE",),
    )


def _link(item: str) -> tuple[str, str]:
    name, _, alias = item.partition(":")
    return name, alias or name


def _shared(section: Section) -> list[tuple[str, str, bool]]:
    """(attribute, service, restart) of what implies a dependency beside links."""
    found = []
    for key in ("network_mode", "ipc", "pid", "uts", "cgroup"):
        value = section.map.get(key)
        if isinstance(value, Text) and value.startswith("service:"):
            found.append((key, value.removeprefix("service:"), True))
    for item in section.items("volumes_from"):
        if isinstance(item, Text) and not item.startswith("container:"):
            found.append(("volumes_from", item.partition(":")[0], False))
    return found


def origin_of(section: Section, service: str) -> str:
    """The attribute by which a service depends on another."""
    value = section.map.get("depends_on")
    if isinstance(value, Map | Seq) and service in value:
        return "depends_on"
    return next((key for key, name, _ in _shared(section) if name == service), "links")


def _depends_on(section: Section, links: tuple[tuple[str, str], ...], context: Context) -> tuple[Dependency, ...]:
    made: dict[str, Dependency] = {}
    value = section.map.get("depends_on")
    if isinstance(value, Text) or (isinstance(value, Seq) and not all(isinstance(i, Text) for i in value)):
        section.wrong("depends_on", "a list or a mapping of services")
        value = None
    tree = named(value, "depends_on")
    if isinstance(tree, Map):
        for name, entry in tree.items():
            one = Section(section.reading, entry, f'dependency "{name}" of {section.name}', tree.keys_at.get(name))
            one.check_keys(("condition", "restart", "required"))
            condition = one.choice("condition", CONDITIONS) or "service_started"
            made[name] = Dependency(name, condition, one.flag("restart"), one.flag("required", True))  # type: ignore[arg-type]
    if context.normalize:
        for name, _ in links:
            made.setdefault(name, Dependency(name, restart=True))
        for _, name, restart in _shared(section):
            made.setdefault(name, Dependency(name, restart=restart))
    return tuple(made.values())


def _hooks(section: Section, key: str) -> tuple[Hook, ...]:
    made = []
    for item in section.items(key):
        hook = Section(section.reading, item, f"a hook in {key} of {section.name}")
        hook.check_keys(("command", "user", "privileged", "working_dir", "environment", "image", "per_replica"))
        section.reading.warn_once(key, f'"{key}" of {section.name} is not acted on yet', section.map.keys_at.get(key))
        made.append(
            Hook(
                hook.command("command") or (),
                hook.text("user"),
                hook.flag("privileged"),
                hook.text("working_dir"),
                MappingProxyType(hook.pairs("environment")),
                hook.text("image"),
                hook.flag("per_replica"),
            )
        )
    return tuple(made)


def _logging(section: Section) -> Logging | None:
    if section.map.get("logging") is None:
        return None
    one = section.section("logging")
    one.check_keys(("driver", "options"))
    return Logging(one.text("driver"), MappingProxyType(one.pairs("options")))


def _networks(section: Section) -> tuple[Attachment, ...]:
    tree = named(section.map.get("networks"), "networks")
    if tree is None:
        return ()
    if not isinstance(tree, Map):
        section.wrong("networks", "a list or a mapping of networks")
        return ()
    made = []
    for name, entry in tree.items():
        one = Section(section.reading, entry, f'network "{name}" of {section.name}', tree.keys_at.get(name))
        one.check_keys(
            [
                "aliases",
                "ipv4_address",
                "ipv6_address",
                "mac_address",
                "interface_name",
                "link_local_ips",
                "priority",
                "gw_priority",
                "driver_opts",
            ]
        )
        made.append(
            Attachment(
                network=name,
                aliases=one.texts("aliases"),
                ipv4_address=one.text("ipv4_address"),
                ipv6_address=one.text("ipv6_address"),
                mac_address=one.text("mac_address"),
                interface_name=one.text("interface_name"),
                link_local_ips=one.texts("link_local_ips"),
                priority=one.integer("priority") or 0,
                gw_priority=one.integer("gw_priority") or 0,
                driver_opts=MappingProxyType(one.pairs("driver_opts")),
            )
        )
    return tuple(made)


def _range(value: str) -> tuple[int, int]:
    first, _, last = value.partition("-")
    return int(first), int(last or first)


def parse_port(value: str) -> tuple[Port, ...]:
    """`[[IP:]HOST[-HOST]:]CONTAINER[-CONTAINER][/PROTOCOL]`. Raises ValueError."""
    rest, _, protocol = value.partition("/")
    protocol = protocol or "tcp"
    if protocol not in ("tcp", "udp"):
        raise ValueError(f'protocol "{protocol}" is neither tcp nor udp')
    before, _, container = rest.rpartition(":")
    ip, _, host = before.rpartition(":")
    ip = ip.removeprefix("[").removesuffix("]")
    if not re.fullmatch(r"\d+(-\d+)?", container) or (host and not re.fullmatch(r"\d+(-\d+)?", host)):
        raise ValueError("it is not [[IP:]HOST:]CONTAINER[/PROTOCOL]")
    first, last = _range(container)
    published = _range(host) if host else None
    for number in (first, last, *(published or ())):
        if not 0 <= number <= 65535:
            raise ValueError(f"{number} is not a port")
    if last < first or (published and published[1] < published[0]):
        raise ValueError("a range ends before it begins")
    count = last - first + 1
    address = ip or None
    if count == 1:
        return (Port(first, None if published == (0, 0) else published, address, protocol),)  # type: ignore[arg-type]
    if published is None:
        return tuple(Port(first + i, None, address, protocol) for i in range(count))  # type: ignore[arg-type]
    if published[1] - published[0] + 1 != count:
        raise ValueError("the two ranges differ in length")
    return tuple(Port(first + i, (published[0] + i,) * 2, address, protocol) for i in range(count))  # type: ignore[arg-type]


def _ports(section: Section) -> tuple[Port, ...]:
    made: list[Port] = []
    for item in section.items("ports"):
        if isinstance(item, Text):
            try:
                made.extend(parse_port(item))
            except ValueError as error:
                section.reading.problem(
                    f'port "{item}" of {section.name} cannot be used: {error}', item.at, code="port"
                )
            continue
        one = Section(section.reading, item, f"a port of {section.name}")
        one.check_keys(("target", "published", "host_ip", "protocol", "mode", "name", "app_protocol"))
        target, published = one.integer("target"), one.text("published")
        if target is None:
            if "target" not in one:
                one.reading.problem(f"{one.name} has no target", one.origin, code="port")
            continue
        if published is not None and not re.fullmatch(r"\d+(-\d+)?", published):
            one.wrong("published", "a port or a range of ports")
            published = None
        span = _range(published) if published and published != "0" else None
        protocol = one.choice("protocol", ("tcp", "udp")) or "tcp"
        made.append(
            Port(
                target,
                span,
                one.text("host_ip"),
                protocol,  # type: ignore[arg-type]
                one.text("mode") or "ingress",
                one.text("name"),
                one.text("app_protocol"),
            )
        )
    return tuple(dict.fromkeys(made))


def _extra_hosts(section: Section) -> tuple[tuple[str, str], ...]:
    value = section.map.get("extra_hosts")
    made: list[tuple[str, str]] = []
    if isinstance(value, Map):
        for name, item in value.items():
            addresses = item if isinstance(item, Seq) else [item]
            made += [(name, str(a).strip("[]")) for a in addresses if isinstance(a, Text)]
        return tuple(made)
    for entry in section.texts("extra_hosts"):
        separator = "=" if "=" in entry else ":"
        name, found, address = entry.partition(separator)
        if not found:
            section.reading.problem(
                f'"{entry}" in extra_hosts of {section.name} is not name=address', section.at("extra_hosts")
            )
        made.append((name, address.strip("[]")))
    return tuple(made)


def _mounts(section: Section, context: Context) -> tuple[Mount, ...]:
    made: dict[str, Mount] = {}
    entries: list[tuple[Mount | None, Tree]] = []
    for item in section.items("volumes"):
        mount = _short_mount(item, section, context) if isinstance(item, Text) else _long_mount(item, section, context)
        entries.append((mount, item))
    for item in section.items("tmpfs"):
        if isinstance(item, Text):
            entries.append((_tmpfs(item), item))
    for mount, item in entries:
        if mount is None:
            continue
        if mount.target in made:
            at = item.at if item is not None else section.origin
            section.reading.problem(f'{section.name} mounts two things at "{mount.target}"', at, code="mount")
        made[mount.target] = mount
    return tuple(made.values())


def _tmpfs(item: str) -> TmpfsMount:
    target, _, options = item.partition(":")
    size = mode = None
    rest = []
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        if key == "size" and size_of(value) is not None:
            size = size_of(value)
        elif key == "mode" and re.fullmatch("[0-7]+", value):
            mode = int(value, 8)
        else:
            rest.append(option)
    return TmpfsMount(posixpath.normpath(target), size, mode, tuple(rest), item)


def _short_mount(item: Text, section: Section, context: Context) -> Mount | None:
    parts = volume_parts(item)
    if len(parts) > 3 or not all(parts[:2]):
        section.reading.problem(
            f'volume "{item}" of {section.name} is not [SOURCE:]TARGET[:OPTIONS]', item.at, code="mount"
        )
        return None
    if len(parts) == 1:
        return VolumeMount(None, posixpath.normpath(item))
    source, target = parts[0], posixpath.normpath(parts[1])
    if not target.startswith("/"):
        section.reading.problem(f'target "{target}" of {section.name} is not an absolute path', item.at, code="mount")
        return None
    options = parts[2].split(",") if len(parts) == 3 else []
    read_only = "ro" in options
    if is_path(source):
        return BindMount(
            absolute(source, context.working_dir),
            target,
            read_only,
            propagation=next((o for o in options if o in PROPAGATIONS), None),  # type: ignore[misc]
            selinux=next((o for o in options if o in ("z", "Z")), None),  # type: ignore[misc]
        )
    return VolumeMount(source, target, read_only, "nocopy" in options)


def _long_mount(item: Tree, section: Section, context: Context) -> Mount | None:
    one = Section(section.reading, item, f"a volume of {section.name}", section.at("volumes"))
    one.check_keys(("type", "source", "target", "read_only", "bind", "volume", "tmpfs", "image"), ("consistency",))
    kind = one.choice("type", ("volume", "bind", "tmpfs", "image"))
    source, target = one.text("source"), one.text("target")
    if kind is None or not target:
        if "type" not in one or not target:
            one.reading.problem(f"{one.name} needs type and target", one.origin, code="mount")
        return None
    target = posixpath.normpath(target)
    details = one.section(kind)
    if kind == "bind":
        details.check_keys(("propagation", "create_host_path", "recursive", "selinux"))
        if not source:
            one.reading.problem(f"{one.name}: a bind needs a source", one.origin, code="mount")
            return None
        return BindMount(
            absolute(source, context.working_dir),
            target,
            one.flag("read_only"),
            details.flag("create_host_path", True),
            details.choice("propagation", PROPAGATIONS),  # type: ignore[arg-type]
            details.choice("recursive", ("enabled", "disabled", "writable", "readonly")),  # type: ignore[arg-type]
            details.choice("selinux", ("z", "Z")),  # type: ignore[arg-type]
        )
    if kind == "volume":
        details.check_keys(("nocopy", "subpath", "labels"))
        labels = MappingProxyType(details.pairs("labels"))
        return VolumeMount(
            source, target, one.flag("read_only"), details.flag("nocopy"), details.text("subpath"), labels
        )
    if kind == "tmpfs":
        details.check_keys(("size", "mode"))
        return TmpfsMount(target, details.size("size"), details.octal("mode"))
    details.check_keys(("subpath",))
    return ImageMount(source or "", target, details.text("subpath"))


def named_volumes(service: Service) -> list[str]:
    return [m.source for m in service.mounts if isinstance(m, VolumeMount) and m.source is not None]


def _uses(section: Section, key: str, directory: str) -> tuple[FileReference, ...]:
    made = []
    for item in section.items(key):
        if isinstance(item, Text):
            made.append(FileReference(str(item), directory + item))
            continue
        one = Section(section.reading, item, f"an entry in {key} of {section.name}")
        one.check_keys(("source", "target", "uid", "gid", "mode"))
        source = one.text("source")
        if source is None:
            one.reading.problem(f"{one.name} has no source", one.origin, code="source")
            continue
        target = posixpath.join(directory, one.text("target") or source)
        made.append(FileReference(source, target, one.text("uid"), one.text("gid"), one.octal("mode")))
    return tuple(made)


def _devices(section: Section) -> tuple[Device, ...]:
    made = []
    for item in section.items("devices"):
        if isinstance(item, Text):
            source, _, rest = item.partition(":")
            target, _, permissions = rest.partition(":")
            made.append(Device(source, target or source, permissions or "rwm"))
            continue
        one = Section(section.reading, item, f"a device of {section.name}")
        one.check_keys(("source", "target", "permissions"))
        source = one.text("source") or ""
        made.append(Device(source, one.text("target") or source, one.text("permissions") or "rwm"))
    return tuple(made)


def _agreed(section: Section, key: str, own: float | None, other: float | None) -> float | None:
    if own is not None and other is not None and own != other:
        section.reading.problem(
            f'{section.name}: "{key}" and deploy.resources do not agree', section.at(key), code="conflict"
        )
    return own if own is not None else other


def _resources(section: Section, deploy: Section) -> Resources:
    resources = deploy.section("resources")
    resources.check_keys(("limits", "reservations"))
    limits, reservations = resources.section("limits"), resources.section("reservations")
    limits.check_keys(("cpus", "memory", "pids"))
    reservations.check_keys(("memory",), ("cpus", "generic_resources", "devices"))

    def whole(key: str, own: int | None, other: int | None) -> int | None:
        agreed = _agreed(section, key, own, other)
        return None if agreed is None else int(agreed)

    return Resources(
        cpus=_agreed(section, "cpus", section.number("cpus"), limits.number("cpus")),
        cpu_shares=section.integer("cpu_shares"),
        cpu_period=_microseconds(section, "cpu_period"),
        cpu_quota=_microseconds(section, "cpu_quota"),
        cpu_rt_period=_microseconds(section, "cpu_rt_period"),
        cpu_rt_runtime=_microseconds(section, "cpu_rt_runtime"),
        cpuset=section.text("cpuset"),
        mem_limit=whole("mem_limit", section.size("mem_limit"), limits.size("memory")),
        mem_reservation=whole("mem_reservation", section.size("mem_reservation"), reservations.size("memory")),
        memswap_limit=section.size("memswap_limit") or None,
        mem_swappiness=section.integer("mem_swappiness"),
        pids_limit=whole("pids_limit", section.integer("pids_limit"), limits.integer("pids")),
        blkio=_blkio(section),
        oom_kill_disable=section.flag("oom_kill_disable"),
        oom_score_adj=section.integer("oom_score_adj"),
    )


def _microseconds(section: Section, key: str) -> int | None:
    value = section.map.get(key)
    if isinstance(value, Text) and not value.lstrip("-").isdigit():
        seconds = duration_of(value)
        return None if seconds is None else round(seconds * 1_000_000)
    return section.integer(key)


def _blkio(section: Section) -> BlkioConfig | None:
    if section.map.get("blkio_config") is None:
        return None
    one = section.section("blkio_config")
    rates = ("device_read_bps", "device_read_iops", "device_write_bps", "device_write_iops")
    one.check_keys(("weight", "weight_device", *rates))
    devices = []
    for item in one.items("weight_device"):
        entry = Section(section.reading, item, f"a weight_device of {section.name}")
        devices.append(DeviceWeight(entry.text("path") or "", entry.integer("weight") or 0))
    found: dict[str, tuple[DeviceRate, ...]] = {}
    for key in rates:
        entries = [Section(section.reading, item, f"a {key} of {section.name}") for item in one.items(key)]
        found[key] = tuple(DeviceRate(e.text("path") or "", e.size("rate") or 0) for e in entries)
    return BlkioConfig(one.integer("weight"), tuple(devices), **found)


def _ulimits(section: Section) -> dict[str, Ulimit]:
    made = {}
    parent = section.section("ulimits")
    for name, value in parent.map.items():
        if isinstance(value, Map):
            one = Section(section.reading, value, f'ulimit "{name}" of {section.name}')
            one.check_keys(("soft", "hard"))
            soft, hard = one.integer("soft"), one.integer("hard")
            soft = hard if soft is None else soft
            made[name] = Ulimit(soft or 0, soft or 0 if hard is None else hard)
        elif (number := parent.integer(name)) is not None:
            made[name] = Ulimit(number, number)
    return made


def env_files(section: Section, context: Context) -> list[EnvFile]:
    made = []
    for item in section.items("env_file"):
        if isinstance(item, Text):
            made.append(EnvFile(absolute(item, context.working_dir), True, False, section))
            continue
        one = Section(section.reading, item, f"an env_file of {section.name}")
        one.check_keys(("path", "required", "format"))
        path = absolute(one.text("path") or "", context.working_dir)
        made.append(EnvFile(path, one.flag("required", True), one.text("format") == "raw", one))
    return made
