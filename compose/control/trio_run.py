"""A trio program inside a blocking call, which another thread may break off (`interruption`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import trio
from pycompose.interruption import Interrupted, waking

_T = TypeVar("_T")


def run_trio(main: Callable[..., Awaitable[_T]], *arguments: Any) -> _T:
    """As `trio.run`, whose tasks are cancelled when the call is broken off. Raises Interrupted then."""

    async def scoped() -> _T:
        token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as scope:

            def cancel() -> None:
                with suppress(trio.RunFinishedError):
                    token.run_sync_soon(scope.cancel)

            with waking(cancel):
                return await main(*arguments)
        raise Interrupted

    return trio.run(scoped)
