"""Several files (or an extended service) as one tree: mappings recurse, scalars replace, sequences append. Pure.

Exceptions are tables below, as compose-go has them: what is replaced, what is a list of NAME=value, what is unique by
a key. `!reset` removes, `!override` replaces.
"""

from __future__ import annotations

from .source import Map, Seq, Text, Tree, text

REPLACED = frozenset({"command", "entrypoint", "test"})
PAIRS = frozenset({"environment", "labels", "annotations", "sysctls", "args", "additional_contexts", "extra_hosts"})
NAMED = frozenset({"depends_on", "networks", "models"})  # a list of names is a mapping to null
UNIQUE_TEXT = frozenset(
    {
        "expose",
        "links",
        "profiles",
        "cap_add",
        "cap_drop",
        "aliases",
        "tmpfs",
        "dns",
        "dns_opt",
        "dns_search",
        "env_file",
    }
)
BY_TARGET = frozenset({"volumes", "devices", "configs", "secrets"})


def merge(base: Tree, over: Tree, path: tuple[str, ...] = ()) -> Tree:
    """`over` laid on `base`; neither is changed."""
    name = path[-1] if path else ""
    inside = len(path) >= 3 and path[0] == "services"
    if over is None:
        return base
    if base is None or (inside and name in REPLACED):
        return over
    if inside and name in PAIRS:
        base, over = pairs(base), pairs(over)
    elif inside and len(path) == 3 and name in NAMED:
        base, over = named(base, name), named(over, name)
    elif inside and name == "build":
        base, over = _context(base), _context(over)
    elif inside and (name in UNIQUE_TEXT or name in BY_TARGET or name == "ports"):
        base, over = _sequence(base), _sequence(over)
    if isinstance(base, Map) and isinstance(over, Map):
        if name == "logging" and "driver" in over and base.get("driver", over["driver"]) != over["driver"]:
            return over
        made = Map(over.at or base.at)
        made.keys_at = {**base.keys_at, **over.keys_at}
        made.update(base)
        for key, value in over.items():
            tag = over.tags.get(key)
            if tag == "reset":
                made.pop(key, None)
            elif tag == "override" or key not in made or (inside and name == "ulimits"):
                made[key] = value
            else:
                made[key] = merge(made[key], value, (*path, key))
        return made
    if isinstance(base, Seq) and isinstance(over, Seq):
        return _unique(Seq([*base, *over], over.at), name) if inside else Seq([*base, *over], over.at)
    return over


def strip_resets(value: Tree) -> Tree:
    """The first file may say `!reset` too: the key is as if it were not there."""
    if isinstance(value, Map):
        for key in [k for k, tag in value.tags.items() if tag == "reset"]:
            value.pop(key, None)
        for item in value.values():
            strip_resets(item)
    return value


def pairs(value: Tree) -> Tree:
    """A list of NAME=value as a mapping; a bare NAME is null."""
    if not isinstance(value, Seq):
        return value
    made = Map(value.at)
    for item in value:
        if isinstance(item, Text):
            key, equals, rest = item.partition("=")
            made.put(key, text(rest, item.at) if equals else None, item.at)
    return made


def named(value: Tree, name: str) -> Tree:
    if not isinstance(value, Seq):
        return value
    made = Map(value.at)
    for item in value:
        if isinstance(item, Text):
            entry: Tree = None
            if name == "depends_on":
                entry = Map(item.at)
                entry.put("condition", text("service_started", item.at), item.at)
            made.put(str(item), entry, item.at)
    return made


def _context(value: Tree) -> Tree:
    if not isinstance(value, Text):
        return value
    made = Map(value.at)
    made.put("context", value, value.at)
    return made


def _sequence(value: Tree) -> Tree:
    return Seq([value], value.at) if isinstance(value, Text) else value


def _unique(items: Seq, name: str) -> Seq:
    if name not in UNIQUE_TEXT and name not in BY_TARGET and name != "ports":
        return items
    made: dict[object, Tree] = {}
    for item in items:
        made[_identity(item, name)] = item
    return Seq(made.values(), items.at)


def _identity(item: Tree, name: str) -> object:
    if isinstance(item, Map):
        if name == "ports":
            return tuple(str(item.get(k, "")) for k in ("host_ip", "target", "published", "protocol"))
        return str(item.get("target") or item.get("source") or item.get("path"))
    if isinstance(item, Text) and name in ("volumes", "devices"):
        parts = item.split(":")
        return parts[1] if len(parts) > 1 else parts[0]
    return str(item)
