"""Tables, ages and sizes as text, in docker's words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pycompose.plain_text import columns, fitting, one_line, padded

MINUTE, HOUR, DAY = 60, 3600, 86400


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns three spaces apart, no space at the end of a line; ends with a newline. Cells are lines without control
    characters, whoever they are from."""
    lines = [tuple(head), *(tuple(one_line(cell) for cell in row) for row in rows)]
    widths = [max(columns(line[column]) for line in lines) for column in range(len(head))]
    return "".join("   ".join(map(padded, line, widths)).rstrip() + "\n" for line in lines)


def age(seconds: float) -> str:
    """ "3 minutes", as docker says it."""
    whole = max(0, int(seconds))
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < MINUTE:
        return f"{whole} seconds"
    if whole < 2 * MINUTE:
        return "About a minute"
    if whole < HOUR:
        return f"{whole // MINUTE} minutes"
    hours = (whole + HOUR // 2) // HOUR
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    days = whole // DAY
    if days < 14:
        return f"{days} days"
    if days < 60:
        return f"{days // 7} weeks"
    if days < 730:
        return f"{days // 30} months"
    return f"{days // 365} years"


def size(count: float) -> str:
    """ "12.3MiB": of memory, in powers of 1024."""
    return _scaled(count, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"))


def decimal_size(count: float) -> str:
    """ "12.3MB": of what moved, in powers of 1000."""
    return _scaled(count, 1000, ("B", "kB", "MB", "GB", "TB", "PB"))


def _scaled(count: float, base: int, units: Sequence[str]) -> str:
    value, step = float(count), 0
    while value >= base and step < len(units) - 1:
        value, step = value / base, step + 1
    return f"{value:.4g}{units[step]}"


def shortened(text: str, width: int) -> str:
    return fitting(text, width, "…")
