"""A merged file that is not interpolated, as `config --no-interpolate` shows it. Pure.

Nothing is known of a value with a `$` in it, so this is no Project: long forms are made where a short one can be read,
paths are joined and names filled in, and all else stays as it is written. Keys are sorted, as docker compose has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import canonical
from .merge import named
from .mounting import mounts
from .networking import parse_port
from .paths import rebased
from .reading import Reading, Section
from .source import Map, Seq, Text, Tree, plain_value

Plain = dict[str, Any]


def outline(tree: Tree, name: str, working_dir: str, *, normalize: bool = True, resolve_paths: bool = True) -> Plain:
    whole = rebased(tree, working_dir) if resolve_paths else tree
    data = plain_value(whole)
    mapping: Plain = {**data, "name": name} if isinstance(data, dict) else {"name": name}
    services = whole.get("services") if isinstance(whole, Map) else None
    if isinstance(services, Map):
        mapping["services"] = {key: _service(service, normalize) for key, service in services.items()}
    if normalize:
        _named(mapping, name)
    return {key: _sorted(mapping[key]) for key in sorted(mapping)}


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


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
        mapping[key] = plain_value(value) if change is None or value is None else change(value)
    build = mapping.get("build")
    if normalize and isinstance(build, dict) and "dockerfile_inline" not in build:
        mapping["build"] = {"dockerfile": "Dockerfile", **build}
    if normalize and not {"networks", "network_mode", "provider"} & mapping.keys():
        mapping["networks"] = {"default": None}
    return mapping


def _build(value: Tree) -> Any:
    return {"context": str(value)} if isinstance(value, Text) else plain_value(value)


def _depends_on(value: Tree) -> Any:
    mapping = plain_value(named(value, "depends_on"))
    if not isinstance(mapping, dict):
        return mapping
    return {key: {"required": True, **one} if isinstance(one, dict) else one for key, one in mapping.items()}


def _networks(value: Tree) -> Any:
    return plain_value(named(value, "networks"))


def _ports(value: Tree) -> Any:
    return _each(value, lambda item: [canonical.port_tree(port) for port in parse_port(item)])


def _volumes(value: Tree) -> Any:
    return _each(value, _volume)


def _volume(item: Text) -> list[Plain]:
    reading, section = Reading(), Map(item.at)
    section.put("volumes", Seq([item], item.at))
    mounted = mounts(Section(reading, section, ""), "")
    if reading.problems:
        raise ValueError(item)
    return [canonical.mount_tree(mount) for mount in mounted]


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
    "networks": _networks,
    "ports": _ports,
    "secrets": _secrets,
    "volumes": _volumes,
}
