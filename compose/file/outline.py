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
    made: Plain = {**data, "name": name} if isinstance(data, dict) else {"name": name}
    services = whole.get("services") if isinstance(whole, Map) else None
    if isinstance(services, Map):
        made["services"] = {key: _service(service, normalize) for key, service in services.items()}
    if normalize:
        _named(made, name)
    return {key: _sorted(made[key]) for key in sorted(made)}


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _named(made: Plain, name: str) -> None:
    """The default network, where it is used, and the real names of what has none of its own."""
    services = made.get("services") or {}
    if any(isinstance(one, dict) and "default" in (one.get("networks") or ()) for one in services.values()):
        made["networks"] = {"default": None, **(made.get("networks") or {})}
    for kind in ("networks", "volumes", "configs", "secrets"):
        entries = made.get(kind)
        if not isinstance(entries, dict):
            continue
        for key, given in entries.items():
            if isinstance(one := given or {}, dict):
                entries[key] = {"name": key if one.get("external") else f"{name}_{key}", **one}


def _service(service: Tree, normalize: bool) -> Any:
    if not isinstance(service, Map):
        return plain_value(service)
    made: Plain = {}
    for key, value in service.items():
        change = LONG.get(key)
        made[key] = plain_value(value) if change is None or value is None else change(value)
    build = made.get("build")
    if normalize and isinstance(build, dict) and "dockerfile_inline" not in build:
        made["build"] = {"dockerfile": "Dockerfile", **build}
    if normalize and not {"networks", "network_mode", "provider"} & made.keys():
        made["networks"] = {"default": None}
    return made


def _build(value: Tree) -> Any:
    return {"context": str(value)} if isinstance(value, Text) else plain_value(value)


def _depends_on(value: Tree) -> Any:
    made = plain_value(named(value, "depends_on"))
    if not isinstance(made, dict):
        return made
    return {key: {"required": True, **one} if isinstance(one, dict) else one for key, one in made.items()}


def _networks(value: Tree) -> Any:
    return plain_value(named(value, "networks"))


def _ports(value: Tree) -> Any:
    return _each(value, lambda item: [canonical.port_tree(port) for port in parse_port(item)])


def _volumes(value: Tree) -> Any:
    return _each(value, _volume)


def _volume(item: Text) -> list[Plain]:
    reading, section = Reading(), Map(item.at)
    section.put("volumes", Seq([item], item.at))
    found = mounts(Section(reading, section, ""), "")
    if reading.problems:
        raise ValueError(item)
    return [canonical.mount_tree(mount) for mount in found]


def _secrets(value: Tree) -> Any:
    return _each(value, lambda item: [{"source": str(item), "target": canonical.SECRETS + item}])


def _configs(value: Tree) -> Any:
    return _each(value, lambda item: [{"source": str(item)}])


def _each(value: Tree, long: Callable[[Text], list[Plain]]) -> Any:
    """The items of a list in their long form; those that cannot be read stay short."""
    if not isinstance(value, Seq):
        return plain_value(value)
    made: list[Any] = []
    for item in value:
        try:
            made += long(item) if isinstance(item, Text) else [plain_value(item)]
        except ValueError:
            made.append(plain_value(item))
    return made


LONG: dict[str, Callable[[Tree], Any]] = {
    "build": _build,
    "configs": _configs,
    "depends_on": _depends_on,
    "networks": _networks,
    "ports": _ports,
    "secrets": _secrets,
    "volumes": _volumes,
}
