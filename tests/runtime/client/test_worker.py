"""Worker: short calls stay in the loop's thread unless somebody would have to be waited for."""

from __future__ import annotations

import threading
from contextlib import nullcontext

import trio
import trio.testing
from pycompose.runtime.client.worker import Worker


async def test_a_call_that_waits_for_nobody_is_done_in_this_thread() -> None:
    assert await Worker().run_here(nullcontext, KeyError, threading.get_ident) == threading.get_ident()


async def test_a_call_that_would_wait_is_done_by_the_worker() -> None:
    def work() -> int:
        if threading.get_ident() == here:
            raise KeyError
        return threading.get_ident()

    here = threading.get_ident()
    assert await Worker().run_here(nullcontext, KeyError, work) != here


async def test_a_call_does_not_overtake_one_that_is_under_way() -> None:
    worker, order, go = Worker(), list[str](), threading.Event()

    def slow() -> None:
        go.wait(5)
        order.append("slow")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run, slow)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(worker.run_here, nullcontext, KeyError, order.append, "short")
        await trio.testing.wait_all_tasks_blocked()
        go.set()
    assert order == ["slow", "short"]
