"""Stream of a project's container events: those on record since a time, and those that come, until another.

Read from the record of events, so nobody need run. One-off containers are left out, as docker compose does.
"""

from __future__ import annotations

import select
import time
from collections.abc import Collection, Iterator

from pycompose.compose.state import event_record
from pycompose.compose.state.event_record import ContainerEvent
from pycompose.runtime.places import ProjectPlaces
from pycompose.runtime.state.line_follower import LineFollower, files


def events(
    places: ProjectPlaces,
    services: Collection[str] = (),
    since: int | None = None,
    until: int | None = None,
    stop: tuple[int, int] | None = None,
) -> Iterator[ContainerEvent]:
    """Events of `services` (empty: all) as they happen; times in nanoseconds since the epoch. Raises OSError.

    Without `since` those from now on; without `until` they have no end, but when `stop` (a descriptor and the events of
    poll(2) that are waited for) is ready.
    """
    follower, path = LineFollower(), event_record.path(places)
    poll = select.poll()
    poll.register(follower, select.POLLIN)
    if stop is not None:
        poll.register(*stop)
    try:
        follower.add("", path, None if since is None else (files(path)[0], 0))
        while True:
            follower.folder_changed()  # before the lines are asked for: it takes word of them, too
            for _, block in follower.new():
                for event in event_record.parse(block):
                    chosen = not event.oneoff and (not services or event.service in services)
                    if chosen and event.time >= (since or 0) and (until is None or event.time < until):
                        yield event
            left = None if until is None else max(0, until - time.time_ns()) // 1_000_000
            if left == 0 or any(descriptor != follower.fileno() for descriptor, _ in poll.poll(left)):
                return
    finally:
        follower.close()
