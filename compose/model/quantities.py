"""Sizes and durations as text: the one parser of both, for files and for the command line.

Source: the compose specification's "Specifying byte values" and "Specifying durations"; days and weeks as its pull
policies have them.
"""

from __future__ import annotations

import re

from pycompose.sizes import size_in_bytes

LONGEST = 2.0**63 / 1e9  # seconds: Go's durations are nanoseconds in 64 bits
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|µs|ms|ns|s|m|h|d|w)")
SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
}


def size_of(value: str) -> int | None:
    """Bytes: a number and a unit, as Docker's; -1 is without limit. None where it is no size."""
    return -1 if value.strip() == "-1" else size_in_bytes(value)


def duration_of(value: str) -> float | None:
    """Seconds: `1h30m`, or a number of seconds. None where it is no duration."""
    value = value.strip()
    if len(value) > 100:
        return None
    if FLOAT.match(value):
        seconds = float(value)
    else:
        parts = DURATION.findall(value)
        if not parts or "".join(number + unit for number, unit in parts) != value:
            return None
        seconds = sum(float(number) * SECONDS[unit] for number, unit in parts)
    return seconds if 0 <= seconds < LONGEST else None


def duration_text(seconds: float) -> str:
    """As Go writes a duration: 1m30s, 1.5s, 100ms."""
    nanoseconds = round(seconds * 1_000_000_000)
    for size, unit in ((1, "ns"), (1_000, "µs"), (1_000_000, "ms")):
        if 0 < nanoseconds < 1000 * size:
            return f"{_decimal(nanoseconds, size)}{unit}"
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 1_000_000_000)}s"
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + text


def _decimal(number: int, size: int) -> str:
    whole_part, rest = divmod(number, size)
    return f"{whole_part}.{rest:0{len(str(size)) - 1}}".rstrip("0") if rest else str(whole_part)
