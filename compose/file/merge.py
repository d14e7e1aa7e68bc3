"""Several files (or an extended service) as one tree: mappings recurse, scalars replace, sequences append. Pure.

Exceptions are the tables below, as compose-go has them: what is replaced, what is a list of NAME=value, what is unique
by a key. `!reset` removes, `!override` replaces; a null leaves a mapping or a list as it was. Paths are of a service's
own attributes; `*` stands for one name.
"""

from __future__ import annotations

from collections.abc import Callable

from pycompose.errors import Place

from .paths import volume_parts
from .source import Map, Seq, Text, Tree, position, text

REPLACED = frozenset({"command", "entrypoint", "healthcheck.test"})
PAIRS = frozenset(
    {
        "environment",
        "labels",
        "annotations",
        "sysctls",
        "build.args",
        "build.labels",
        "build.additional_contexts",
        "build.ssh",
        "deploy.labels",
    }
)
NAMED = frozenset({"depends_on", "networks", "models"})  # a list of names is a mapping to null
SINGLE = frozenset({"dns", "dns_search", "dns_opt", "env_file", "label_file", "tmpfs"})  # one text is a list of it
UNIQUE_TEXT = SINGLE | {
    "expose",
    "links",
    "profiles",
    "cap_add",
    "cap_drop",
    "networks.*.aliases",
    "extra_hosts",
    "build.extra_hosts",
}


Lax = Callable[[str, Place | None], None]  # told of what is understood, and docker compose refuses


def merge(base: Tree, over: Tree, path: tuple[str, ...] = (), lax: Lax = lambda *_: None) -> Tree:
    """`over` laid on `base`; neither is changed."""
    name = attribute(path)
    if base is None or name in REPLACED:
        return stripped(over)
    if over is None:
        return base if isinstance(base, Map | Seq) else None
    labels = path[2:] == ("labels",) and path[0] in ("networks", "volumes", "configs", "secrets")
    if name == "build.ssh" and isinstance(over, Seq):
        lax(f'"ssh" of the build of service "{path[1]}" is a list where another file has keys too', over.at)
    if name in PAIRS or labels:
        base, over = _by_text(pairs(base)), _by_text(pairs(over))
        if labels and path[0] != "networks":
            _same_labels(base, over, path, lax)
    elif name in NAMED:
        base, over = named(base, name), named(over, name)
    elif name == "build":
        base, over = _context(base), _context(over)
    elif name in ("extra_hosts", "build.extra_hosts"):
        base, over = _hosts(base), _hosts(over)
    elif name in SINGLE:
        base, over = _sequence(base), _sequence(over)
    elif name.startswith("ulimits."):
        return over
    if isinstance(base, Map) and isinstance(over, Map):
        if name == "logging" and "driver" in over and base.get("driver", over["driver"]) != over["driver"]:
            return over
        merged = _mappings(base, over, path, lax)
        merged.joined = name in PAIRS
        return merged
    if isinstance(base, Seq) and isinstance(over, Seq):
        return _unique(Seq([*base, *over], over.at or base.at), path)
    return stripped(over)


def attribute(path: tuple[str, ...]) -> str:
    """The path inside a service: "build.args"; "" for what is no service's."""
    if len(path) < 3 or path[0] != "services":
        return ""
    if len(path) == 5 and path[2] in ("networks", "depends_on", "models"):
        return f"{path[2]}.*.{path[4]}"
    return ".".join(path[2:])


def _same_labels(base: Tree, over: Tree, path: tuple[str, ...], lax: Lax) -> None:
    if isinstance(base, Map) and isinstance(over, Map):
        for key, value in over.items():
            if key in base and base[key] == value and over.tags.get(key) is None:
                kind = path[0].removesuffix("s")
                lax(f'label "{key}" of {kind} "{path[1]}" is twice the same', over.keys_at.get(key))


def _mappings(base: Map, over: Map, path: tuple[str, ...], lax: Lax) -> Map:
    merged = base.copy()
    merged.at = over.at or base.at
    merged.scope = base.scope if over.scope is None else over.scope
    merged.keys_at.update(over.keys_at)
    for key, value in over.items():
        tag = over.tags.get(key)
        if tag == "reset":
            merged.pop(key, None)
        elif tag == "override" or key not in merged:
            merged[key] = stripped(value)
        else:
            merged[key] = merge(merged[key], value, (*path, key), lax)
    return merged


def stripped(value: Tree) -> Tree:
    """What has nothing beneath it to reset: the keys that say `!reset` are as if they were not there."""
    if isinstance(value, Map):
        mapping = value
        if "reset" in value.tags.values():
            mapping = value.without(*(key for key, tag in value.tags.items() if tag == "reset"))
        for key, item in value.items():
            if isinstance(item, Map | Seq) and key in mapping and (new := stripped(item)) is not item:
                mapping = mapping.replaced(key, new)
        return mapping
    if isinstance(value, Seq) and any(isinstance(item, Map) for item in value):
        items = [stripped(item) for item in value]
        if any(new is not old for new, old in zip(items, value, strict=True)):
            return Seq(items, value.at)
    return value


def pairs(value: Tree) -> Tree:
    """A list of NAME=value as a mapping; a bare NAME is null."""
    if not isinstance(value, Seq):
        return value
    mapping = Map(value.at)
    for item in value:
        if not isinstance(item, Text):
            return value
        key, equals, rest = item.partition("=")
        mapping.put(key, text(rest, item.at) if equals else None, item.at)
    return mapping


