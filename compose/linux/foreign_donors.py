"""Containers of other projects whose namespaces ours have: their starts, from their records, as they happen.

Nobody of the other project is asked, and it knows nothing of us. A reference is PROJECT/ID.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable

import trio
from pycompose.compose.engine.host import DonorEnded, DonorStarted
from pycompose.runtime.places import ProjectPlaces
from pycompose.runtime.state import container_record
from pycompose.runtime.state.line_follower import LineFollower

Tell = Callable[[DonorStarted | DonorEnded], Awaitable[None]]


class ForeignDonors:
    def __init__(self, places: ProjectPlaces) -> None:
        self._places = places
        self._ended: dict[str, float | None] = {}  # reference -> when its last run but this one ended
        self._told: dict[str, float] = {}  # reference -> when the run that was told began
        self._follower: LineFollower | None = None
        self._wanted = trio.Event()

    def watch(self, references: Iterable[str]) -> None:
        """Those that there are now; those that were watched and are not among them no more."""
        wanted = {reference for reference in references if "/" in reference}
        for reference in self._ended.keys() - wanted:
            del self._ended[reference]
            self._told.pop(reference, None)
            if self._follower is not None:
                self._follower.unwatch(self._places.donor(reference))
        for reference in wanted - self._ended.keys():
            if self._follower is None:
                self._follower = LineFollower()
                self._wanted.set()
            self._ended[reference] = None
            self._follower.watch(self._places.donor(reference))

    def there(self, reference: str) -> bool:
        return os.path.exists(self._places.donor(reference))

    async def run(self, tell: Tell) -> None:
        await self._wanted.wait()
        assert self._follower is not None
        while True:
            self._follower.folder_changed()
            await self.look(tell)
            await trio.lowlevel.wait_readable(self._follower.fileno())

    async def look(self, tell: Tell, *, again: bool = False) -> None:
        """Tell of each run's beginning and end, once; `again`: of all that run, for one who has not heard of them."""
        for reference in list(self._ended):
            folder = self._places.donor(reference)
            process, end = (container_record.read(f"{folder}/{name}.json") for name in ("process", "exit"))
            if end:
                self._ended[reference] = end.get("finished")
                if self._told.pop(reference, None) is not None:
                    await tell(DonorEnded(reference))
            elif container_record.alive(process) and (again or self._told.get(reference) != process["started"]):
                if self._told.get(reference, process["started"]) != process["started"]:
                    self._ended[reference] = process["started"]  # its end went unseen, just before
                self._told[reference] = process["started"]
                await tell(DonorStarted(reference, process["started"], self._ended.get(reference)))
