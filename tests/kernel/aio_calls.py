"""A user's program that awaits the Python API, under trio and under asyncio: run by `test_api`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import pytest
from pycompose import CommandFailed, aio

FILE = """
name: awaited
services:
  worker:
    image: host
    init: true
    command: sh -c 'echo begun; exec sleep 3000'
    stop_grace_period: 0s
"""


async def calls(file: Path) -> None:
    project = await aio.Project.load(file)
    events: list[object] = []
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await anyio.sleep(0.01)
            beats += 1

    async with anyio.create_task_group() as group:
        group.start_soon(beat)
        plan = await project.up(scale={"worker": 2}, wait=True, progress=events.append)
        group.cancel_scope.cancel()
    assert plan.steps
    assert events
    assert beats > 0  # the event loop went on
    worker = project["worker"]
    assert [one.name for one in await worker.containers()] == ["awaited-worker-1", "awaited-worker-2"]
    assert (await worker.exec(["cat"], input="x")).stdout == "x"
    with pytest.raises(CommandFailed):
        await project.exec("worker", "exit 3", check=True)
    assert [entry.text async for entry in project.logs()] == ["begun", "begun"]
    with anyio.move_on_after(0.2) as scope:
        await project.wait()
    assert scope.cancelled_caught
    with anyio.move_on_after(1) as scope:
        async for _ in project.logs(follow=True):
            pass
    assert scope.cancelled_caught
    with anyio.move_on_after(1) as scope:
        await worker.exec("sleep 3000.5")
    assert scope.cancelled_caught
    assert (await worker.exec("ps ax | grep '[s]leep 3000.5'")).stdout == ""
    container = await worker.container(1)
    async with anyio.create_task_group() as group:
        group.start_soon(container.kill)
        assert await container.wait() == 137
    await project.scale({"worker": 1})
    stream = project.events("worker")
    async with anyio.create_task_group() as group:
        group.start_soon(project.restart)
        assert (await anext(stream)).service == "worker"
    await stream.aclose()
    assert await project.images() != []
    await project.down()
    async with project.running() as up:
        assert await up["worker"].status() == "running"
    assert await project.containers() == []
    with anyio.move_on_after(0.01):
        await project.up()
    await project.down()


def main() -> None:
    file = Path(sys.argv[1])
    file.write_text(FILE)
    for backend in ("trio", "asyncio"):
        descriptors = len(os.listdir("/proc/self/fd"))
        anyio.run(calls, file, backend=backend)
        assert len(os.listdir("/proc/self/fd")) == descriptors


if __name__ == "__main__":
    main()
