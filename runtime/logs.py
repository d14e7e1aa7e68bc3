"""Reading containers' logs in the CRI format, rotated files included; nobody need run. Synchronous."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """`time` is RFC 3339 in UTC with nanoseconds (compares as text); `whole` is false for a part of a line."""

    time: str
    stream: str
    text: str
    whole: bool = True


def parse(line: bytes) -> Line | None:
    parts = line.rstrip(b"\n").split(b" ", 3)
    if len(parts) < 4:
        return None
    when, stream, tag, text = (part.decode("utf-8", "replace") for part in parts)
    return Line(when, stream, text, tag == "F")


def files(path: str) -> list[str]:
    """The log's files, oldest first."""
    older = []
    while os.path.exists(f"{path}.{len(older) + 1}"):
        older.append(f"{path}.{len(older) + 1}")
    return [*reversed(older), path]


def read(path: str, tail: int | None = None, since: str = "", until: str = "") -> Iterator[Line]:
    """The lines there are; `since` and `until` are times as in `Line.time`."""

    def every() -> Iterator[Line]:
        for name in files(path):
            try:
                with open(name, "rb") as file:
                    for raw in file:
                        line = parse(raw)
                        if line and line.time >= since and (not until or line.time < until):
                            yield line
            except FileNotFoundError:
                continue

    return every() if tail is None else iter(deque(every(), tail))


def follow(path: str, interval: float = 0.1) -> Iterator[Line | None]:
    """New lines from now on; None whenever there is nothing, after a pause, so that the caller can leave."""
    file = open(path, "rb")  # noqa: SIM115 it is replaced at a rotation
    try:
        file.seek(0, os.SEEK_END)
        left = b""
        while True:
            chunk = file.read(1 << 16)
            if chunk:
                *lines, left = (left + chunk).split(b"\n")
                for raw in lines:
                    if line := parse(raw):
                        yield line
                continue
            try:
                there = os.stat(path)
            except FileNotFoundError:
                there = None
            if there and there.st_ino != os.fstat(file.fileno()).st_ino:
                file.close()
                file = open(path, "rb")  # noqa: SIM115
                continue
            yield None
            time.sleep(interval)
    finally:
        file.close()
