"""Following of containers' output as it comes, and of their ends: what `logs -f` and an attached `up` live on.

Lines are bytes and stay bytes, and a `LineTaker` is handed them. Everything is read from files, so nobody need run;
inotify tells when to look.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Protocol

from pycompose.compose.model.observed import ObservedContainer
from pycompose.compose.state import observe
from pycompose.runtime.places import ProjectPlaces
from pycompose.runtime.state.logs import LogLines, LogPieces, last

Entry = tuple[bytes, bool, bytes]  # time, whether it is of stderr, text


class LineTaker(Protocol):
    """Whoever is handed the lines of containers; with `pieces` what a terminal shows, as it comes."""

    pieces: bool

    def know(self, containers: Iterable[ObservedContainer]) -> None:
        """The containers that are there at first."""

    def line(self, container: ObservedContainer, entry: Entry) -> None: ...

    def flush(self) -> None:
        """There is no more for now."""


def _seconds(stamp: bytes) -> float:
    """Unix seconds of a time as in the log; 0 of none."""
    if not stamp:
        return 0.0
    from datetime import datetime

    return datetime.fromisoformat(stamp.decode()[:26] + "+00:00").timestamp()


class Following:
    """Prints the lines of the containers that `chosen` accepts, and tells when one ends. One thread calls it.

    `since` and `until` are times as in the log: older and newer lines are left out. `tail` counts for what is there at
    first. `awaited` says of whose containers the ends are waited for; None is all. `attached`: what is kept in no log
    is printed too, as it comes.

    There is more to come while one of them runs; or will run again, because its restart policy or a command under way
    says so; or was made since the following began, and has not run yet (as docker compose 5, pkg/compose/monitor.go).
    """

    def __init__(
        self,
        places: ProjectPlaces,
        chosen: Callable[[ObservedContainer], bool],
        printer: LineTaker,
        *,
        since: bytes = b"",
        until: bytes = b"",
        tail: int | None = None,
        ended: Callable[[ObservedContainer, int | None, bool], None] | None = None,
        awaited: Callable[[ObservedContainer], bool] | None = None,
        attached: bool = False,
    ) -> None:
        self._attached = attached
        self._awaited = awaited
        self.places, self.chosen, self.printer = places, chosen, printer
        self.since, self.until, self.ended = since, until, ended
        self._tail = tail
        self._containers: dict[str, ObservedContainer] = {}  # by id
        self._lines: dict[str, LogLines] = {}
        self._reported: dict[str, float | None] = {}  # container id -> when the run started whose end was reported
        self._folders: set[str] = set()
        self._first: frozenset[str] = frozenset()  # ids of the containers that were there at first
        from pycompose.runtime.state.line_follower import LineFollower

        self._follower = LineFollower()
        self._woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        for descriptor in (self._follower.fileno(), self._woken):
            self._poll.register(descriptor, select.POLLIN)

    def begin(self) -> None:
        """Print what there is, in the order of time."""
        import heapq

        self._look()
        self._first = frozenset(self._containers)
        self.printer.know(self._containers.values())

        def stamped(container_id: str) -> Iterator[tuple[bytes, str, Entry]]:
            for entry in self._new(container_id):
                yield entry[0], container_id, entry

        for _, container_id, entry in heapq.merge(*map(stamped, self._containers), key=lambda e: e[0]):
            self.printer.line(self._containers[container_id], entry)
        self.printer.flush()
        self._tail = None
        self.wake()  # the first turn looks at once: all may be over

    def _new(self, container_id: str) -> Iterator[Entry]:
        for key, block in self._follower.new(container_id):
            yield from self._within(self._lines[key].take(block))

    def _within(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        if not self.since and not self.until:
            return entries
        return (e for e in entries if e[0] >= self.since and (not self.until or e[0] < self.until))

    def _look(self) -> None:
        """Which containers there are now. Their folders are watched before their records are read."""
        self._follower.watch(self.places.containers)
        with suppress(FileNotFoundError):
            folders = set(map(self.places.container, os.listdir(self.places.containers)))
            for folder in self._folders - folders:
                self._follower.unwatch(folder)
            for folder in folders:
                self._follower.watch(folder)
            self._folders = folders
        containers = {one.id: one for one in observe.containers(self.places) if self.chosen(one)}
        for container_id in containers.keys() - self._containers.keys():
            unlogged = self._attached and containers[container_id].unlogged
            path = self.places.stream(container_id) if unlogged else f"{self.places.container(container_id)}/log"
            self._lines[container_id] = LogPieces() if self.printer.pieces else LogLines()
            self._follower.add(container_id, path, last(path, self._tail))
        for container_id in self._containers.keys() - containers.keys():
            self._print(container_id)
            self._follower.remove(container_id)
            del self._lines[container_id]
        self._containers = containers

    def _print(self, container_id: str) -> None:
        for entry in self._new(container_id):
            self.printer.line(self._containers[container_id], entry)

    def turn(self) -> bool:
        """Wait until something happens, print what came, tell who ended. Whether there is more to come."""
        self._poll.poll(self._milliseconds_left() if self._follower.idle() else 0)
        with suppress(BlockingIOError):
            os.eventfd_read(self._woken)
        while True:
            if self._follower.folder_changed():
                self._look()
            for container_id, block in self._follower.new():
                for entry in self._within(self._lines[container_id].take(block)):
                    self.printer.line(self._containers[container_id], entry)
            self.printer.flush()
            if self._follower.idle():
                break
        self._tell_ends()
        if self._milliseconds_left() == 0:
            return False
        going_on = any(self._lives(one) or self._untold(one) for one in self._containers.values())
        return going_on or not self._settled(self._containers.values())

    def _settled(self, containers: Iterable[ObservedContainer]) -> bool:
        """Whether these, which have ended, are still as they are.

        What a container does and what is known of it are two files, which are not read at once. If a second look shows
        the same, what is known was so while it was ended; else something happens, and the next turn sees what.
        """
        before, there = {one.id: one for one in containers}, self._containers.keys()
        self._look()
        changed = any(self._containers.get(container_id, one) != one for container_id, one in before.items())
        if changed or self._containers.keys() - there:
            self.wake()
            return False
        return True

    def _milliseconds_left(self) -> float | None:
        """Until `until`; None: without end."""
        return max(0.0, (_seconds(self.until) - time.time()) * 1000) if self.until else None

    def _lives(self, one: ObservedContainer) -> bool:
        """Whether an awaited container runs, or will."""
        if self._awaited is not None and not self._awaited(one):
            return False
        if one.runs or one.returning:
            return True
        return one.id not in self._first if one.status == "created" else self._is_ending(one) or self._comes_back(one)

    def wake(self) -> None:
        """Let `turn` return; for another thread."""
        os.eventfd_write(self._woken, 1)

    def _tell_ends(self) -> None:
        """The second look at some may see others' ends first."""
        while (ends := list(filter(self._untold, self._containers.values()))) and self._settled(ends):
            for one in ends:
                self._tell_end(one)

    def _untold(self, one: ObservedContainer) -> bool:
        """Whether a run has ended whose end is not told; older ones are none of ours."""
        if self.ended is None:
            return False
        over = one.status in ("exited", "restarting") and one.finished is not None  # the keeper has written it down
        return over and self._reported.get(one.id) != one.started and (one.finished or 0.0) >= _seconds(self.since)

    def _tell_end(self, one: ObservedContainer) -> None:
        assert self.ended is not None
        self._reported[one.id] = one.started
        if one.id in self._containers:
            self._print(one.id)
        self.printer.flush()
        self.ended(one, one.exit_code, one.returning or self._comes_back(one))

    def _is_ending(self, one: ObservedContainer) -> bool:
        """Its process is gone, and the keeper has not yet copied the last of its output and written down its end."""
        gone = one.status == "exited" and one.started is not None and one.finished is None
        return gone and os.path.exists(self.places.keeper_socket)

    @staticmethod
    def _comes_back(one: ObservedContainer) -> bool:
        """The record of an end comes before the supervisor's that it will be started again."""
        from pycompose.compose.plan.lifecycle import restarts

        ran = (one.finished or 0.0) - (one.started or 0.0)
        return not one.runs and one.status != "created" and restarts(one.restart, one.supervision, one.exit_code, ran)

    def close(self) -> None:
        self._follower.close()
        os.close(self._woken)
