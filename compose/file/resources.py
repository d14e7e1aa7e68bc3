"""Resource limits of a service, from its own keys and from `deploy` (which must agree); ulimits and devices. Pure."""

from __future__ import annotations

from pycompose.compose.model.deployment import Deploy
from pycompose.compose.model.image_build import Ulimit
from pycompose.compose.model.known_words import INVALID
from pycompose.compose.model.project import BlkioConfig, Device, DeviceRate, DeviceWeight, RestartPolicy, ServiceLimits
from pycompose.compose.model.quantities import duration_of
from pycompose.errors import Place

from .reading import Section, extended, not_text, short
from .source import Map, Text, Tree

SOFT_AND_HARD = "such as {soft: 1024, hard: 2048}, or one number for both"
RATES = ("device_read_bps", "device_read_iops", "device_write_bps", "device_write_iops")


def place(section: Section, *path: str) -> Place | None:
    """Where the file says what is at a path of keys."""
    holder: Tree = section.map
    for key in path[:-1]:
        holder = holder.get(key) if isinstance(holder, Map) else None
    if not isinstance(holder, Map):
        return None
    value = holder.get(path[-1])
    return value.at if isinstance(value, Text) else holder.keys_at.get(path[-1])


def agreed(
    section: Section, key: str, value: float | None, other_path: tuple[str, ...], other: float | None
) -> float | None:
    """One value of two places; that they differ is a problem that names both."""
    if value is not None and other is not None and value != other:
        keys = f"'{key}' and '{'.'.join(other_path)}'"
        message = f"{section.path() or section.name}: can't set distinct values on {keys}: {INVALID}"
        hint = f"they are {_shown(value)} and {_shown(other)}; the other is at {place(section, *other_path)}"
        section.reading.problem(message, section.at(key), hint, "conflict")
    return value if value is not None else other


def _shown(value: float) -> str:
    return str(int(value) if value == int(value) else value)


def replicas(section: Section, deploy: Deploy | None) -> int:
    scale, other = section.integer("scale"), deploy.replicas if deploy else None
    wanted = agreed(section, "scale", scale, ("deploy", "replicas"), other)
    count = 1 if wanted is None else int(wanted)
    if count < 0:
        at = section.at("scale") if scale is not None else place(section, "deploy", "replicas")
        where = "scale" if scale is not None else "deploy.replicas"
        message = f"{section.path(where)}: must be greater than or equal to 0"
        section.reading.problem(message, at, f"{count} is below zero", "value")
        return 1
    return count


def restart(section: Section) -> RestartPolicy | None:
    value = section.map.get("restart")
    if value is None or value == "":  # to Docker what is empty is no policy
        return None
    condition, colon, attempts = str(value).partition(":") if isinstance(value, Text) else ("", "", "")
    if condition == "on-failure" and (not colon or (attempts.isdecimal() and len(attempts) < 10)):
        return RestartPolicy("on-failure", int(attempts or 0) or None)
    if not colon and condition in ("no", "always", "unless-stopped", "false"):
        section.only_text("restart", value)
        return RestartPolicy("no" if condition == "false" else condition)  # type: ignore[arg-type]
    section.wrong("restart", "no, always, on-failure[:N] or unless-stopped")
    return None


def resources(section: Section, deploy: Deploy | None) -> ServiceLimits:
    declared = deploy.resources if deploy else None
    limits = declared.limits if declared else None
    reservations = declared.reservations if declared else None

    def whole(key: str, value: int | None, path: str, other: int | None) -> int | None:
        limit = agreed(section, key, value, ("deploy", "resources", *path.split(".")), other)
        return None if limit is None else int(limit)

    reserved = reservations.memory if reservations else None
    return ServiceLimits(
        cpus=agreed(
            section,
            "cpus",
            section.number("cpus"),
            ("deploy", "resources", "limits", "cpus"),
            limits.cpus if limits else None,
        ),
        cpu_shares=section.integer("cpu_shares"),
        cpu_period=_microseconds(section, "cpu_period"),
        cpu_quota=_microseconds(section, "cpu_quota"),
        cpu_rt_period=_microseconds(section, "cpu_rt_period"),
        cpu_rt_runtime=_microseconds(section, "cpu_rt_runtime"),
        cpuset=section.text("cpuset"),
        mem_limit=whole("mem_limit", section.size("mem_limit"), "limits.memory", limits.memory if limits else None),
        mem_reservation=whole("mem_reservation", section.size("mem_reservation"), "reservations.memory", reserved),
        memswap_limit=section.size("memswap_limit") or None,
        mem_swappiness=_swappiness(section),
        pids_limit=whole("pids_limit", section.integer("pids_limit"), "limits.pids", limits.pids if limits else None),
        blkio=_blkio(section),
        oom_kill_disable=section.flag("oom_kill_disable"),
        oom_score_adj=section.between("oom_score_adj", -1000, 1000),
    )


