"""Garbage collection of compose files from elsewhere: copies that no project was made of and that nobody names now.

Rules: what the record of a project mentions stays, and what a name led to a month ago or later: that name may stand in
the file of a project that exists. What was fetched within the hour may be some command's that goes on.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress

from pycompose.runtime.files.remove import discard
from pycompose.runtime.places import Places

from . import disk_usage, inspection

HOUR, MONTH = 3600, 30 * 24 * 3600  # seconds


def prune(roots: Places) -> tuple[list[str], int]:
    """Remove those; their digests and commits, and how many bytes they had. Raises OSError."""
    folder, now = f"{roots.state}/remote", time.time()
    mentioned = _mentioned(roots, folder)
    for path, target in _records(folder):
        if now - os.stat(path).st_mtime < MONTH:
            mentioned.add(target)
        else:
            os.unlink(path)
    gone, freed = [], 0
    for entry in _entries(folder):
        if entry.name == "names" or entry.name in mentioned or now - entry.stat().st_mtime < HOUR:
            continue
        gone.append(entry.name)
        freed += disk_usage.size_of(entry.path)
        discard(entry.path)
    return gone, freed


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)
    return []


def _records(folder: str) -> Iterator[tuple[str, str]]:
    """(record of a name, the copy that it leads to)."""
    for entry in _entries(f"{folder}/names"):
        with suppress(OSError), open(entry.path, encoding="utf-8") as file:
            yield entry.path, file.read().removeprefix(f"{folder}/").partition("/")[0]


def _mentioned(roots: Places, folder: str) -> set[str]:
    """The copies that are in what is on record of projects."""
    form = re.compile(re.escape(f"{folder}/") + r"([0-9a-f]+)")
    copies: set[str] = set()
    for places in inspection.projects(roots):
        for entry in _entries(places.generations):
            with suppress(OSError), open(entry.path, encoding="utf-8", errors="replace") as file:
                copies |= set(form.findall(file.read()))
    return copies
