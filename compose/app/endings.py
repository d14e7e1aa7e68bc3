"""Ends of containers, and their exit codes, as they come (`wait`)."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pycompose.errors import PycomposeError

if TYPE_CHECKING:
    from pycompose.compose.model.observed import ObservedContainer
    from pycompose.runtime.places import ProjectPlaces

RECORD_PATIENCE = 3.0  # seconds for the keeper to write down how a process ended that is gone


def ends(
    places: ProjectPlaces,
    containers: Iterable[ObservedContainer],
    *,
    first: bool = False,
    stop: tuple[int, int] | None = None,
) -> Iterator[tuple[ObservedContainer, int]]:
    """Each of the containers as it ends, with its exit code: those that have ended come at once.

    With `first`, no more than those that are there when one is; no more either when `stop` (a descriptor and events of
    poll(2)) is ready. Raises PycomposeError where nobody can tell how one ended.
    """
    count = 0
    with ExitStack() as open_files:
        poll, running = select.poll(), dict[int, "ObservedContainer"]()
        for container in containers:
            if container.runs:
                descriptor = _process(container)
                if descriptor >= 0:
                    open_files.callback(os.close, descriptor)
                    running[descriptor] = container
                    poll.register(descriptor, select.POLLIN)
                    continue
            if container.status != "created":
                count += 1
                yield container, _code(places, container)
        if stop is not None:
            poll.register(*stop)
        while running and not (first and count):
            for descriptor, _ in poll.poll():
                if descriptor not in running:
                    return
                poll.unregister(descriptor)
                count += 1
                container = running.pop(descriptor)
                yield container, _code(places, container)


def _process(container: ObservedContainer) -> int:
    """A pidfd; -1 where the process is gone."""
    try:
        return os.pidfd_open(container.pid or 0)
    except (ProcessLookupError, OSError):
        return -1


def _code(places: ProjectPlaces, container: ObservedContainer) -> int:
    """The exit code of a process that is gone, which the keeper may be about to write. Raises PycomposeError."""
    from pycompose.runtime.state.container_record import read_container
    from pycompose.runtime.state.line_follower import LineFollower

    follower = LineFollower()
    try:
        follower.watch(places.container(container.id))
        while True:
            record = read_container(places, container.id)
            if record is not None and record.exit_code is not None:
                return record.exit_code
            if record is None or record.finished or not select.select([follower], [], [], RECORD_PATIENCE)[0]:
                raise PycomposeError(f"nobody can tell how {container.name} ended", exit_code=1)
            follower.folder_changed()
    finally:
        follower.close()