def _by_text(value: Tree) -> Tree:
    """Pairs that were no list, in the order of their text."""
    if not isinstance(value, Map) or value.joined:
        return value
    ordered = value.copy()
    ordered.clear()
    ordered.update(sorted(value.items(), key=lambda pair: "=".join(map(str, pair))))
    return ordered


def named(value: Tree, name: str) -> Tree:
    if not isinstance(value, Seq):
        return value
    mapping = Map(value.at)
    for item in value:
        if not isinstance(item, Text):
            return value
        entry: Tree = None
        if name == "depends_on":
            entry = Map(item.at)
            entry.put("condition", text("service_started", item.at), item.at)
            entry.put("required", text("true", item.at, plain=True), item.at)  # a name says so, over what was there
        mapping.put(str(item), entry, item.at)
    return mapping


def _hosts(value: Tree) -> Tree:
    """`extra_hosts` as a list: a host may have several addresses."""
    if not isinstance(value, Map):
        return value
    hosts = Seq((), value.at)
    for name, item in sorted(value.items()):
        for address in item if isinstance(item, Seq) else [item]:
            hosts.append(text(f"{name}={address or ''}", position(address) or value.keys_at.get(name)))
    return hosts


def _context(value: Tree) -> Tree:
    if not isinstance(value, Text):
        return value
    mapping = Map(value.at)
    mapping.put("context", value, value.at)
    return mapping


def _sequence(value: Tree) -> Tree:
    return Seq([value], value.at) if isinstance(value, Text | Map) else value


def _unique(items: Seq, path: tuple[str, ...]) -> Tree:
    name = attribute(path)
    identity = IDENTITY.get(name) or (str if name in UNIQUE_TEXT else _pair if name in PAIRS else None)
    if path[0] == "networks" and path[2:] == ("labels",):
        identity = _pair
    if path[0] == "networks" and path[2:] == ("ipam", "config"):
        return _pools(items, path)
    if identity is None:
        return items
    kept: dict[str, Tree] = {}
    for item in items:
        kept[identity(item)] = item
    return Seq(kept.values(), items.at)


def unique(tree: Map) -> Map:
    """A file's tree, in which of two list entries for one thing the last is left: the same as between two files."""
    for kind in ("services", "networks"):
        entries = tree.get(kind)
        changed = entries if isinstance(entries, Map) else Map()
        for name, entry in list(changed.items()):
            if isinstance(entry, Map) and (new := _unique_in(entry, (kind, name))) is not entry:
                changed = changed.copy() if changed is entries else changed
                changed[name] = new
        if isinstance(entries, Map) and changed is not entries:
            tree = tree.replaced(kind, changed)
    return tree


def _unique_in(holder: Map, path: tuple[str, ...]) -> Map:
    changed = holder
    for key, value in holder.items():
        inner = (*path, key)
        new = value
        if isinstance(value, Seq) and len(value) > 1 and attribute(inner) not in KEPT_TWICE:
            new = _unique(value, inner)
        elif isinstance(value, Map) and (
            key in HOLDERS if len(path) == 2 else path[2] == "networks" and len(path) == 3
        ):
            new = _unique_in(value, inner)
        if new is not value and (not isinstance(new, Seq) or len(new) < len(value or ())):
            changed = changed.copy() if changed is holder else changed
            changed[key] = new
    return changed


KEPT_TWICE = frozenset({"extra_hosts", "build.extra_hosts", "build.ssh"})  # in one file: docker compose refuses them
HOLDERS = ("build", "deploy", "networks")  # attributes with such lists inside


def _pools(items: Seq, path: tuple[str, ...]) -> Seq:
    """Address pools with one subnet are one."""
    pools: dict[str, Tree] = {}
    for number, item in enumerate(items):
        subnet = str(item.get("subnet")) if isinstance(item, Map) and item.get("subnet") else f"#{number}"
        pools[subnet] = merge(pools[subnet], item, (*path, "[]")) if subnet in pools else item
    return Seq(pools.values(), items.at)


def _by_target(directory: str) -> Callable[[Tree], str]:
    def identity(item: Tree) -> str:
        if isinstance(item, Map):
            target = item.get("target") or item.get("source")
            return str(target) if str(target).startswith("/") else f"{directory}{target}"
        return f"{directory}{item}"

    return identity


def _mount_target(item: Tree) -> str:
    if isinstance(item, Map):
        return str(item.get("target")).rstrip("/")
    parts = volume_parts(str(item))
    return (parts[1] if len(parts) > 1 else parts[0]).rstrip("/")


def _device_target(item: Tree) -> str:
    if isinstance(item, Map):
        return str(item.get("target") or item.get("source"))
    parts = str(item).split(":")
    return parts[1] if len(parts) > 1 else parts[0]


def _port(item: Tree) -> str:
    """Long forms by what they publish, short ones by their text; `service` finds those that mean the same."""
    if not isinstance(item, Map):
        return str(item)
    host, protocol = item.get("host_ip") or "0.0.0.0", item.get("protocol") or "tcp"
    return f"{host}:{item.get('published') or ''}:{item.get('target')}/{protocol}"


def _pair(item: Tree) -> str:
    return str(item).partition("=")[0]


def _path(item: Tree) -> str:
    return str(item.get("path")) if isinstance(item, Map) else str(item)


IDENTITY: dict[str, Callable[[Tree], str]] = {
    "volumes": _mount_target,
    "devices": _device_target,
    "configs": _by_target("/"),
    "secrets": _by_target("/run/secrets/"),
    "ports": _port,
    "env_file": _path,
    "tmpfs": lambda item: str(item).partition(":")[0],
}
