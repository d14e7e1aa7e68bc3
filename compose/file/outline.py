"""A merged file that is not interpolated, as `config --no-interpolate` shows it. Pure.

Nothing is known of a value with a `$` in it, so this is no Project: long forms are made where a short one can be read,
paths are joined and names filled in, and all else stays as it is written. Names and attributes are in natural order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from . import canonical
from .as_written import mount_as_written, ports_as_written
from .merge import named
from .mounting import mounts
from .networking import parse_port
from .order import by_name
from .paths import normal, rebased
from .reading import Reading, Section
from .resources import devices
from .service import shared
from .source import Map, Seq, Text, Tree, plain_value, spelled

Plain = dict[str, Any]


def outline(tree: Tree, name: str, working_dir: str, *, normalize: bool = True, resolve_paths: bool = True) -> Plain:
    whole = rebased(tree, working_dir) if resolve_paths else tree
    mapping: Plain = {"name": name} if normalize else {}
    if isinstance(whole, Map):
        mapping = {key: _data(value) for key, value in whole.items() if key != "version"} | mapping
        services = whole.get("services")
        if isinstance(services, Map):
            mapping["services"] = {key: _service(service, normalize) for key, service in services.items()}
    for kind in ("networks", "volumes", "configs", "secrets"):
        if isinstance(entries := mapping.get(kind), dict):
            mapping[kind] = {key: _external(one) for key, one in entries.items()}
    if normalize:
        _named(mapping, name)
    return cast(Plain, by_name(mapping))


def _data(value: Tree) -> Any:
    """Plain data; NAME=value pairs of several files are a list, as docker compose merges them."""
    if isinstance(value, Map):
        if value.joined:
            return [
                key if item is None else f"{key}={spelled(item) if isinstance(item, Text) else ''}"
                for key, item in value.items()
            ]
        return {str(key): _data(item) for key, item in value.items()}
    if isinstance(value, Seq):
        return [_data(item) for item in value]
    plain = plain_value(value)
    return int(plain) if isinstance(plain, float) and plain.is_integer() and abs(plain) < 1e16 else plain


def _external(entry: Any) -> Any:
    """`external: {name: …}` is an old way to say `external: true` and `name`."""
    if isinstance(entry, dict) and isinstance(entry.get("external"), dict):
        return {**entry, **entry["external"], "external": True}
    return entry


def _named(mapping: Plain, name: str) -> None:
    """The default network, where it is used, and the real names of what has none of its own."""
    services = mapping.get("services") or {}
    if any(isinstance(one, dict) and "default" in (one.get("networks") or ()) for one in services.values()):
        mapping["networks"] = {"default": None, **(mapping.get("networks") or {})}
    for kind in ("networks", "volumes", "configs", "secrets"):
        entries = mapping.get(kind)
        if not isinstance(entries, dict):
            continue
        for key, entry in entries.items():
            if isinstance(one := entry or {}, dict):
                entries[key] = {"name": key if one.get("external") else f"{name}_{key}", **one}


def _service(service: Tree, normalize: bool) -> Any:
    if not isinstance(service, Map):
        return plain_value(service)
    mapping: Plain = {}
    for key, value in service.items():
        change = LONG.get(key)
        mapping[key] = _data(value) if change is None or value is None else change(value)
    if not normalize:
        return mapping
    build = mapping.get("build")
    if isinstance(build, dict):
        mapping["build"] = _normal_build(build)
    for volume in mapping.get("volumes") or ():
        if isinstance(volume, dict) and isinstance(target := volume.get("target"), str) and target:
            volume["target"] = normal(target)
    if not mapping.get("networks") and not {"network_mode", "provider"} & mapping.keys():
        mapping["networks"] = {"default": None}
    if needs := _implied(service):
        depends_on = mapping.get("depends_on") or {}
        mapping["depends_on"] = {**needs, **depends_on} if isinstance(depends_on, dict) else depends_on
    return mapping


def _normal_build(build: Plain) -> Plain:
    """With the Dockerfile's name, and without arguments that have no value."""
    mapping = {"dockerfile": "Dockerfile", **build} if "dockerfile_inline" not in build else dict(build)
    arguments = mapping.get("args")
    if isinstance(arguments, dict):
        mapping["args"] = {key: value for key, value in arguments.items() if value is not None}
    elif isinstance(arguments, list):
        mapping["args"] = [item for item in arguments if "=" in str(item)]
    return mapping


