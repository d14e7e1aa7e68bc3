"""Trace of the plans that were carried out: JSON, one line a change of a step, in the project's run folder, bounded.

A line holds time (RFC 3339), plan (the same for all steps of one), step, state, cause and ms (since the step began).
It is for people who look back: what cannot be written is lost, and nothing waits for it.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Self

from pycompose.runtime.places import ProjectPlaces

LARGEST = 1 << 20  # bytes; then one older file is kept


def path(places: ProjectPlaces) -> str:
    return f"{places.run}/trace"


class Trace:
    """One plan's; a context, in which its file is open. It grows beyond the bound by no more than one plan."""

    def __init__(self, places: ProjectPlaces) -> None:
        self._path = path(places)
        self._plan = f"{time.time_ns():x}"
        self._began: dict[str, float] = {}  # step -> monotonic seconds
        self._lines: list[str] = []
        self._file = -1

    def __enter__(self) -> Self:
        with suppress(OSError):
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return self

    def __exit__(self, *_: object) -> None:
        self.write()
        if self._file < 0:
            return
        with suppress(OSError):
            if os.fstat(self._file).st_size > LARGEST:
                os.rename(self._path, self._path + ".1")
        os.close(self._file)

    def step(self, step: str, state: str, cause: str) -> None:
        """It is on record with the next `write`."""
        now = time.monotonic()
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "plan": self._plan,
            "step": step,
            "state": state,
            "cause": cause,
            "ms": round((now - self._began.setdefault(step, now)) * 1000),
        }
        self._lines.append(json.dumps(line, ensure_ascii=False) + "\n")

    def write(self) -> None:
        """Put what happened since the last time on record."""
        text, self._lines = "".join(self._lines), []
        with suppress(OSError):
            os.write(self._file, text.encode(errors="backslashreplace"))
