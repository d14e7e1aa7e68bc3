"""Functions of templates: text/template's own, and those that docker adds. Pure.

Each takes values and gives one; a value of the wrong kind raises TypeError, ValueError, LookupError or AttributeError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus

NO_VALUE = "<no value>"
_VERB = re.compile(r"%([-+# 0]*)(\d*)(?:\.(\d*))?(.)", re.DOTALL)
_KINDS = {bool: "bool", int: "int", float: "float64", str: "string"}


def shown(value: Any) -> str:
    """As Go prints a value by itself (%v)."""
    match value:
        case None:
            return NO_VALUE
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case Mapping():
            return "map[" + " ".join(f"{key}:{shown(item)}" for key, item in sorted(value.items())) + "]"
        case list() | tuple():
            return "[" + " ".join(map(shown, value)) + "]"
        case _:
            return str(value)


def as_json(value: Any) -> str:
    """Compact, keys in the order of their names for a row, as Go's encoding of a map."""
    if isinstance(value, Mapping):
        value = {key: item for key, item in sorted(value.items()) if not callable(item)}
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _printf(form: str, *arguments: Any) -> str:
    left = list(arguments)

    def one(match: re.Match[str]) -> str:
        flags, width, precision, verb = match[1], match[2], match[3], match[4]
        if verb == "%":
            return "%"
        if not left:
            return f"%!{verb}(MISSING)"
        text = _formatted(verb, flags, precision, left.pop(0))
        if not width:
            return text
        if "-" in flags:
            return text.ljust(int(width))
        return text.zfill(int(width)) if "0" in flags and verb in "dxXeEfgG" else text.rjust(int(width))

    text = _VERB.sub(one, form)
    if left:
        text += "%!(EXTRA " + ", ".join(f"{_kind(value)}={shown(value)}" for value in left) + ")"
    return text


def _formatted(verb: str, flags: str, precision: str | None, value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match verb:
        case "v":
            return shown(value)
        case "s" if not number and not isinstance(value, bool):
            text = shown(value)
            return text if precision is None else text[: int(precision or 0)]
        case "d" if isinstance(value, int) and number:
            return f"{value:+d}" if "+" in flags else str(value)
        case "q" if isinstance(value, str):
            return json.dumps(value, ensure_ascii=False)
        case "t" if isinstance(value, bool):
            return shown(value)
        case "x" | "X" if isinstance(value, int) and number:
            return format(value, verb)
        case "x" | "X" if isinstance(value, str):
            text = value.encode().hex()
            return text.upper() if verb == "X" else text
        case "c" if isinstance(value, int) and number:
            return chr(value)
        case "o" | "b" if isinstance(value, int) and number:
            return format(value, verb)
        case "e" | "E" | "f" | "F" | "g" | "G" if isinstance(value, float):
            return format(value, f".{6 if precision is None and verb not in 'gG' else precision or 0}{verb}")
        case "T":
            return _kind(value)
        case _:
            return f"%!{verb}({_kind(value)}={shown(value)})"


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "[]string" if isinstance(value, list | tuple) else "map[string]string")


def _index(holder: Any, *keys: Any) -> Any:
    for key in keys:
        holder = holder.get(key, "") if isinstance(holder, Mapping) else holder[_position(key, holder)]
    return holder


def _position(key: Any, holder: Any) -> int:
    if not isinstance(key, int) or isinstance(key, bool):
        raise TypeError(f"{shown(key)} is no number of an item")
    if not 0 <= key < len(holder):
        raise IndexError(f"there is no item {key}, of {len(holder)}")
    return key


def _slice(holder: Any, *bounds: int) -> Any:
    start, end = (*bounds, 0)[0], bounds[1] if len(bounds) > 1 else len(holder)
    if not 0 <= start <= end <= len(holder):
        raise IndexError(f"there are no items {start} to {end}, of {len(holder)}")
    return holder[start:end]


def _comparable(one: Any, other: Any) -> None:
    kinds = [
        float if isinstance(item, int | float) and not isinstance(item, bool) else type(item) for item in (one, other)
    ]
    if kinds[0] is not kinds[1] and None not in (one, other):
        raise TypeError(f"{shown(one)} and {shown(other)} cannot be compared")


def _equal(one: Any, *others: Any) -> bool:
    if not others:
        raise TypeError("it needs two values")
    for other in others:
        _comparable(one, other)
    return any(one == other for other in others)


def _less(one: Any, other: Any) -> bool:
    _comparable(one, other)
    return bool(one < other)


def _pad(text: str, left: int, right: int) -> str:
    return " " * left + text + " " * right if text else ""


def _title(text: str) -> str:
    return re.sub(r"(?<![\w'])\w", lambda match: match[0].upper(), text)


def _html(*values: Any) -> str:
    text = "".join(map(shown, values)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&#34;").replace("'", "&#39;")


def _length(value: Any) -> int:
    return len(value.encode()) if isinstance(value, str) else len(value)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "json": as_json,
    "upper": str.upper,
    "lower": str.lower,
    "title": _title,
    "split": lambda text, separator: text.split(separator) if separator else list(text),
    "join": lambda items, separator: separator.join(map(shown, items)),
    "pad": _pad,
    "truncate": lambda text, length: text[:length],
    "print": lambda *values: "".join(map(shown, values)),
    "println": lambda *values: " ".join(map(shown, values)) + "\n",
    "printf": _printf,
    "html": _html,
    "js": lambda *values: json.dumps("".join(map(shown, values)))[1:-1].replace("'", "\\'"),
    "urlquery": lambda *values: quote_plus("".join(map(shown, values))),
    "len": _length,
    "index": _index,
    "slice": _slice,
    "eq": _equal,
    "ne": lambda one, other: not _equal(one, other),
    "lt": _less,
    "le": lambda one, other: one == other or _less(one, other),
    "gt": lambda one, other: _less(other, one),
    "ge": lambda one, other: one == other or _less(other, one),
    "not": lambda value: not value,
    "and": lambda *values: next((value for value in values if not value), values[-1]),
    "or": lambda *values: next((value for value in values if value), values[-1]),
}
# In the head of a table, what changes a value leaves its title as it is (docker/cli, formatter.go).
OF_TITLES: Mapping[str, Callable[..., Any]] = {
    **FUNCTIONS,
    **dict.fromkeys(("json", "upper", "lower", "title", "split", "join", "pad", "truncate"), lambda title, *_: title),
}
