"""One entry of `services` as a `Service`: short forms made long, implied dependencies named. Pure.

What only the whole project can tell (do references exist, which profile is active, env files) is `build`'s and
`consistency`'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from pycompose.compose.model.deployment import CredentialSpec, Deploy, DeviceRequest, ModelUse, Provider
from pycompose.compose.model.develop import Develop
from pycompose.compose.model.fields import Variables
from pycompose.compose.model.image_build import Build
from pycompose.compose.model.project import Attachment, Dependency, Healthcheck, Hook, Logging, Service
from pycompose.frozen import dataclass

from . import declarations, pycompose_section
from .merge import named
from .mounting import mounts, uses
from .networking import extra_hosts, networks, ports
from .paths import absolute, image, is_remote
from .reading import Section, canonical_json, extended, short, words
from .resources import devices, place, replicas, resources, restart, ulimits
from .source import Map, Seq, Text

ACTED = words("""
    annotations attach blkio_config build cap_add cap_drop cgroup command configs container_name cpu_period
    cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset depends_on deploy develop device_cgroup_rules devices
    dns dns_opt dns_search domainname entrypoint env_file environment expose extends extra_hosts group_add
    healthcheck hostname image init ipc label_file labels links logging mac_address mem_limit mem_reservation
    mem_swappiness memswap_limit network_mode networks oom_kill_disable oom_score_adj pid pids_limit platform
    ports post_start pre_start pre_stop privileged profiles provider pull_policy read_only restart scale secrets
    security_opt shm_size stdin_open stop_grace_period stop_signal sysctls tmpfs tty ulimits user userns_mode uts
    volumes volumes_from working_dir
""")
KEPT = words("""
    cgroup_parent cpu_count cpu_percent credential_spec external_links gpus isolation models
    pull_refresh_after runtime storage_opt use_api_socket
