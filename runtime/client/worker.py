"""A worker thread for calls that may wait for a lock of another project: the loop, with DNS and health, goes on.

One call at a time, in the order in which they were asked for. What has begun is not abandoned when its caller is
cancelled.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
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

    async def run_here(
        self,
        at_once: Callable[[], AbstractContextManager[None]],
        would_wait: type[Exception],
        work: Callable[[*Arguments], Result],
        *arguments: *Arguments,
    ) -> Result:
        """The same in this thread, if no call is under way and `work` raises no `would_wait` in `at_once()`.

        Two threads that take turns at each system call cost more than a short call.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._turn.borrowed_tokens or self._turn.statistics().tasks_waiting:
            return await self.run(work, *arguments)
        try:
            with at_once():
                result = work(*arguments)
        except would_wait:
            return await self.run(work, *arguments)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return result
