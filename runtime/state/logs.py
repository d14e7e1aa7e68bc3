"""Reader of containers' logs in the CRI format, rotated files included; nobody need run. Synchronous.

Every line begins with 40 bytes: time, stream, whether it is whole. `read` and `follow` make a `LogLine` of each;
`texts` is for much output: blocks of bytes, cut free of their heads all at once; `LogLines` joins parts of lines as
they come from a `LineFollower`.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import BinaryIO

from pycompose.frozen import dataclass

from .line_follower import LineFollower, Start, files

HEAD = 40  # "2016-10-06T00:17:09.669794202Z stdout F "
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class LogLine:
    """`time` is RFC 3339 in UTC with nanoseconds (compares as text); `whole` is false for a part of a line."""

    time: str
    stream: str
    text: str
    whole: bool = True


def parse(line: bytes) -> LogLine | None:
    parts = line.rstrip(b"\n").split(b" ", 3)
    if len(parts) < 4:
        return None
    when, stream, tag, text = (part.decode("utf-8", "replace") for part in parts)
    return LogLine(when, stream, text, tag == "F")


def read(path: str, tail: int | None = None, since: str = "", until: str = "") -> Iterator[LogLine]:
    """The lines there are; `since` and `until` are times as in `LogLine.time`. `tail` counts lines, not their parts."""
    for block in blocks(path, tail, since, until):
        for raw in block.split(b"\n"):
            if line := parse(raw):
                yield line


def texts(
    path: str, tail: int | None = None, since: str = "", until: str = "", prefix: bytes = b"", times: bool = False
) -> Iterator[tuple[str, bytes]]:
    """(stream, bytes) of what was printed, in large pieces; every line begins with `prefix`, and its time if asked."""
    open_stream = ""  # whose line is not finished
    for block in blocks(path, tail, since, until):
        for stream, whole, lines in _runs(block.split(b"\n")[:-1]):
            goes_on = stream == open_stream
            begin = b"" if goes_on else prefix
            cut = [line[:31] + line[HEAD:] if times else line[HEAD:] for line in lines]
            if goes_on and times:
                cut[0] = lines[0][HEAD:]
            if whole:
                yield stream, begin + (b"\n" + prefix).join(cut) + b"\n"
                open_stream = ""
            else:
                yield stream, begin + b"".join(cut)
                open_stream = stream


def _runs(lines: list[bytes]) -> Iterator[tuple[str, bool, list[bytes]]]:
    """Neighbours of one stream, either whole lines or one part of a line."""
    at = 0
    while at < len(lines):
        kind = lines[at][31 : HEAD - 1]
        step, end = 1, at + 1
        if b"P" in kind:  # parts are joined one by one
            yield kind[:6].decode("ascii", "replace"), False, lines[at:end]
            at = end
            continue
        if not any(line[31 : HEAD - 1] != kind for line in lines[at:]):
            end = len(lines)
        else:
            while end < len(lines) and lines[end][31 : HEAD - 1] == kind:
                end += step
        yield kind[:6].decode("ascii", "replace"), True, lines[at:end]
        at = end


def blocks(path: str, tail: int | None = None, since: str = "", until: str = "") -> Iterator[bytes]:
    """The log's bytes in pieces that end with a line."""
    with ExitStack() as closing:
        opened = [closing.enter_context(file) for file in _opened(path)]
        first, skip = (0, 0) if tail is None else _from_end(opened, tail)
        for file in opened[first:]:
            file.seek(skip)
            skip = 0
            left = b""
            while chunk := file.read(BLOCK):
                whole, newline, rest = (left + chunk).rpartition(b"\n")
                left = rest
                if newline:
                    block = whole + newline
                    if since or until:
                        block = _between(block, since.encode(), until.encode())
                    if block:
                        yield block


def _opened(path: str) -> list[BinaryIO]:
    """The log's files, oldest first, of one moment: a rotation between two of them would hide one, or show it twice."""
    opened: dict[str, BinaryIO] = {}
    for _ in range(100):
        names, opened = files(path), {}
        for name in names:
            with suppress(FileNotFoundError):  # the newest, between its rotation and the next one's beginning
                opened[name] = open(name, "rb")  # noqa: SIM115 - the reader closes them
        if files(path) == names and all(_is_at(opened.get(name), name) for name in names):
            break
        for file in opened.values():
            file.close()
        opened = {}
    return list(opened.values())


