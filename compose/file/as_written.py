"""Explicit defaults and other ways to write one meaning, laid over the canonical tree for `config`. Pure.

A value at its default that the file spells out, a limit that `deploy` repeats, a mapping that is empty, a number that
stands for both limits of a pair: they mean nothing more, so neither `Project` nor a configuration hash knows them.
Zeros that docker compose leaves out are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .networking import parse_port
from .order import BUILD, INSIDE, NETWORK, SERVICE, ordered, words
from .paths import ELSEWHERE, volume_parts
from .reading import Reading, Section
from .source import Map, Seq, Text, Tree

Plain = dict[str, Any]
# attributes that docker compose leaves out where they are zero
ZEROS = words("""
    cpus cpu_shares cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_count cpu_percent mem_limit mem_reservation
    memswap_limit mem_swappiness pids_limit oom_score_adj shm_size
""")
TEXTS = words("""
    container_name cgroup_parent cpuset domainname hostname ipc isolation mac_address network_mode pid platform
    pull_policy restart runtime stop_signal user userns_mode uts working_dir
""")


def as_written(tree: Plain, source: Tree, *, normalize: bool = True) -> Plain:
    """A project's canonical tree with what its merged files say explicitly. Both stay as they are.

    With `normalize`, arguments of a build that have no value are left out.
    """
    whole = dict(tree)
    kinds = {"services": _service, "networks": _network, "models": _model, "configs": _file, "secrets": _file}
    for kind, one in kinds.items():
        entries, written = whole.get(kind), _map(source, kind)
        if isinstance(entries, dict):
            whole[kind] = type(entries)((name, one(entry, _map(written, name))) for name, entry in entries.items())
    if normalize:
        for service in whole.get("services", {}).values():
            _drop_unset(service.get("build"))
    return whole


def _drop_unset(build: Plain | None) -> None:
    if build and "args" in build:
        build["args"] = type(build["args"])((key, value) for key, value in build["args"].items() if value is not None)
        if not build["args"]:
            del build["args"]


def _map(holder: Tree, key: str) -> Map:
    """The mapping at a key, or an empty one."""
    value = holder.get(key) if isinstance(holder, Map) else None
    return value if isinstance(value, Map) else Map()


def _service(service: Plain, written: Map) -> Plain:
    mapping = {key: value for key, value in service.items() if not (key in ZEROS and value in (0, "0"))}
    for key in TEXTS:
        if mapping.get(key) == "":
            del mapping[key]
    section = Section(Reading(), written, "")
    for key, read in EXPLICIT.items():
        if (
            key not in mapping
            and written.get(key) is not None
            and (value := read(section, key)) not in (None, "", 0, "0")
        ):
            mapping[key] = value
    if (count := section.integer("scale")) is not None:
        mapping["scale"] = count
    if "attach" in written and written["attach"] is not None:
        mapping["attach"] = section.flag("attach", True)
    if "ulimits" in mapping:
        mapping["ulimits"] = _ulimits(mapping["ulimits"], _map(written, "ulimits"))
    if "networks" in mapping:
        mapping["networks"] = _attachments(mapping["networks"], _map(written, "networks"))
    for key, change in (
        ("volumes", mount_as_written),
        ("devices", _device),
        ("configs", _use),
        ("secrets", _use),
        ("links", _link),
    ):
        for number, item in _aligned(mapping.get(key), written.get(key)):
            mapping[key] = [*mapping[key][:number], change(mapping[key][number], item), *mapping[key][number + 1 :]]
    if "ports" in mapping:
        mapping["ports"] = ports_as_written(mapping["ports"], written.get("ports"))
    if isinstance(blkio := mapping.get("blkio_config"), dict):
        mapping["blkio_config"] = _without_zeros(blkio, ("weight",))
    if isinstance(build := mapping.get("build"), dict):
        mapping["build"] = _build(build, _map(written, "build"))
    if isinstance(deploy := mapping.get("deploy"), dict):
        mapping["deploy"] = _deploy(deploy)
    return ordered(mapping, SERVICE)


def _limit(section: Section, key: str) -> str | None:
    size = section.size(key)
    return None if size is None else str(size)


def _number(section: Section, key: str) -> float | int | None:
    number = section.number(key)
    return int(number) if number is not None and number.is_integer() else number


EXPLICIT = {
    "restart": Section.text,
    "cpus": _number,
    "mem_limit": _limit,
    "mem_reservation": _limit,
    "pids_limit": Section.integer,
}


def _aligned(entries: Any, written: Tree) -> Iterator[tuple[int, Tree]]:
    """The numbers of entries with what the file has for each; none where several entries came of one."""
    if isinstance(entries, list) and isinstance(written, Seq) and len(entries) == len(written):
        yield from enumerate(written)


def mount_as_written(volume: Plain, written: Tree) -> Plain:
    if isinstance(written, Text) and len(written) <= 2:  # docker compose looks no further into so short a text
        return {key: value for key, value in volume.items() if key != "volume"}
    kind = volume["type"]
    details = dict(volume.get(kind) or {})
    said = isinstance(written, Text) or _map(written, kind).get("create_host_path") is not None
    if kind == "bind" and said and "create_host_path" not in details:
        details = ordered({**details, "create_host_path": True}, BIND)
    kept = {key: value for key, value in volume.items() if key != kind}
    if kind == "bind":
        kept["source"] = _source(str(kept["source"]), written)
    elif kind == "volume" and isinstance(written, Text) and (label := _relabel(written)):
        kept["bind"] = {"selinux": label}
    if details or isinstance(written, Text) or (isinstance(written, Map) and isinstance(written.get(kind), Map)):
        kept[kind] = details
    return ordered(kept, VOLUME)


def _source(source: str, written: Tree) -> str:
    """The source of a bind; an absolute one is as the file has it, slashes at its end too."""
    path = volume_parts(written)[0] if isinstance(written, Text) else _text(written, "source")
    return path if path.startswith("/") else source.removeprefix(ELSEWHERE)


def _text(holder: Tree, key: str) -> str:
    value = holder.get(key) if isinstance(holder, Map) else None
    return str(value) if isinstance(value, Text) else ""


def _relabel(volume: Text) -> str | None:
    """The label of SELinux that a short form asks for: docker compose prints it, for volumes too."""
    options = volume_parts(volume)[2:]
    return next((one for one in ",".join(options).split(",") if one in ("z", "Z")), None)


VOLUME = words("type source target read_only consistency bind volume tmpfs image")
BIND = words("selinux propagation create_host_path recursive")


def _device(device: Plain, written: Tree) -> Plain:
    if isinstance(written, Map) and written.get("permissions") is None:
        return {key: value for key, value in device.items() if key != "permissions"}
    return device


def _use(use: Plain, written: Tree) -> Plain:
    """A config or secret of a service: its target is as the file has it."""
    if not isinstance(written, Map) or not isinstance(target := written.get("target"), Text):
        return use
    return {
        key: str(target) if key == "target" else value for key, value in {"source": "", "target": "", **use}.items()
    }


def _link(link: Any, written: Tree) -> Any:
    return str(written) if isinstance(written, Text) else link


PORT = words("name mode host_ip target published protocol app_protocol")
RANDOM_PORT = re.compile(r"(?:.*:)?0:[0-9]+(?:/.*)?\Z")  # 0 asks for any port, as does no port


def ports_as_written(ports: list[Plain], written: Tree) -> list[Plain]:
    random = set()
    for item in written if isinstance(written, Seq) else ():
        if isinstance(item, Text) and RANDOM_PORT.match(item):
            random.add(parse_port(item)[0].target)
        elif isinstance(item, Map) and item.get("published") == "0":
            random.add(int(str(item.get("target"))))
    return [
        ordered({**port, "published": "0"}, PORT) if port["target"] in random and "published" not in port else port
        for port in ports
    ]


def _without_zeros(mapping: Plain, keys: tuple[str, ...]) -> Plain:
    return {key: value for key, value in mapping.items() if not (key in keys and value in (0, "0", "0s"))}


def _ulimits(limits: Plain, written: Map) -> Plain:
    return type(limits)((name, _ulimit(limit, written.get(name))) for name, limit in limits.items())


def _ulimit(limit: Any, written: Tree) -> Any:
    if isinstance(limit, int) and (isinstance(written, Map) or limit == 0):
        return {"soft": limit, "hard": limit}
    return limit


def _attachments(networks: Plain, written: Map) -> Plain:
    empty = {name for name, value in written.items() if isinstance(value, Map)}
    return type(networks)((name, {} if one is None and name in empty else one) for name, one in networks.items())


def _build(build: Plain, written: Map) -> Plain:
    mapping = {"context": ".", **build}
    if (context := _text(written, "context")).startswith("/"):
        mapping["context"] = context
    if "ulimits" in mapping:
        mapping["ulimits"] = _ulimits(mapping["ulimits"], _map(written, "ulimits"))
    return ordered(mapping, BUILD)


def _deploy(deploy: Plain) -> Plain:
    mapping = dict(deploy)
    for key, zeros in (
        ("placement", ("max_replicas_per_node",)),
        ("update_config", UPDATE),
        ("rollback_config", UPDATE),
    ):
        if isinstance(section := mapping.get(key), dict):
            mapping[key] = _without_zeros(section, zeros)
    resources = mapping.get("resources")
    if isinstance(resources, dict):
        mapping["resources"] = {
            key: _without_zeros(one, ("cpus", "memory", "pids")) if isinstance(one, dict) else one
            for key, one in resources.items()
        }
    return ordered(mapping, INSIDE["deploy"])


UPDATE = ("delay", "monitor", "max_failure_ratio")


def _network(network: Plain, written: Map) -> Plain:
    mapping = dict(network)
    section = Section(Reading(), written, "")
    for key in ("enable_ipv4", "enable_ipv6"):
        if written.get(key) is not None:
            mapping[key] = section.flag(key)
    return ordered(mapping, NETWORK)


def _file(entry: Plain, written: Map) -> Plain:
    path = _text(written, "file")
    return {key: path if key == "file" else value for key, value in entry.items()} if path.startswith("/") else entry


def _model(model: Plain, written: Map) -> Plain:
    return _without_zeros(model, ("context_size",))
