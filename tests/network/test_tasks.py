"""Tasks by key: in the loop's thread, whoever starts and stops them."""

from __future__ import annotations

from threading import get_ident

import pytest
import trio
from pycompose.network.tasks import Tasks


async def test_work_of_another_thread_is_done_on_the_loop_and_its_result_or_error_comes_back() -> None:
    tasks, loop = Tasks(), get_ident()
    async with trio.open_nursery() as nursery:
        tasks.open(nursery)
        assert await trio.to_thread.run_sync(tasks.on_loop, get_ident) == loop
        assert await trio.to_thread.run_sync(get_ident) != loop
        assert tasks.on_loop(get_ident) == loop
        with pytest.raises(ZeroDivisionError):
            await trio.to_thread.run_sync(tasks.on_loop, divmod, 1, 0)
        tasks.close()


def test_without_a_loop_work_is_done_where_it_is_asked() -> None:
    assert Tasks().on_loop(get_ident) == get_ident()


async def test_a_task_takes_the_place_of_the_one_with_its_key_and_no_others() -> None:
    tasks = Tasks()
    running: list[str] = []

    async def work(name: str) -> None:
        running.append(name)
        try:
            await trio.sleep_forever()
        finally:
            running.remove(name)

    async with trio.open_nursery() as nursery:
        tasks.open(nursery)
        for key, name in (("a", "first"), ("b", "other"), ("a", "second")):
            tasks.start(key, work, name)
            await trio.testing.wait_all_tasks_blocked()
        assert sorted(running) == ["other", "second"]
        await trio.to_thread.run_sync(tasks.on_loop, tasks.stop, "a")
        await trio.testing.wait_all_tasks_blocked()
        assert running == ["other"]
        tasks.stop("a")  # there is none any more
        tasks.stop("b")
    assert running == []


async def test_a_task_that_is_stopped_before_it_began_holds_nothing_up() -> None:
    tasks = Tasks()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            tasks.open(nursery)
            tasks.start("a", trio.sleep_forever)
            tasks.stop("a")


async def test_a_task_that_fails_ends_the_nursery() -> None:
    tasks = Tasks()

    async def broken() -> None:
        raise KeyError("x")

    async def served() -> None:
        async with trio.open_nursery() as nursery:
            tasks.open(nursery)
            tasks.start("a", broken)

    with pytest.raises(ExceptionGroup) as caught:
        await served()
    assert [type(error) for error in caught.value.exceptions] == [KeyError]
