"""Text of strangers made safe to show: the one place that spells out what would steer a terminal.

Registries, images, processes inside containers and their output say what they like, and a terminal obeys what it is
shown: it moves, hides, recolours, and answers as if somebody typed. Rules: whatever a person is shown passes `visible`,
logs excepted; what strangers say inside a sentence of ours passes `one_line`, or it could add lines that look like
ours. Standard library only.
"""

from __future__ import annotations

import re

# C0 but tab and newline, DEL, C1; what has no width or turns the direction of writing (Trojan Source, CVE-2021-42574);
# ends of lines of Unicode; halves of pairs, which stand for bytes that are no text. It is compiled when first needed.
_STEERING = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_BREAKS = r"[\t\r\n]*[\t\n][\t\r\n]*"


def visible(text: str) -> str:
    r"""The text with every character that steers spelled as JSON spells it (`\u001b`); newlines and tabs stay."""
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return re.sub(_STEERING, lambda match: _spelled(match[0]), text)


def one_line(text: str, most: int = 0) -> str:
    """The text visible, a space for each run of newlines and tabs; of at most `most` characters (0: however long)."""
    if text.isascii() and text.isprintable() and (not most or len(text) <= most):
        return text
    line = visible(re.sub(_BREAKS, " ", text[: most + 1] if most else text))
    return line if not most or len(line) <= most else line[: most - 1] + "…"


def columns(text: str) -> int:
    """How many columns of a terminal the text takes: two a wide character (UAX 11), none one that combines."""
    return len(text) if text.isascii() else sum(map(_width, text))


def fitting(text: str, room: int, end: str = "") -> str:
    """The text if it takes at most `room` columns; else as much of it as fits with `end` behind it."""
    if columns(text) <= room:
        return text
    left, kept = room - columns(end), ""
    for char in text:
        left -= _width(char)
        if left < 0:
            break
        kept += char
    return kept + end


def shortened_inside(text: str, room: int) -> str:
    """The text if it takes at most `room` columns; else its beginning and its end, where names differ."""
    if columns(text) <= room:
        return text
    tail = max((room - 1) // 2, 0)
    end = fitting(text[::-1], tail)[::-1]
    return fitting(text, room, "…" + end)


def padded(text: str, width: int) -> str:
    """The text with spaces up to a number of columns."""
    return text + " " * (width - columns(text))


def _width(char: str) -> int:
    from unicodedata import combining, east_asian_width

    return 0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1


def _spelled(char: str) -> str:
    code = ord(char)
    if code > 0xFFFF:
        return f"\\u{0xD800 + (code - 0x10000 >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
    return f"\\u{code:04x}"