""")
KEPT_DEPLOY = ("mode", "endpoint_mode", "labels", "update_config", "rollback_config", "placement")
DEFAULT = (Attachment("default"),)
CONDITIONS = ("service_started", "service_healthy", "service_completed_successfully")
PULL = re.compile(r"always|never|missing|if_not_present|build|refresh|daily|weekly|every_([0-9]+[wdhms])+\Z")
CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")


@dataclass(frozen=True, slots=True)
class Context:
    working_dir: str  # empty: paths stay as they are written
    project: str
    variables: Mapping[str, str]
    normalize: bool = True  # name what the file implies
    separator: str = "-"  # of `Project`

    def own_image(self, service: str) -> str:
        """As of `Project`."""
        return f"{self.project}{self.separator}{service}"


@dataclass(frozen=True, slots=True)
class EnvFile:
    path: str
    required: bool
    raw: bool
    section: Section
    attribute: str = "env_file"  # of the section: where the file is named


def read(name: str, section: Section, context: Context, environment: Variables, labels: Mapping[str, str]) -> Service:
    """`environment` and `labels` are what comes of them once files are read."""
    section.name = f'service "{short(name)}"'
    kept = section.check_keys(ACTED, KEPT)
    reading = section.reading
    deploy = _deploy(section)
    container_name = section.text("container_name")
    if container_name is not None and not CONTAINER.match(container_name):
        section.wrong("container_name", "letters, digits, and _ . - after the first, two at least")
    pull = section.text("pull_policy")
    if pull is not None and not PULL.match(pull):
        section.wrong("pull_policy", "always, never, missing, build, daily, weekly, or every_<n>[wdhms]")
    if (userns := section.text("userns_mode")) not in (None, "", "host"):
        message = f'"userns_mode" of {section.name} is not acted on: containers have the host\'s users'
        reading.warn_once("userns_mode", message, section.at("userns_mode"))
    mode, attached = section.text("network_mode"), networks(section)
    implied = context.normalize and mode is None and section.map.get("provider") is None
    links = tuple(_link(item) for item in section.texts("links"))
    return Service(
        name=name,
        image=_image(section, context)
        or (f"{context.project}{context.separator}{name}" if "build" in section else None),
        build=_build(section, context),
        pull_policy="missing" if pull == "if_not_present" else pull,
        platform=section.text("platform"),
        container_name=container_name,
        replicas=replicas(section, deploy),
        profiles=section.texts("profiles"),
        command=section.command("command"),
        entrypoint=section.command("entrypoint"),
        working_dir=section.text("working_dir"),
        user=section.text("user"),
        group_add=section.texts("group_add"),
        environment=MappingProxyType(environment),
        labels=MappingProxyType(labels),
        annotations=MappingProxyType(section.pairs("annotations")),
        tty=section.flag("tty"),
        stdin_open=section.flag("stdin_open"),
        init=section.flag("init") if "init" in section else None,
        attach=section.flag("attach", True),
        stop_signal=section.text("stop_signal"),
        stop_grace_period=section.duration("stop_grace_period"),
        restart=restart(section),
        healthcheck=_healthcheck(section),
        depends_on=_depends_on(section, links, context),
        post_start=_hooks(section, "post_start", context),
        pre_stop=_hooks(section, "pre_stop", context),
        pre_start=_hooks(section, "pre_start", context),
        logging=_logging(section),
        hostname=section.text("hostname"),
        domainname=section.text("domainname"),
        networks=attached or (DEFAULT if implied else ()),
        network_mode=mode,
        links=links,
        ports=ports(section),
        expose=section.texts("expose"),
        dns=section.texts("dns"),
        dns_search=section.texts("dns_search"),
        dns_opt=section.texts("dns_opt"),
        extra_hosts=extra_hosts(section),
        mac_address=section.text("mac_address"),
        mounts=mounts(section, context.working_dir),
        configs=uses(section, "configs", "/"),
        secrets=uses(section, "secrets", "/run/secrets/"),
        volumes_from=section.texts("volumes_from"),
        devices=devices(section),
        device_cgroup_rules=section.texts("device_cgroup_rules"),
        read_only=section.flag("read_only"),
        shm_size=section.size("shm_size"),
        resources=resources(section, deploy),
        ulimits=MappingProxyType(ulimits(section)),
        sysctls=MappingProxyType(section.pairs("sysctls")),
        cap_add=section.texts("cap_add"),
        cap_drop=section.texts("cap_drop"),
        privileged=section.flag("privileged"),
        security_opt=section.texts("security_opt"),
        ipc=section.text("ipc"),
        pid=section.text("pid"),
        uts=section.text("uts"),
        userns_mode=userns,
        cgroup=section.choice("cgroup", ("host", "private")),
        cgroup_parent=section.text("cgroup_parent"),
        deploy=deploy,
        develop=_develop(section, context),
        provider=declarations.optional(Provider, section, "provider"),
        models=MappingProxyType(_models(section)),
        gpus=_gpus(section),
        credential_spec=declarations.optional(CredentialSpec, section, "credential_spec"),
        label_file=tuple(absolute(path, context.working_dir) for path in section.texts("label_file")),
        external_links=section.texts("external_links"),
        storage_opt=MappingProxyType(section.pairs("storage_opt")),
        isolation=section.text("isolation"),
        runtime=section.text("runtime"),
        pull_refresh_after=section.text("pull_refresh_after"),
        use_api_socket=section.flag("use_api_socket", quoted=False),
        cpu_count=section.between("cpu_count", 0, 1 << 31),
        cpu_percent=_percent(section),
        restart_unhealthy=pycompose_section.restarts_unhealthy(section),
        replica_identity=pycompose_section.replica_identity(section),
        host_show=pycompose_section.host_show(section),
        kept=MappingProxyType({key: text for key, text in kept.items() if key.startswith("x-")}),
    )


def _percent(section: Section) -> float | None:
    percent = section.number("cpu_percent")
    if percent is not None and not 0 <= percent <= 100:
        section.wrong("cpu_percent", "a number from 0 to 100")
    elif percent is not None and not percent.is_integer():
        section.reading.lax(f'"cpu_percent" of {section.name} is no whole number: {percent}', section.at("cpu_percent"))
    return percent


def _deploy(section: Section) -> Deploy | None:
    deploy = section.map.get("deploy")
    if isinstance(deploy, Map):
        for key in KEPT_DEPLOY:
            if key in deploy and deploy[key] != "replicated":
                message = f'"deploy.{key}" of {section.name} is not acted on'
                section.reading.warn_once(f"deploy.{key}", message, deploy.keys_at.get(key))
    record = declarations.optional(Deploy, section, "deploy")
    reserved = (
        record.resources.reservations.devices if record and record.resources and record.resources.reservations else ()
    )
    _device_requests(reserved, section, ("deploy", "resources", "reservations", "devices"), needs_capabilities=True)
    return record


def _device_requests(
    requests: tuple[DeviceRequest, ...], section: Section, path: tuple[str, ...], *, needs_capabilities: bool
) -> None:
    """`count` and `device_ids` exclude each other; a reservation names capabilities."""
    for number, request in enumerate(requests, 1):
        name, at = f'entry {number} of "{".".join(path)}" of {section.name}', place(section, *path)
        if request.count is not None and request.device_ids:
            section.reading.problem(f"{name} has both count and device_ids", at, "take one of them away", "conflict")
        if needs_capabilities and not request.capabilities:
            section.reading.problem(f'{name} needs "capabilities"', at, "such as capabilities: [gpu]", "required")


def _image(section: Section, context: Context) -> str | None:
    name = section.text("image")
    return image(name, context.working_dir) if name else name


def _build(section: Section, context: Context) -> Build | None:
    if section.map.get("build") is None:
        return None
    build = declarations.optional(Build, section, "build") or Build()

    ssh = section.section("build").map.get("ssh") if isinstance(section.map["build"], Map) else None
    for key in ssh if isinstance(ssh, Seq) else ():
        if isinstance(key, Text) and "=" not in key and key != "default":
            section.reading.lax(f'"{short(key)}" in "ssh" of "build" of {section.name} has no path', key.at)

    def where(path: str) -> str:
        return path if is_remote(path) else absolute(path, context.working_dir)

    variables = context.variables if section.map.scope is None else section.map.scope
    resolved = replace(
        build,
        context=where(build.context),
        dockerfile=build.dockerfile or (None if build.dockerfile_inline or not context.normalize else "Dockerfile"),
        args=MappingProxyType({k: variables.get(k) if v is None else v for k, v in build.args.items()}),
        additional_contexts=MappingProxyType({k: where(v) for k, v in build.additional_contexts.items()}),
        ssh=MappingProxyType({k: v and absolute(v, context.working_dir) for k, v in build.ssh.items()}),
    )
    return replace(resolved, canonical=canonical_json(declarations.written(resolved)))


def _develop(section: Section, context: Context) -> Develop | None:
    develop = declarations.optional(Develop, section, "develop")
    if develop is None:
        return None
    for number, one in enumerate(develop.watch, 1):
        if not one.path and (at := place(section, "develop", "watch")):
            name = f'entry {number} of "watch" of {section.name}'
            section.reading.problem(f'{name} has an empty "path"', at, "path: ./src", "required")
    return replace(
        develop, watch=tuple(replace(one, path=absolute(one.path, context.working_dir)) for one in develop.watch)
    )


def _models(section: Section) -> dict[str, ModelUse]:
    section.check_once("models")
    tree = named(section.map.get("models"), "models")
    if not isinstance(tree, Map):
        if tree is not None:
            section.wrong("models", "a list or a mapping of models")
        return {}
    return {
        name: declarations.read(
            ModelUse, Section(section.reading, value, f'model "{name}" of {section.name}', tree.keys_at.get(name))
        )
        for name, value in tree.items()
    }


def _gpus(section: Section) -> tuple[DeviceRequest, ...]:
    if section.map.get("gpus") == "all":
        return (DeviceRequest(count=-1),)
    requests = declarations.several(DeviceRequest, section, "gpus")
    _device_requests(requests, section, ("gpus",), needs_capabilities=False)
    return requests


def _healthcheck(section: Section) -> Healthcheck | None:
    if section.map.get("healthcheck") is None:
        return None
    check = section.section("healthcheck")
    kept = check.check_keys(("test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"))
    value = check.map.get("test")
    check.only_text("test", value)
    test: tuple[str, ...] | None = None
    if isinstance(value, Text):
        test = ("CMD-SHELL", str(value))
    elif value is not None:
        test = check.command("test")
        if test and test[0] not in ("CMD", "CMD-SHELL", "NONE"):
            first = value[0] if isinstance(value, Seq) else None
            message = 'healthcheck.test must start either by "CMD", "CMD-SHELL" or "NONE"'
            hint = f'not "{short(test[0])}"; a test that is one text is run by the shell'
            check.reading.problem(message, first.at if first is not None else check.at("test"), hint, "healthcheck")
    return Healthcheck(
        test=test,
        interval=check.duration("interval"),
        timeout=check.duration("timeout"),
        retries=check.between("retries", 0, 1 << 31),
        start_period=check.duration("start_period"),
        start_interval=check.duration("start_interval"),
        disable=check.flag("disable") or test == ("NONE",),
        extensions=extended(kept),
    )


def _link(item: str) -> tuple[str, str]:
    name, _, alias = item.partition(":")
    return name, alias or name


def shared(section: Section) -> list[tuple[str, str, bool]]:
    """(attribute, service, restart) of what implies a dependency beside links."""
    needs = []
    for key in ("network_mode", "ipc", "pid", "uts", "cgroup"):
        value = section.map.get(key)
        if isinstance(value, Text) and value.startswith("service:"):
            needs.append((key, value.removeprefix("service:"), True))
    for item in section.texts("volumes_from"):
        if not item.startswith("container:"):
            needs.append(("volumes_from", item.partition(":")[0], False))
    return needs


def origin_of(section: Section, service: str) -> str:
    """The attribute by which a service depends on another."""
    value = section.map.get("depends_on")
    if isinstance(value, Map | Seq) and service in value:
        return "depends_on"
    return next((key for key, name, _ in shared(section) if name == service), "links")


def _depends_on(section: Section, links: tuple[tuple[str, str], ...], context: Context) -> tuple[Dependency, ...]:
    needs: dict[str, Dependency] = {}
    value = section.map.get("depends_on")
    if isinstance(value, Text) or (isinstance(value, Seq) and not all(isinstance(i, Text) for i in value)):
        section.wrong("depends_on", "a list or a mapping of services")
        value = None
    section.check_once("depends_on")
    tree = named(value, "depends_on")
    if isinstance(tree, Map):
        for name, entry in tree.items():
            what, at = f'dependency "{name}" of {section.name}', tree.keys_at.get(name)
            one = Section(section.reading, entry, what, at, (section, f"depends_on.{name}"))
            kept = one.check_keys(("condition", "restart", "required"))
            if isinstance(value, Map) and "condition" not in one:
                section.reading.lax(f'{one.name} has no "condition", which is then service_started', at)
            condition = one.choice("condition", CONDITIONS) or "service_started"
            restarts, needed = one.flag("restart"), one.flag("required", True, quoted=False)
            needs[name] = Dependency(name, condition, restarts, needed, extended(kept))  # type: ignore[arg-type]
    if context.normalize:
        for name, _ in links:
            needs.setdefault(name, Dependency(name, restart=True))
        for _, name, restarted in shared(section):
            needs.setdefault(name, Dependency(name, restart=restarted))
    return tuple(needs.values())


def _hooks(section: Section, key: str, context: Context) -> tuple[Hook, ...]:
    variables = context.variables if section.map.scope is None else section.map.scope
    hooks = []
    for item in section.items(key):
        hook = section.entry(key, item, f"a hook in {key} of {section.name}")
        kept = hook.check_keys(("command", "user", "privileged", "working_dir", "environment", "image", "per_replica"))
        command = hook.command("command")
        written = hook.optional_pairs("environment")
        if not command and isinstance(item, Map):
            hook.reading.problem(f"{hook.path()} missing property 'command'", hook.origin, "command: …", "required")
        hooks.append(
            Hook(
                command or (),
                hook.text("user"),
                hook.flag("privileged"),
                hook.text("working_dir"),
                MappingProxyType({k: variables.get(k) if v is None else v for k, v in written.items()}),
                hook.text("image"),
                hook.flag("per_replica"),
                extended(kept),
            )
        )
    return tuple(hooks)


def _logging(section: Section) -> Logging | None:
    if section.map.get("logging") is None:
        return None
    one = section.section("logging")
    kept = one.check_keys(("driver", "options"))
    return Logging(one.text("driver"), MappingProxyType(one.pairs("options")), extended(kept))


def env_files(section: Section, context: Context) -> list[EnvFile]:
    files = []
    for item in section.items("env_file"):
        if isinstance(item, Text):
            files.append(EnvFile(absolute(item, context.working_dir), True, False, section))
            continue
        one = section.entry("env_file", item, f"an env_file of {section.name}")
        one.check_no_extensions(("path", "required", "format"))
        path = one.text("path")
        if path is None:
            if isinstance(item, Map):
                one.reading.problem(f"{one.name} has no path", one.origin, "path: …", "required")
            continue
        raw = one.choice("format", ("raw", "")) == "raw"
        files.append(EnvFile(absolute(path, context.working_dir), one.flag("required", True), raw, one, "path"))
    return files
