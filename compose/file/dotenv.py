"""The grammar of `.env` files. Pure: text in, variables out.

`export K=V`, `K: V`, bare `K` (taken from outside); '…' literal, "…" with escapes, both may span lines; a comment
starts at `#` after space. Unquoted and "…" values are interpolated, with the file's earlier keys known. A statement may
follow a closing quote on its line. All values together are bounded, so that lines that double each other end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from pycompose.compose.model.errors import FileError, Problem
from pycompose.errors import Place

from .interpolate import InterpolationError, substitute
from .source import place_in

TOTAL = 16 << 20  # characters
KEY = re.compile(r"[ \t]*(?:export[ \t]+)?([\w.\-\[\]]+)[ \t]*(?:([=:])[ \t]*|(?=\n|\Z|#))")
ESCAPE = re.compile(r"\\(0[0-7]{1,3}|.)", re.DOTALL)
ESCAPES = {
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "\\": "\\",
    '"': '"',
    "$": "$$",
    "c": "",
}


def parse(
    content: str,
    path: str,
    lookup: Callable[[str], str | None],
    unset: Callable[[str, Place], None] = lambda name, at: None,
    earlier: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """Variables of a file; a bare key that `lookup` does not know is left out. Raises FileError.

    A value's variables are those of `lookup`, else of this file above, else of `earlier` files. `unset` hears of those
    that nobody has.
    """
    content = content.removeprefix("\ufeff").replace("\r\n", "\n")
    values: dict[str, str] = {}

    def known(name: str) -> str | None:
        outside = lookup(name)
        return values.get(name, earlier.get(name)) if outside is None else outside

    def fail(message: str, index: int, hint: str = "") -> FileError:
        return FileError((Problem(message, place_in(content, index, path), hint, "dotenv"),))

    index = total = 0
    while index < len(content):
        end = content.find("\n", index)
        end = len(content) if end < 0 else end
        line = content[index:end].strip()
        if not line or line.startswith("#"):
            index = end + 1
            continue
        match = KEY.match(content, index)
        if not match:
            hint = f'"{line[:60]}" is not NAME=value; a name has letters, digits and _ . - [ ]'
            name = re.split("[=:]", line, maxsplit=1)[0]
            fault = (
                "key cannot contain a space"
                if " " in name.strip()
                else f'unexpected character in variable name "{line[:60]}"'
            )
            raise fail(fault, index, hint)
        key, value_at = match[1], match.end()
        if match[2] is None:
            if (inherited := lookup(key)) is not None:
                values[key] = inherited
            index = end + 1
            continue
        quote = content[value_at : value_at + 1]

        def missing(name: str, at: int = value_at) -> None:
            unset(name, place_in(content, at, path))

        try:
            if quote in ("'", '"') and quote:
                close = _quote_end(content, value_at, quote)
                if close < 0:
                    hint = f"end the value of {key} with {quote}"
                    raise fail(f"unterminated quoted value {content[value_at:end]}", value_at, hint)
                raw = content[value_at + 1 : close]
                values[key] = raw.replace("\\'", "'") if quote == "'" else substitute(_unescape(raw), known, missing)
                index = close + 1
            else:
                raw = re.split(r"(?:^|[ \t])#", content[value_at:end], maxsplit=1)[0].strip()
                values[key] = substitute(raw, known, missing)
                index = end + 1
        except InterpolationError as error:
            raise fail(str(error), value_at, error.hint) from error
        if "\0" in values[key]:
            raise fail(f"the value of {key} has a zero byte", value_at, "no environment can hold one")
        total += len(values[key])
        if total > TOTAL:
            raise fail("the values together become too long", value_at, "do the values double each other?")
    return values


def parse_raw(content: str, lookup: Callable[[str], str | None]) -> dict[str, str]:
    """`format: raw`: NAME=value to the end of the line, nothing else."""
    values: dict[str, str] = {}
    for line in content.removeprefix("\ufeff").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.lstrip().partition("=")
        if equals:
            values[key] = value
        elif (inherited := lookup(key)) is not None:
            values[key] = inherited
    return values


def _quote_end(content: str, start: int, quote: str) -> int:
    index = start + 1
    while index < len(content):
        if content[index] == "\\":
            index += 2
        elif content[index] == quote:
            return index
        else:
            index += 1
    return -1


def _unescape(raw: str) -> str:
    def character(match: re.Match[str]) -> str:
        if match[1][0] == "0" and len(match[1]) > 1:
            return chr(int(match[1], 8) & 0xFF).replace("$", "$$")
        return ESCAPES.get(match[1], match[0])

    return ESCAPE.sub(character, raw)
