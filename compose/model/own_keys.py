"""`x-pycompose`: the extensions of ours in a file, and what one of them says at its top or in a service."""

from __future__ import annotations

import json
from collections.abc import Mapping

KEY = "x-pycompose"


def read(kept: Mapping[str, str], name: str) -> object:
    """The value of one of our extensions, as plain data; None where nobody gave it. `kept` has x- keys as JSON."""
    mapping = json.loads(kept[KEY]) if KEY in kept else None
    return mapping.get(name) if isinstance(mapping, dict) else None
