"""Containers' output as it is and as it comes, and their ends: what `logs -f` and an attached `up` live on.

Lines are bytes and stay bytes. Everything is read from files and pidfds, so nobody need run. The log's format is
`runtime.logs`': "<time> <stdout|stderr> <F|P> <text>", where P is a part of a line that goes on.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import IO

from pycompose.compose.model.observed import ObservedContainer
from pycompose.compose.state import observe
from pycompose.frozen import dataclass
from pycompose.runtime.places import ProjectPlaces

from . import terminal

TICK = 0.1  # seconds between two looks at the logs' ends
RECORD_PATIENCE = 3.0  # seconds for the keeper to write down how a process ended
BLOCK = 1 << 20
COLOURS = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")

Entry = tuple[bytes, bool, bytes]  # time, whether it is of stderr, text


class Log:
    """One container's log: `old` once, then `new` again and again. Rotation is noticed, no line is lost or doubled."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: IO[bytes] | None = None
        self._left = b""
        self._parts: dict[bytes, bytes] = {}  # stream -> the beginning of a line

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def old(self, tail: int | None = None) -> Iterator[Entry]:
        """What there is, up to the file's end now."""
        from pycompose.runtime.state import logs

        try:
            self._file = open(self.path, "rb")  # noqa: SIM115 it is replaced at a rotation
        except FileNotFoundError:
            return
        paths = logs.files(self.path)[:-1]
        if tail is not None:
            yield from deque(self._last(paths, tail), tail)
            return
        for path in paths:
            with suppress(FileNotFoundError), open(path, "rb") as file:
                yield from self._entries(file)
                self._left = b""
        yield from self._entries(self._file)

    def _last(self, older: list[str], tail: int) -> Iterator[Entry]:
        """At least the last `tail` entries, and not many more."""
        assert self._file is not None
        start, lines = self._file.seek(0, os.SEEK_END), 0
        end = start
        while start and lines <= tail:
            start = max(0, start - BLOCK // 4)
            self._file.seek(start)
            lines = self._file.read(end - start).count(b" F ")
        if not start and lines <= tail:
            for path in older:
                with suppress(FileNotFoundError), open(path, "rb") as file:
                    yield from self._entries(file)
                    self._left = b""
        self._file.seek(start)
        if start:
            self._file.readline()  # the end of a line
        yield from self._entries(self._file)

    def new(self) -> Iterator[Entry]:
        """What has come since."""
        if self._file is None:
            yield from self.old()
            return
        yield from self._entries(self._file)
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return
        if there.st_ino != os.fstat(self._file.fileno()).st_ino:
            yield from self._entries(self._file)  # what came before it was put aside
            self._file.close()
            self._file = open(self.path, "rb")  # noqa: SIM115
            yield from self._entries(self._file)

    def _entries(self, file: IO[bytes]) -> Iterator[Entry]:
        while block := file.read(BLOCK):
            *lines, self._left = (self._left + block).split(b"\n")
            for line in lines:
                parts = line.split(b" ", 3)
                if len(parts) < 4:
                    continue
                when, stream, tag, text = parts
                if tag[:1] == b"P":
                    self._parts[stream] = self._parts.get(stream, b"") + text
                    continue
                if begun := self._parts.pop(stream, b""):
                    text = begun + text
                yield when, stream == b"stderr", text


@dataclass(frozen=True, slots=True)
class Manner:
    """How lines are printed."""

    prefix: bool = True
    colour: bool = False
    timestamps: bool = False


class Printer:
    """Writes lines with their container's prefix, stdout to stdout and stderr to stderr."""

    def __init__(self, project: str, manner: Manner, *, shown: frozenset[str] | None = None) -> None:
        """`shown` are the services whose lines are printed; None is all."""
        self.project, self.manner, self.shown = project, manner, shown
        self._width = 0
        self._colours: dict[str, str] = {}
        self._prefixes: dict[str, bytes] = {}
        self._waiting: list[bytes] = []
        self._err = False

    def know(self, seen: Iterable[ObservedContainer]) -> None:
        """Names that the prefixes are to be as wide as."""
        names = (one.short_name(self.project) for one in seen if self.shown is None or one.service in self.shown)
        width = max([self._width, *map(len, names)])
        if width != self._width:
            self._width = width
            self._prefixes.clear()

    def _tinted(self, seen: ObservedContainer, text: str) -> str:
        if not self.manner.colour:
            return text
        code = self._colours.setdefault(seen.service, COLOURS[len(self._colours) % len(COLOURS)])
        return f"\033[{code}m{text}\033[0m"

    def _prefix(self, seen: ObservedContainer) -> bytes:
        if not self.manner.prefix:
            return b""
        found = self._prefixes.get(seen.id)
        if found is None:
            self.know([seen])
            text = f"{seen.short_name(self.project).ljust(self._width + 1)} | "
            found = self._prefixes[seen.id] = self._tinted(seen, text).encode()
        return found

    def line(self, seen: ObservedContainer, entry: Entry) -> None:
        when, err, text = entry
        if self.shown is not None and seen.service not in self.shown:
            return
        if err != self._err or len(self._waiting) >= 4096:
            self.flush()
            self._err = err
        stamp = when + b" " if self.manner.timestamps else b""
        self._waiting.append(self._prefix(seen) + stamp + text)

    def all(self, seen: ObservedContainer, places: ProjectPlaces, tail: int | None, since: bytes, until: bytes) -> None:
        """All that one container wrote until now, in large pieces: a million lines in a second."""
        from pycompose.runtime.state import logs

        path, prefix = f"{places.container(seen.id)}/log", self._prefix(seen)
        for stream, text in logs.texts(
            path, tail, since.decode(), until.decode(), prefix=prefix, times=self.manner.timestamps
        ):
            out = sys.stderr if stream == "stderr" else sys.stdout
            out.buffer.write(text)
            out.buffer.flush()

    def ended(self, seen: ObservedContainer, code: int | None, *, again: bool) -> None:
        self.flush()
        told = "?" if code is None else code
        why = " (out of memory)" if seen.oom_killed else ""
        text = f"{seen.short_name(self.project)} exited with code {told}{why}{' (restarting)' if again else ''}"
        sys.stdout.write(self._tinted(seen, text) + "\n")
        sys.stdout.flush()

    def flush(self) -> None:
        if self._waiting:
            out = sys.stderr if self._err else sys.stdout
            out.flush()
            out.buffer.write(b"\n".join(self._waiting) + b"\n")
            out.flush()
            self._waiting.clear()


def manner(*, prefix: bool, colour: bool, timestamps: bool) -> Manner:
    return Manner(prefix, colour and terminal.coloured(sys.stdout), timestamps)


class Following:
    """Prints the lines of the containers that `chosen` accepts, and tells when one ends.

    `since` is a time as in the log: older lines are left out. `tail` counts for what is there at first.
    """

    def __init__(
        self,
        places: ProjectPlaces,
        chosen: Callable[[ObservedContainer], bool],
        printer: Printer,
        *,
        since: bytes = b"",
        until: bytes = b"",
        tail: int | None = None,
        ended: Callable[[ObservedContainer, int | None, bool], None] | None = None,
    ) -> None:
        self.places, self.chosen, self.printer = places, chosen, printer
        self.since, self.until, self.ended = since, until, ended
        self._tail = tail
        self._logs: dict[str, Log] = {}
        self._seen: dict[str, ObservedContainer] = {}
        self._pidfds: dict[int, str] = {}  # pidfd -> container id
        self._ending: dict[str, float] = {}  # container id -> when its process was seen to be gone
        self._told: dict[str, float] = {}  # container id -> when the run started whose end was told
        self._poll = select.poll()

    def begin(self) -> None:
        """Print what there is, in the order of time."""
        import heapq

        self._look()
        self.printer.know(self._seen.values())

        def stamped(container_id: str) -> Iterator[tuple[bytes, str, Entry]]:
            for entry in self._within(self._logs[container_id].old(self._tail)):
                yield entry[0], container_id, entry

        for _, container_id, entry in heapq.merge(*(stamped(i) for i in self._logs), key=lambda e: e[0]):
            self.printer.line(self._seen[container_id], entry)
        self.printer.flush()
        self._tail = None

    def _within(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        if not self.since and not self.until:
            return entries
        return (e for e in entries if e[0] >= self.since and (not self.until or e[0] < self.until))

    def _look(self) -> None:
        """Which containers there are now, and which of them run."""
        found = {seen.id: seen for seen in observe.containers(self.places) if self.chosen(seen)}
        watched = set(self._pidfds.values())
        for container_id, seen in found.items():
            self._seen[container_id] = seen
            if container_id not in self._logs:
                self._logs[container_id] = Log(f"{self.places.container(container_id)}/log")
            if seen.runs and container_id not in watched and container_id not in self._ending:
                try:
                    pidfd = os.pidfd_open(seen.pid or 0)
                except OSError:
                    self._ending[container_id] = time.monotonic()
                else:
                    self._pidfds[pidfd] = container_id
                    self._poll.register(pidfd, select.POLLIN)
            elif (
                self.ended is not None
                and not seen.runs
                and (seen.started or 0) >= self._since_seconds()
                and seen.started != self._told.get(container_id)
                and seen.status in ("exited", "restarting")
                and container_id not in self._ending
            ):
                self._ending[container_id] = time.monotonic()  # it was over before anyone looked
        for container_id in set(self._seen) - set(found):
            self._drain(container_id)
            self._logs.pop(container_id).close()
            del self._seen[container_id]
            self._ending.pop(container_id, None)

    def _since_seconds(self) -> float:
        if not self.since:
            return 0.0
        from datetime import datetime

        return datetime.fromisoformat(self.since.decode()[:19] + "+00:00").timestamp()

    def _drain(self, container_id: str) -> None:
        seen = self._seen[container_id]
        for entry in self._within(self._logs[container_id].new()):
            self.printer.line(seen, entry)

    def turn(self) -> bool:
        """Wait a moment, print what came, tell who ended. Returns whether any container runs or will again."""
        for pidfd, _ in self._poll.poll(20 if self._ending else int(TICK * 1000)):
            self._poll.unregister(pidfd)
            os.close(pidfd)
            self._ending[self._pidfds.pop(pidfd)] = time.monotonic()
        self._look()
        for container_id in list(self._logs):
            self._drain(container_id)
        self.printer.flush()
        for container_id, gone in list(self._ending.items()):
            seen = self._seen[container_id]
            if seen.runs and container_id not in self._pidfds.values():
                if time.monotonic() - gone > RECORD_PATIENCE or seen.started != self._told.get(container_id):
                    self._ending.pop(container_id)
                continue
            if seen.exit_code is None and time.monotonic() - gone < RECORD_PATIENCE:
                continue
            del self._ending[container_id]
            self._drain(container_id)
            self.printer.flush()
            if self.ended is not None and self._told.get(container_id) != seen.started:
                self._told[container_id] = seen.started or 0
                self.ended(seen, seen.exit_code, self._comes_back(seen))
        return bool(self._ending) or any(seen.runs or self._comes_back(seen) for seen in self._seen.values())

    @staticmethod
    def _comes_back(seen: ObservedContainer) -> bool:
        return seen.status == "restarting"

    def close(self) -> None:
        for log in self._logs.values():
            log.close()
        for pidfd in self._pidfds:
            os.close(pidfd)
        self._pidfds.clear()
