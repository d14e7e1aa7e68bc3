"""A worker thread for calls that may wait for a lock of another project: the loop, with DNS and health, goes on.

One call at a time, in the order in which they were asked for. What has begun is not abandoned when its caller is
cancelled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class Worker:
    def __init__(self) -> None:
        self._turn = trio.CapacityLimiter(1)

    async def run(self, work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        """The result of `work(*arguments)`, or what it raises."""
        return await trio.to_thread.run_sync(work, *arguments, limiter=self._turn)