def _is_at(file: BinaryIO | None, name: str) -> bool:
    try:
        now = os.stat(name)
    except FileNotFoundError:
        return file is None
    return file is not None and os.path.samestat(now, os.fstat(file.fileno()))


def _between(block: bytes, since: bytes, until: bytes) -> bytes:
    first, last = block[:30], block[block.rfind(b"\n", 0, -1) + 1 :][:30]
    if first >= since and (not until or last < until):
        return block
    if last < since or (until and first >= until):
        return b""
    kept = [line for line in block.splitlines(True) if line[:30] >= since and (not until or line[:30] < until)]
    return b"".join(kept)


def _from_end(opened: list[BinaryIO], tail: int) -> tuple[int, int]:
    """The first of the files that hold the last `tail` lines, and where they begin in it; read from behind."""
    if tail <= 0:
        return len(opened), 0
    for number in range(len(opened) - 1, -1, -1):
        file = opened[number]
        at = end = file.seek(0, os.SEEK_END)
        data = b""
        while at > 0:
            at = max(0, at - (1 << 16))
            file.seek(at)
            data = file.read(min(1 << 16, end - at) if not data else min(1 << 16, end - at - len(data))) + data
            if data.count(b"\n") > tail:
                break
        lines = data.splitlines(True)
        if at > 0:
            del lines[0]  # its beginning was not read
        ends = [index for index, line in enumerate(lines) if line[38:39] != b"P"]
        if len(ends) > tail or (at > 0 and len(ends) >= tail):
            first = ends[-tail - 1] + 1 if len(ends) > tail else 0
            return number, end - sum(map(len, lines[first:]))
        tail -= len(ends)
        if tail <= 0:
            return number, 0
    return 0, 0


class LogLines:
    """Whole lines of one log out of blocks of it: a line that was written in parts is joined, by stream."""

    def __init__(self) -> None:
        self._parts: dict[bytes, bytes] = {}

    def take(self, block: bytes) -> Iterator[tuple[bytes, bool, bytes]]:
        """(time, whether it is of stderr, text) of what `block` ends."""
        for raw in block.split(b"\n"):
            if len(raw) < HEAD:
                continue
            stream, text = raw[31:37], raw[HEAD:]
            if raw[HEAD - 2 : HEAD - 1] == b"P":
                self._parts[stream] = self._parts.get(stream, b"") + text
                continue
            if begun := self._parts.pop(stream, b""):
                text = begun + text
            yield raw[:30], stream == b"stderr", text

    def unfinished(self) -> list[bytes]:
        """The beginnings of lines that have no end."""
        return list(self._parts.values())


class LogPieces(LogLines):
    """What was written as it came, newlines included: of a terminal, whose prompts are no whole lines."""

    def take(self, block: bytes) -> Iterator[tuple[bytes, bool, bytes]]:
        for raw in block.split(b"\n"):
            if len(raw) >= HEAD:
                whole = raw[HEAD - 2 : HEAD - 1] != b"P"
                yield raw[:30], raw[31:37] == b"stderr", raw[HEAD:] + (b"\n" if whole else b"")


def last(path: str, tail: int | None) -> Start:
    """Where the last `tail` lines begin (None: all of them), parts of a line counted as one."""
    if tail is None:
        return files(path)[0], 0
    with ExitStack() as closing:
        opened = [closing.enter_context(file) for file in _opened(path)]
        first, skip = _from_end(opened, tail)
        return (str(opened[first].name), skip) if first < len(opened) else (path, -1)


def follow(path: str, wait: float = 0.1, start: bool = False) -> Iterator[LogLine | None]:
    """New lines, from now on or from the log's beginning; None whenever none came for `wait` seconds."""
    follower = LineFollower()
    try:
        follower.add("", path, last(path, None) if start else None)
        while True:
            came = False
            for _, block in follower.new():
                for raw in block.split(b"\n"):
                    if line := parse(raw):
                        came = True
                        yield line
            if not came and not select.select([follower.fileno()], [], [], wait)[0]:
                yield None
    finally:
        follower.close()


def merged(
    sources: Mapping[str, str], tail: int | None = None, since: str = "", until: str = ""
) -> list[tuple[str, LogLine]]:
    """(key, line) of several logs (key -> path) in the order of time."""
    lines = [(key, line) for key, path in sources.items() for line in read(path, tail, since, until)]
    return sorted(lines, key=lambda pair: pair[1].time)
