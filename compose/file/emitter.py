"""Plain data as YAML, laid out and quoted as docker compose does, so that every YAML reader, 1.1 or 1.2, agrees on it.

Rules: text that any reader could take for a number, a boolean, null or a date is quoted; many lines are a literal
block; nothing is folded, no anchors are made. Pure: it knows dicts, lists, text, numbers, booleans and None.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

# what YAML 1.1 or 1.2 reads as something other than text (yaml.org/type; yes, no, on, off are booleans of 1.1)
_OTHER = re.compile(
    r"(?:~|null|true|false|yes|no|on|off|y|n|<<|=|[-+]?\.(?:inf|nan)|\.nan"
    r"|[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-f_]+|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?)"
    r"|[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)(?:e[-+]?[0-9]+)?"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*)?\Z",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"(?![-?:](?: |\Z)|---|\.\.\.)[^\s,\[\]{}#&*!|>'\"%@`]", re.ASCII)  # how text without quotes begins
_NOT_PLAIN = re.compile(r": | #|:\Z|\s\Z")
_ASCII_ODD = re.compile(r"[^\n -~]")
_ASCII_SPECIAL = re.compile(r'["\\]|[^ -~]')
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0", "\x1b": "\\e", '"': '\\"', "\\": "\\\\"}


@cache
def _odd() -> re.Pattern[str]:
    """What is shown as an escape. Compiling it takes 4 ms, which most files do not need."""
    return re.compile(r"[^\n -~\u00a0-\u2027\u202a-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def to_yaml(value: Any) -> str:
    out: list[str] = []
    _entry(out, "", value, -2)
    return "\n".join(out).lstrip(" ") + "\n"


def _entry(out: list[str], head: str, value: Any, indent: int) -> None:
    """What follows `head`: on its line, or below it and two further in."""
    if isinstance(value, dict) and value:
        if head:
            out.append(head)
        _mapping(out, value, indent + 2, "")
    elif isinstance(value, list) and value:
        if head:
            out.append(head)
        _sequence(out, value, indent + 2, "")
    else:
        out.append(f"{head} {_scalar(value, indent + 2)}")


def _mapping(out: list[str], value: dict[str, Any], indent: int, lead: str) -> None:
    pad = " " * indent
    for key, item in value.items():
        text = _double(key) if "\n" in key else _scalar(key, indent)
        _entry(out, f"{lead or pad}{text}:", item, indent)
        lead = ""


def _sequence(out: list[str], items: list[Any], indent: int, lead: str) -> None:
    pad = " " * indent
    for item in items:
        head = f"{lead or pad}-"
        lead = ""
        if isinstance(item, dict) and item:
            _mapping(out, item, indent + 2, f"{head} ")
        elif isinstance(item, list) and item:
            _sequence(out, item, indent + 2, f"{head} ")
        else:
            out.append(f"{head} {_scalar(item, indent + 2)}")


def _scalar(value: Any, indent: int) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e16:
            return str(int(value))
        case float():  # 1e+16 would be text to YAML 1.1, which wants a point
            return re.sub(r"\A(-?\d+)e", r"\1.0e", repr(value))
        case int():
            return str(value)
        case dict():
            return "{}"
        case list():
            return "[]"
        case _:
            return _text(str(value), indent)


def _text(value: str, indent: int) -> str:
    many = "\n" in value
    if (_ASCII_ODD if value.isascii() else _odd()).search(value.replace("\t", "") if many else value):
        return _double(value)
    if many:
        return _literal(value, indent)
    if _OTHER.match(value):
        return _double(value)
    if _PLAIN.match(value) and not _NOT_PLAIN.search(value):
        return value
    return "'" + value.replace("'", "''") + "'"


def _literal(value: str, indent: int) -> str:
    """A block that ends as the text does, and says how far in it is where its first line does not; or quoted text."""
    if value[0] == "\t" or re.search(r" (?:\n|\Z)", value):  # not read by all; a space that nobody sees
        return _double(value)
    deep = "2" if value[0] in " \n" else ""
    body = value.rstrip("\n")
    ends = len(value) - len(body)
    keep = "+" if ends > 1 or not body else "-" if not ends else ""
    lines = (value[:-1] if ends else value).split("\n")
    return f"|{deep}{keep}\n" + "\n".join(" " * indent + line if line else "" for line in lines)


def _double(value: str) -> str:
    special = _ASCII_SPECIAL if value.isascii() else re.compile(rf'["\\\n]|{_odd().pattern}')
    return '"' + special.sub(lambda match: _escape(match[0]), value) + '"'


def _escape(character: str) -> str:
    number = ord(character)
    return _ESCAPES.get(character) or (f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}")