def _implied(service: Map) -> Plain:
    """Dependencies that links, volumes_from and shared namespaces imply."""
    section = Section(Reading(), service, "")
    restarts = {link.partition(":")[0]: True for link in section.texts("links")}
    for _, name, restart in shared(section):
        restarts.setdefault(name, restart)
    return {
        name: {"condition": "service_started", "restart": restart, "required": True}
        for name, restart in restarts.items()
    }


def _build(value: Tree) -> Any:
    build = {"context": str(value)} if isinstance(value, Text) else _data(value)
    if not isinstance(build, dict):
        return build
    build.setdefault("context", ".")
    if isinstance(keys := build.get("ssh"), list):
        pairs = (str(key).partition("=") for key in keys)
        build["ssh"] = {key: path if equals else None for key, equals, path in pairs}
    if isinstance(secrets := build.get("secrets"), list):
        build["secrets"] = [{"source": one} if isinstance(one, str) else one for one in secrets]
    if isinstance(contexts := build.get("additional_contexts"), list):
        build["additional_contexts"] = dict(str(one).partition("=")[::2] for one in contexts)
    return build


def _depends_on(value: Tree) -> Any:
    mapping = plain_value(named(value, "depends_on"))
    if not isinstance(mapping, dict):
        return mapping
    return {key: {"required": True, **one} if isinstance(one, dict) else one for key, one in mapping.items()}


def _env_file(value: Tree) -> Any:
    items = value if isinstance(value, Seq) else [value]
    files = [{"path": str(one)} if isinstance(one, Text) else plain_value(one) for one in items]
    return [{"required": True, **one} if isinstance(one, dict) else one for one in files]


def _gpus(value: Tree) -> Any:
    return [{"count": "all"}] if value == "all" else plain_value(value)


def _listed(value: Tree) -> Any:
    return [str(value)] if isinstance(value, Text) else plain_value(value)


def _develop(value: Tree) -> Any:
    develop = plain_value(value)
    for watch in (develop.get("watch") or ()) if isinstance(develop, dict) else ():
        for key in ("include", "ignore"):
            if isinstance(watch, dict) and isinstance(text := watch.get(key), str):
                watch[key] = [text]
    return develop


def _ports(value: Tree) -> Any:
    ports = _each(value, lambda item: [canonical.port_tree(port) for port in parse_port(item)])
    if not isinstance(ports, list) or not all(isinstance(port, dict) for port in ports):
        return plain_value(value)
    whole = [{"mode": "ingress", "protocol": "tcp", **port} for port in ports_as_written(ports, value)]
    by_place = {
        (port.get("host_ip"), str(port.get("published", "")), port.get("target"), port["protocol"]): port
        for port in whole
    }
    return list(by_place.values())


def _volumes(value: Tree) -> Any:
    return _each(value, _volume)


def _volume(item: Text) -> list[Plain]:
    reading, section = Reading(), Map(item.at)
    section.put("volumes", Seq([item], item.at))
    mounted = mounts(Section(reading, section, ""), "")
    if reading.problems:
        raise ValueError(item)
    if len(item) <= 2:  # docker compose takes so short a text for a target without looking further
        return [{"type": "volume", "target": str(item)}]
    return [mount_as_written(canonical.mount_tree(mount), item) for mount in mounted]


def _devices(value: Tree) -> Any:
    return _each(value, _device)


def _device(item: Text) -> list[Plain]:
    section = Map(item.at)
    section.put("devices", Seq([item], item.at))
    return [
        {"source": one.source, "target": one.target, "permissions": one.permissions}
        for one in devices(Section(Reading(), section, ""))
    ]


def _secrets(value: Tree) -> Any:
    return _each(value, lambda item: [{"source": str(item), "target": canonical.SECRETS + item}])


def _configs(value: Tree) -> Any:
    return _each(value, lambda item: [{"source": str(item)}])


def _each(value: Tree, long: Callable[[Text], list[Plain]]) -> Any:
    """The items of a list in their long form; those that cannot be read stay short."""
    if not isinstance(value, Seq):
        return plain_value(value)
    items: list[Any] = []
    for item in value:
        try:
            items += long(item) if isinstance(item, Text) else [plain_value(item)]
        except ValueError:
            items.append(plain_value(item))
    return items


LONG: dict[str, Callable[[Tree], Any]] = {
    "build": _build,
    "configs": _configs,
    "depends_on": _depends_on,
    "develop": _develop,
    "devices": _devices,
    "dns": _listed,
    "env_file": _env_file,
    "gpus": _gpus,
    "label_file": _listed,
    "models": lambda value: plain_value(named(value, "models")),
    "networks": lambda value: plain_value(named(value, "networks")),
    "ports": _ports,
    "secrets": _secrets,
    "volumes": _volumes,
}
