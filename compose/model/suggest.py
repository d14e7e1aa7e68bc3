"""Suggestions for a name that nobody has: the nearest of the known ones."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST_NAME = 60  # characters; comparing takes the square of the length


def suggestion(name: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """`did you mean "db"?`; empty where no known name is at least `likeness` (0 to 1) like it."""
    if len(name) > LONGEST_NAME:
        return ""
    from difflib import get_close_matches  # a millisecond that a good file does not need

    near = get_close_matches(name, [one for one in known if len(one) <= LONGEST_NAME], 1, likeness)
    return f'did you mean "{near[0]}"?' if near else ""
