"""Tasks that are known by a key, in a nursery that is handed in: relays and resolvers, each stopped by itself.

Rules: tasks, and what they read, belong to the thread of the nursery's loop. Networks are changed in another thread,
which may wait for a lock; `on_loop` brings the part of a change that tasks see over to the loop, and waits for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from threading import get_ident
from typing import Any, TypeVar

import trio

Result = TypeVar("Result")


class Tasks:
    def __init__(self) -> None:
        self.nursery: trio.Nursery | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._thread = 0
        self._scopes: dict[object, trio.CancelScope] = {}

    def open(self, nursery: trio.Nursery) -> None:
        """Start tasks in this nursery from now on, until `close`."""
        self.nursery, self._token, self._thread = nursery, trio.lowlevel.current_trio_token(), get_ident()

    def close(self) -> None:
        self.nursery = None

    def on_loop(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Call `work` in the thread of the tasks, whichever thread this is; without tasks, here."""
        if self._token is None or self._thread == get_ident():
            return work(*arguments)
        return trio.from_thread.run_sync(work, *arguments, trio_token=self._token)

    def start(self, key: object, work: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Run `work` in place of the task with the same key. On the loop."""
        assert self.nursery is not None, "Networks.run must run"
        self.stop(key)
        scope = self._scopes[key] = trio.CancelScope()

        async def scoped() -> None:
            with scope:
                await work(*arguments)

        self.nursery.start_soon(scoped)

    def stop(self, key: object) -> None:
        """Cancel a task: it does not wait for anything any more when this returns. On the loop."""
        scope = self._scopes.pop(key, None)
        if scope is not None:
            scope.cancel()
