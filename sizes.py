"""Sizes as Docker writes them: a number and a unit, each unit 1024 of the one before (`512k`, `1.5g`, `2GiB`).

The grammar is that of go-units' `RAMInBytes`, which Docker has for memory, shm_size, tmpfs and build mounts. What a
field allows besides, as -1 or nothing at all, is that field's. Pure; standard library only.
"""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d{1,30}(?:\.\d{1,30})?) *([kmgtp]?)i?b?", re.IGNORECASE | re.ASCII)


def size_in_bytes(text: str) -> int | None:
    """Bytes; None where it is no size, or one that does not fit into 63 bits."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    size = int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))
    return size if size < 1 << 63 else None
