"""Entries of containers' logs as values, in the order of time; and those that come, until nothing more can."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from pycompose import interruption
from pycompose.compose.model.observed import ObservedContainer
from pycompose.frozen import dataclass
from pycompose.runtime.places import ProjectPlaces

from .following import Entry, Following


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A line that a container wrote; `stamp` is its time in RFC 3339, in UTC with nanoseconds."""

    container: str  # name
    service: str
    number: int
    stamp: str
    is_error: bool  # it is of stderr
    data: bytes

    @property
    def text(self) -> str:
        """Without its newline (UTF-8; what is none is replaced)."""
        return self.data.decode("utf-8", "replace")

    @property
    def time(self) -> datetime:
        """To the microsecond."""
        return datetime.fromisoformat(self.stamp[:26] + "+00:00")

    def __str__(self) -> str:
        return self.text


class Collector:
    """Takes lines until they are asked for."""

    pieces = False

    def __init__(self) -> None:
        self._entries: list[LogEntry] = []

    def know(self, containers: Iterable[ObservedContainer]) -> None:
        pass

    def line(self, container: ObservedContainer, entry: Entry) -> None:
        when, is_error, data = entry
        stamp = when.decode("ascii", "replace")
        self._entries.append(LogEntry(container.name, container.service, container.number, stamp, is_error, data))

    def flush(self) -> None:
        pass

    def taken(self) -> list[LogEntry]:
        entries, self._entries = self._entries, []
        return entries


def entries(
    places: ProjectPlaces,
    chosen: Callable[[ObservedContainer], bool],
    *,
    follow: bool = False,
    tail: int | None = None,
    since: bytes = b"",
    until: bytes = b"",
) -> Iterator[LogEntry]:
    """Lines of the containers that `chosen` accepts; with `follow` while one of them runs, or will.

    `since` and `until` are times as in the log. Raises Interrupted.
    """
    collector = Collector()
    following = Following(places, chosen, collector, since=since, until=until, tail=tail)
    try:
        following.begin()
        yield from collector.taken()
        going_on = follow
        while going_on:
            with interruption.waking(following.wake):
                going_on = following.turn()
            interruption.check()
            yield from collector.taken()
    finally:
        following.close()
