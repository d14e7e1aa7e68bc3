"""Printers of containers' output: with a prefix for each container, or as a terminal shows it. Bytes stay bytes."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterable

from pycompose.compose.app.following import Entry
from pycompose.compose.model.observed import ObservedContainer
from pycompose.frozen import dataclass
from pycompose.runtime.places import ProjectPlaces
from pycompose.runtime.state.logs import texts

from . import terminal

COLOURS = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")


@dataclass(frozen=True, slots=True)
class LineStyle:
    """How lines are printed."""

    prefix: bool = True
    colour: bool = False
    timestamps: bool = False


class Printer:
    """Writes lines with their container's prefix, stdout to stdout and stderr to stderr."""

    pieces = False

    def __init__(self, project: str, manner: LineStyle, *, shown: frozenset[str] | None = None) -> None:
        """`shown` are the services whose lines are printed; None is all."""
        self.project, self.manner, self.shown = project, manner, shown
        self._width = 0
        self._colours: dict[str, str] = {}
        self._prefixes: dict[str, bytes] = {}
        self._waiting: list[bytes] = []
        self._err = False
        self._ending = b"\n"  # of each entry

    def know(self, containers: Iterable[ObservedContainer]) -> None:
        """Names that the prefixes are to be as wide as."""
        names = (one.short_name(self.project) for one in containers if self.shown is None or one.service in self.shown)
        width = max(self._width, prefix_width(names))
        if width != self._width:
            self._width = width
            self._prefixes.clear()

    def _tinted(self, container: ObservedContainer, text: str) -> str:
        if not self.manner.colour:
            return text
        code = self._colours.setdefault(container.service, COLOURS[len(self._colours) % len(COLOURS)])
        return f"\033[{code}m{text}\033[0m"

    def _prefix(self, container: ObservedContainer) -> bytes:
        if not self.manner.prefix:
            return b""
        prefix = self._prefixes.get(container.id)
        if prefix is None:
            self.know([container])
            text = f"{container.short_name(self.project).ljust(self._width + 1)} | "
            prefix = self._prefixes[container.id] = self._tinted(container, text).encode()
        return prefix

    def line(self, container: ObservedContainer, entry: Entry) -> None:
        when, err, text = entry
        if self.shown is not None and container.service not in self.shown:
            return
        if err != self._err or len(self._waiting) >= 4096:
            self.flush()
            self._err = err
        stamp = when + b" " if self.manner.timestamps else b""
        self._waiting.append(self._prefix(container) + stamp + text)

    def all(
        self, container: ObservedContainer, places: ProjectPlaces, tail: int | None, since: bytes, until: bytes
    ) -> None:
        """All that one container wrote until now, in large pieces: a million lines in a second."""
        path, prefix = f"{places.container(container.id)}/log", self._prefix(container)
        for stream, text in texts(
            path, tail, since.decode(), until.decode(), prefix=prefix, times=self.manner.timestamps
        ):
            out = sys.stderr if stream == "stderr" else sys.stdout
            out.buffer.write(text)
            out.buffer.flush()

    def ended(self, container: ObservedContainer, code: int | None, *, again: bool) -> None:
        self.flush()
        end = "?" if code is None else code
        why = " (out of memory)" if container.oom_killed else ""
        text = f"{container.short_name(self.project)} exited with code {end}{why}{' (restarting)' if again else ''}"
        sys.stdout.write(self._tinted(container, text) + "\n")
        sys.stdout.flush()

    def flush(self) -> None:
        if self._waiting:
            out = sys.stderr if self._err else sys.stdout
            try:
                out.flush()
                out.buffer.write(self._ending.join(self._waiting) + self._ending)
                out.flush()
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                terminal.leave_if_hung_up()
            self._waiting.clear()


class TerminalPrinter(Printer):
    """Writes what a container's terminal shows as it comes; its entries are pieces, with their newlines."""

    pieces = True

    def __init__(self, project: str) -> None:
        super().__init__(project, LineStyle(prefix=False))
        self._ending = b""


def manner(*, prefix: bool, colour: bool, timestamps: bool) -> LineStyle:
    return LineStyle(prefix, colour and terminal.coloured(sys.stdout), timestamps)


def prefix_width(names: Iterable[str]) -> int:
    """That of the longest; on a terminal of those that leave lines room enough."""
    widest = terminal.size(sys.stdout)[0] // 3 if sys.stdout.isatty() else sys.maxsize
    return max((len(name) for name in names if len(name) <= widest), default=0)
