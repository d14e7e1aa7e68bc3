"""Tasks that are known by a key, in a nursery that is handed in: relays and resolvers, each stopped by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio


class Tasks:
    def __init__(self) -> None:
        self.nursery: trio.Nursery | None = None
        self._scopes: dict[object, trio.CancelScope] = {}

    def start(self, key: object, work: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """In place of the one with the same key."""
        assert self.nursery is not None, "Networks.run must run"
        self.stop(key)
        scope = self._scopes[key] = trio.CancelScope()

        async def scoped() -> None:
            with scope:
                await work(*arguments)

        self.nursery.start_soon(scoped)

    def stop(self, key: object) -> None:
        """It does not wait for anything any more when this returns."""
        scope = self._scopes.pop(key, None)
        if scope is not None:
            scope.cancel()
