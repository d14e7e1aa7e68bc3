"""Objects as `inspect` prints them: one array of JSON, or each by a template; what is not there is said after it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from pycompose.errors import PycomposeError

from . import terminal


def show_objects(
    names: Sequence[str], of_name: Callable[[str], dict[str, Any] | None], form: str | None, missing: str
) -> None:
    """Print what each name is of. Raises PycomposeError where one is of nothing: `missing` and the name."""
    objects = [(name, of_name(name)) for name in names]
    there = [one for _, one in objects if one is not None]
    if form is None or form == "json":
        terminal.say(json.dumps(there, indent=4, ensure_ascii=False))
    else:
        from .templates import printed

        terminal.say("".join(printed(form, [one], {}) for one in there), end="")
    if gone := [name for name, one in objects if one is None]:
        raise PycomposeError(f"{missing}: {', '.join(gone)}")
