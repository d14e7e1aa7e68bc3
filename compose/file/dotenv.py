"""The grammar of `.env` files. Pure: text in, variables out.

`export K=V`, `K: V`, bare `K` (taken from outside); '…' literal, "…" with escapes, both may span lines; a comment
starts at `#` after space. Unquoted and "…" values are interpolated, with the file's earlier keys known.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pycompose.compose.errors import FileError, Position, Problem

from .interpolate import InterpolationError, substitute

KEY = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z0-9_.\-\[\]]+)[ \t]*(?:([=:])[ \t]*|(?=\r?\n|\Z|#))")
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\", '"': '"', "$": "$$"}


def parse(content: str, path: str, lookup: Callable[[str], str | None]) -> dict[str, str]:
    """Variables of a file; a bare key that `lookup` does not know is left out. Raises FileError."""
    content = content.removeprefix("\ufeff").replace("\r\n", "\n")
    found: dict[str, str] = {}

    def known(name: str) -> str | None:
        outside = lookup(name)
        return found.get(name) if outside is None else outside

    def fail(message: str, index: int) -> FileError:
        line = content.count("\n", 0, index) + 1
        column = index - (content.rfind("\n", 0, index) + 1) + 1
        return FileError((Problem(message, Position(path, line, column), code="dotenv"),))

    index = 0
    while index < len(content):
        end = content.find("\n", index)
        end = len(content) if end < 0 else end
        line = content[index:end].strip()
        if not line or line.startswith("#"):
            index = end + 1
            continue
        match = KEY.match(content, index)
        if not match:
            raise fail(f'"{line}" is not of the form NAME=value', index)
        key, value_at = match[1], match.end()
        if match[2] is None:
            if (inherited := lookup(key)) is not None:
                found[key] = inherited
            index = end + 1
            continue
        quote = content[value_at : value_at + 1]
        try:
            if quote in ("'", '"') and quote:
                close = _quote_end(content, value_at, quote)
                if close < 0:
                    raise fail(f"the quote {quote} of {key} is not closed", value_at)
                raw = content[value_at + 1 : close]
                found[key] = raw.replace("\\'", "'") if quote == "'" else substitute(_unescape(raw), known)
                end = content.find("\n", close)
                end = len(content) if end < 0 else end
            else:
                raw = re.split(r"(?:^|[ \t])#", content[value_at:end], maxsplit=1)[0].strip()
                found[key] = substitute(raw.replace("\\$", "$$"), known)
        except InterpolationError as error:
            raise fail(str(error), value_at) from error
        index = end + 1
    return found


def parse_raw(content: str, lookup: Callable[[str], str | None]) -> dict[str, str]:
    """`format: raw`: NAME=value to the end of the line, nothing else."""
    found: dict[str, str] = {}
    for line in content.removeprefix("\ufeff").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.lstrip().partition("=")
        if equals:
            found[key] = value
        elif (inherited := lookup(key)) is not None:
            found[key] = inherited
    return found


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
    return re.sub(r"\\(.)", lambda m: ESCAPES.get(m[1], m[0]), raw)