def _swappiness(section: Section) -> int | None:
    """0 to 100; -1 is the machine's."""
    value = section.map.get("mem_swappiness")
    if isinstance(value, Text) and not value.plain and value.strip() == "-1":
        section.reading.lax(f'"mem_swappiness" of {section.name} is text, not a number: {value}', value.at)
    return section.between("mem_swappiness", -1, 100)


def _microseconds(section: Section, key: str) -> int | None:
    value = section.map.get(key)
    if isinstance(value, Text) and (value[-1:].isalpha() and (seconds := duration_of(value)) is not None):
        section.reading.lax(f'"{key}" of {section.name} is no number of microseconds: {value}', value.at)
        return round(seconds * 1_000_000)
    return section.integer(key)


def _blkio(section: Section) -> BlkioConfig | None:
    if section.map.get("blkio_config") is None:
        return None
    one = section.section("blkio_config")
    one.check_no_extensions(("weight", "weight_device", *RATES))
    devices = []
    for item in one.items("weight_device"):
        entry = Section(section.reading, item, f"a weight_device of {section.name}")
        entry.check_no_extensions(("path", "weight"))
        devices.append(DeviceWeight(entry.text("path") or "", entry.between("weight", 0, 1000) or 0))
    limits: dict[str, tuple[DeviceRate, ...]] = {}
    for key in RATES:
        rates = []
        for item in one.items(key):
            entry = Section(section.reading, item, f"a {key} of {section.name}")
            entry.check_no_extensions(("path", "rate"))
            rates.append(DeviceRate(entry.text("path") or "", entry.size("rate") or 0))
        limits[key] = tuple(rates)
    return BlkioConfig(one.between("weight", 0, 1000), tuple(devices), **limits)


def ulimits(section: Section, key: str = "ulimits", *, quoted: bool = True) -> dict[str, Ulimit]:
    """Limits by name; unless `quoted`, a warning at a number that is text."""
    limits = {}
    parent = section.section(key)

    def check(one: Section, name: str) -> None:
        value = one.map.get(name)
        if not quoted and isinstance(value, Text) and not not_text(value):
            section.reading.lax(f'"{name}" of {one.name} is text, not a number', value.at)

    for name, value in parent.map.items():
        if name.startswith("x-"):
            section.reading.lax(f'{parent.name} has "{name}"', parent.at(name))
            continue
        if isinstance(value, Map):
            what = f'ulimit "{name}" of {section.name}'
            one = Section(section.reading, value, what, within=(section, f"{key}.{name}"))
            one.check_keys(("soft", "hard"))
            check(one, "soft")
            check(one, "hard")
            soft, hard = one.integer("soft"), one.integer("hard")
            if "soft" not in one or "hard" not in one:
                one.reading.problem(
                    f"{one.name} needs soft and hard", parent.map.keys_at.get(name), SOFT_AND_HARD, "required"
                )
            soft = hard if soft is None else soft
            limits[name] = Ulimit(soft or 0, soft or 0 if hard is None else hard)
        elif value is None:
            message = f'"{name}" in "{key}" of {section.name} has no value'
            section.reading.problem(message, parent.map.keys_at.get(name), SOFT_AND_HARD, "null")
        elif (number := parent.integer(name)) is not None:
            check(parent, name)
            limits[name] = Ulimit(number, number)
    return limits


def devices(section: Section) -> tuple[Device, ...]:
    mappings = []
    for item in section.items("devices"):
        if isinstance(item, Text):
            section.only_text("devices", item)
            source, _, rest = item.partition(":")
            target, _, permissions = rest.partition(":")
            if source and set(target) <= set("rwm") and target and not permissions:  # SRC:rwm
                target, permissions = source, target
            mappings.append(Device(source, target or source, permissions or "rwm"))
            continue
        one = section.entry("devices", item, f"a device of {section.name}")
        kept = one.check_keys(("source", "target", "permissions"))
        source = one.text("source") or ""
        if not source:
            one.reading.problem(f"{one.name} has no source", one.origin, "source: /dev/…", "required")
        if source and one.map.get("target") is None:
            one.reading.lax(f'{one.name} has no "target", which is then {short(source)}', one.origin)
        target, permissions = one.text("target") or source, one.text("permissions") or "rwm"
        mappings.append(Device(source, target, permissions, extended(kept)))
    return tuple(mappings)
