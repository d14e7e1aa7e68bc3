"""Mounts of a service: volumes and tmpfs, configs and secrets, short forms made long. Paths are never looked at.

Source: compose specification, "volumes", and compose-go's reading of the short form.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from types import MappingProxyType

from pycompose.compose.model.errors import FileError
from pycompose.compose.model.project import (
    BindMount,
    FileReference,
    ImageMount,
    Mount,
    Service,
    TmpfsMount,
    VolumeMount,
)
from pycompose.compose.model.quantities import size_of
from pycompose.errors import Place

from .paths import WINDOWS, absolute, image, is_path, normal, volume_parts
from .reading import Reading, Section, extended, not_text, short
from .source import Map, Text, Tree, text

PROPAGATIONS = ("rprivate", "private", "rshared", "shared", "rslave", "slave")
# the last three are for machines that share files with a virtual one: here files are always consistent
OPTIONS = frozenset({*PROPAGATIONS, "ro", "rw", "z", "Z", "nocopy", "cached", "delegated", "consistent"})
SHORT = "[SOURCE:]TARGET[:ro], such as ./data:/data"
NO_SOURCE = 'invalid mount config for type "bind": field Source must not be empty'
LONG_FORM = "such as {type: bind, source: ./data, target: /data}"
TYPES = ("volume", "bind", "tmpfs", "image")


def mounts(section: Section, directory: str) -> tuple[Mount, ...]:
    """By target, which only one may have."""
    mounted: dict[str, tuple[Mount, Tree]] = {}
    entries: list[tuple[Mount | None, Tree]] = []
    for item in section.items("volumes"):
        mount = (
            _short_mount(item, section, directory) if isinstance(item, Text) else _long_mount(item, section, directory)
        )
        entries.append((mount, item))
    section.only_text("tmpfs", section.map.get("tmpfs"))
    for item in section.items("tmpfs"):
        if isinstance(item, Text):
            entries.append((_tmpfs(item), item))
        else:
            section.wrong("tmpfs", "text or a list of text")
    for mount, item in entries:
        if mount is None:
            continue
        if mount.target in mounted:
            other = mounted[mount.target][1]
            hint = f"the other is at {other.at}" if other is not None else ""
            at = item.at if item is not None else section.origin
            section.reading.problem(f'{section.name} mounts two things at "{mount.target}"', at, hint, "mount")
        mounted[mount.target] = mount, item
    return tuple(mount for mount, _ in mounted.values())


def short_mounts(texts: Iterable[str], name: str, directory: str) -> tuple[Mount, ...]:
    """Short forms that are in no file, of what messages call `name`. Raises FileError for one that is none."""
    section = Section(Reading(), None, name)
    mounted = [_short_mount(text(written), section, directory) for written in texts]
    if section.reading.problems:
        raise FileError(tuple(section.reading.problems))
    return tuple(mount for mount in mounted if mount is not None)


def _tmpfs(item: str) -> TmpfsMount:
    target, _, options = item.partition(":")
    size = mode = None
    rest = []
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        if key == "size" and size_of(value) is not None:
            size = size_of(value)
        elif key == "mode" and re.fullmatch("[0-7]{1,6}", value):
            mode = int(value, 8)
        else:
            rest.append(option)
    return TmpfsMount(normal(target), size, mode, tuple(rest), item)


def _short_mount(item: Text, section: Section, directory: str) -> Mount | None:
    parts = volume_parts(item)
    if len(parts) > 3 or not all(parts[:2]):
        message = f'volume "{short(item)}" of {section.name} is not [SOURCE:]TARGET[:OPTIONS]'
        section.reading.problem(message, item.at, SHORT, "mount")
        return None
    target = _target(parts[-1] if len(parts) == 1 else parts[1], section, item.at)
    if target is None:
        return None
    if len(parts) == 1:
        return VolumeMount(None, target)
    source = parts[0]
    options = parts[2].split(",") if len(parts) == 3 else []
    for option in options:
        if option not in OPTIONS:
            message = f'option "{short(option)}" of a volume of {section.name} is not known, and has no effect'
            section.reading.warn_once(f"volume:{option}", message, item.at)
    read_only = "ro" in options
    if is_path(source):
        return BindMount(
            absolute(source, directory),
            target,
            read_only,
            propagation=next((o for o in options if o in PROPAGATIONS), None),  # type: ignore[misc]
            selinux=next((o for o in options if o in ("z", "Z")), None),  # type: ignore[misc]
        )
    return VolumeMount(source, target, read_only, "nocopy" in options)


def _target(path: str, section: Section, at: Place | None) -> str | None:
    """Where something is mounted. One of Windows is valid, though no container of this machine can have it."""
    if WINDOWS.match(path):
        return path
    target = normal(path)
    if target.startswith("/"):
        return target
    message = f'target "{short(target)}" of {section.name} is not an absolute path'
    section.reading.problem(message, at, "it begins with a slash", "mount")
    return None


def _long_mount(item: Tree, section: Section, directory: str) -> Mount | None:
    one = section.entry("volumes", item, f"a volume of {section.name}")
    kept = one.check_keys(
        ("type", "source", "target", "read_only", "bind", "volume", "tmpfs", "image"), ("consistency",)
    )
    if one.map.get("type") in ("npipe", "cluster"):
        message = f'type "{one.map["type"]}" of {one.name} is not for one Linux host'
        one.reading.problem(message, one.at("type"), "one of: " + ", ".join(TYPES), "mount")
        return None
    kind = one.choice("type", TYPES)
    one.text("consistency")
    source, target = one.text("source"), one.text("target")
    if kind is None or not target:
        if "type" not in one or not target:
            one.reading.problem(f"{one.name} needs type and target", one.origin, LONG_FORM, "mount")
        return None
    target = _target(target, section, one.at("target"))
    if target is None:
        return None
    details = one.section(kind)
    if kind == "bind":
        details.check_keys(("propagation", "create_host_path", "recursive", "selinux"))
        if not source:
            one.reading.problem(NO_SOURCE, one.origin, LONG_FORM, "mount")
            return None
        return BindMount(
            absolute(source, directory),
            target,
            one.flag("read_only"),
            details.flag("create_host_path", True),
            details.choice("propagation", PROPAGATIONS),  # type: ignore[arg-type]
            details.choice("recursive", ("enabled", "disabled", "writable", "readonly")),  # type: ignore[arg-type]
            details.choice("selinux", ("z", "Z")),  # type: ignore[arg-type]
            extended(kept),
        )
    if kind == "volume":
        details.check_keys(("nocopy", "subpath", "labels"))
        labels = MappingProxyType(details.pairs("labels"))
        return VolumeMount(
            source,
            target,
            one.flag("read_only"),
            details.flag("nocopy"),
            details.text("subpath"),
            labels,
            extended(kept),
        )
    if kind == "tmpfs":
        details.check_keys(("size", "mode"))
        size = details.size("size")
        if size is not None and size < 0:
            details.wrong("size", "a size such as 64m")
        mode, written = details.octal("mode"), details.map.get("mode")
        if mode is not None and isinstance(written, Text) and not not_text(written):
            one.reading.lax(f'"mode" of {details.name} is text, not a number', written.at)
        return TmpfsMount(target, size, mode, extensions=extended(kept))
    details.check_keys(("subpath",))
    if not source:
        one.reading.problem(f"{one.name}: an image needs a source", one.origin, "source: IMAGE", "mount")
    where, read_only = image(source or "", directory), one.flag("read_only")
    return ImageMount(where, target, details.text("subpath"), read_only, extended(kept))


def named_volumes(service: Service) -> list[str]:
    return [m.source for m in service.mounts if isinstance(m, VolumeMount) and m.source is not None]


def uses(section: Section, key: str, directory: str) -> tuple[FileReference, ...]:
    """A service's `configs` or `secrets`; `directory` is where those without an absolute target go."""
    references = []
    for item in section.items(key):
        if isinstance(item, Text):
            references.append(FileReference(str(item), directory + item))
            continue
        one = section.entry(key, item, f"an entry in {key} of {section.name}")
        kept = one.check_keys(("source", "target", "uid", "gid", "mode"))
        source = one.text("source")
        if source is None:
            if isinstance(item, Map):
                one.reading.problem(
                    f"{one.name} has no source", one.origin, f"source: the name of one of {key}", "source"
                )
            continue
        target = posixpath.join(directory, one.text("target") or source)
        uid, gid, mode = one.text("uid"), one.text("gid"), one.octal("mode")
        references.append(FileReference(source, target, uid, gid, mode, extended(kept)))
    return tuple(references)
