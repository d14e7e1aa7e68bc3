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

from pycompose.runtime.places import ProjectPlaces

LARGEST = 1 << 20  # bytes; then one older file is kept


def path(places: ProjectPlaces) -> str:
    return f"{places.run}/trace"


class Trace:
    """One plan's."""

    def __init__(self, places: ProjectPlaces) -> None:
        self._path = path(places)
        self._plan = f"{time.time_ns():x}"
        self._began: dict[str, float] = {}  # step -> monotonic seconds

    def step(self, step: str, state: str, cause: str) -> None:
        now = time.monotonic()
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "plan": self._plan,
            "step": step,
            "state": state,
            "cause": cause,
            "ms": round((now - self._began.setdefault(step, now)) * 1000),
        }
        with suppress(OSError):
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(file, json.dumps(line, ensure_ascii=False).encode(errors="backslashreplace") + b"\n")
                if os.fstat(file).st_size > LARGEST:
                    os.rename(self._path, self._path + ".1")
            finally:
                os.close(file)
