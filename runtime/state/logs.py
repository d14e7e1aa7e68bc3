"""Reading containers' logs in the CRI format, rotated files included; nobody need run. Synchronous.

Every line begins with 40 bytes: time, stream, whether it is whole. `read` and `follow` make a `Line` of each; `texts`
is for a lot of output: blocks of bytes, cut free of their heads all at once. Waiting is inotify's.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator, Mapping
from contextlib import suppress

from pycompose.frozen import dataclass
from pycompose.runtime.linux import syscalls

HEAD = 40  # "2016-10-06T00:17:09.669794202Z stdout F "
BLOCK = 1 << 20


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
    older: list[str] = []
    while os.path.exists(f"{path}.{len(older) + 1}"):
        older.append(f"{path}.{len(older) + 1}")
    return [*reversed(older), path]


def read(path: str, tail: int | None = None, since: str = "", until: str = "") -> Iterator[Line]:
    """The lines there are; `since` and `until` are times as in `Line.time`. `tail` counts lines, not their parts."""
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
    names = files(path)
    skip = 0
    if tail is not None:
        names, skip = _from_end(names, tail)
    for name in names:
        try:
            file = open(name, "rb")  # noqa: SIM115
        except FileNotFoundError:
            continue
        with file:
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


def _between(block: bytes, since: bytes, until: bytes) -> bytes:
    first, last = block[:30], block[block.rfind(b"\n", 0, -1) + 1 :][:30]
    if first >= since and (not until or last < until):
        return block
    if last < since or (until and first >= until):
        return b""
    kept = [line for line in block.splitlines(True) if line[:30] >= since and (not until or line[:30] < until)]
    return b"".join(kept)


def _from_end(names: list[str], tail: int) -> tuple[list[str], int]:
    """The files that hold the last `tail` lines, and where they begin in the first of these; read from behind."""
    if tail <= 0:
        return [], 0
    for number in range(len(names) - 1, -1, -1):
        try:
            file = open(names[number], "rb")  # noqa: SIM115
        except FileNotFoundError:
            continue
        with file:
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
                return names[number:], end - sum(map(len, lines[first:]))
            tail -= len(ends)
            if tail <= 0:
                return names[number:], 0
    return names, 0


class Follower:
    """New lines of any number of logs, over one wait. `add` begins at a log's end, or at its beginning."""

    def __init__(self) -> None:
        self._inotify = syscalls.inotify()
        self._logs: dict[str, _Followed] = {}

    def add(self, key: str, path: str, start: bool = False) -> None:
        """Raises FileNotFoundError."""
        self._logs[key] = _Followed(path, start)
        # 2: modified; 0x80: moved to; 0x100: created (man 7 inotify)
        syscalls.inotify_add(self._inotify, path, 2)
        syscalls.inotify_add(self._inotify, os.path.dirname(path), 0x80 | 0x100)
        self._logs[key].fresh = True

    def remove(self, key: str) -> None:
        if log := self._logs.pop(key, None):
            log.file.close()

    def fileno(self) -> int:
        """Readable when `new` has something to look at, for a loop that waits for other things too."""
        return self._inotify

    def new(self) -> Iterator[tuple[str, bytes]]:
        """(key, whole lines as in the log) of everything that has come since the last time."""
        with suppress(BlockingIOError):
            os.read(self._inotify, 1 << 16)
        for key, log in list(self._logs.items()):
            for block in log.new():
                yield key, block
            if log.replaced:
                log.replaced = False
                with suppress(OSError):
                    syscalls.inotify_add(self._inotify, log.path, 2)
                for block in log.new():
                    yield key, block

    def wait(self, seconds: float = -1) -> bool:
        """Whether something may have come in time (-1: however long it takes)."""
        return bool(select.select([self._inotify], [], [], None if seconds < 0 else seconds)[0])

    def close(self) -> None:
        for key in list(self._logs):
            self.remove(key)
        os.close(self._inotify)


class _Followed:
    def __init__(self, path: str, start: bool) -> None:
        self.path, self.left, self.fresh, self.replaced = path, b"", False, False
        self.file = open(path, "rb")  # noqa: SIM115 it is replaced at a rotation
        if not start:
            self.file.seek(0, os.SEEK_END)

    def truncated(self) -> bool:
        """To nothing, by a rotation without older files; a keeper's recovery cuts off but the last chunk."""
        return os.fstat(self.file.fileno()).st_size < self.file.tell() // 2

    def new(self) -> Iterator[bytes]:
        while True:
            if os.fstat(self.file.fileno()).st_size < self.file.tell():  # emptied, or cut by a keeper's recovery
                self.file.seek(0, os.SEEK_SET if self.truncated() else os.SEEK_END)
                self.left = b""
            while chunk := self.file.read(BLOCK):
                whole, newline, self.left = (self.left + chunk).rpartition(b"\n")
                if newline:
                    yield whole + newline
            try:
                if os.stat(self.path).st_ino == os.fstat(self.file.fileno()).st_ino:
                    return
            except FileNotFoundError:
                return
            # rotated: what came between the last read and the move is read from the old file first
            rest = self.file.read()
            if rest:
                whole, newline, self.left = (self.left + rest).rpartition(b"\n")
                if newline:
                    yield whole + newline
            self.file.close()
            self.file = open(self.path, "rb")  # noqa: SIM115
            self.replaced = True


def follow(path: str, wait: float = 0.1, start: bool = False) -> Iterator[Line | None]:
    """New lines, from now on or from the log's beginning; None whenever none came for `wait` seconds."""
    follower = Follower()
    try:
        follower.add("", path, start)
        while True:
            came = False
            for _, block in follower.new():
                for raw in block.split(b"\n"):
                    if line := parse(raw):
                        came = True
                        yield line
            if not came and not follower.wait(wait):
                yield None
    finally:
        follower.close()


def merged(
    sources: Mapping[str, str], tail: int | None = None, since: str = "", until: str = ""
) -> list[tuple[str, Line]]:
    """(key, line) of several logs (key -> path) in the order of time."""
    found = [(key, line) for key, path in sources.items() for line in read(path, tail, since, until)]
    return sorted(found, key=lambda pair: pair[1].time)
