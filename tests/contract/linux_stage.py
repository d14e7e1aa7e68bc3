"""One obligation asked of the real host. Runs inside the namespaces of a kernel test: `main(name)`."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import trio
from pycompose.compose.control.session import close_if_empty
from pycompose.compose.engine.host import HostError
from pycompose.compose.engine.publisher import Publisher
from pycompose.compose.linux.linux_host import LinuxHost
from pycompose.compose.model.project import Project
from pycompose.compose.state import generations
from pycompose.network.records import Records
from pycompose.runtime.keeper.launch import launch_keeper
from pycompose.runtime.places import Places
from pycompose.runtime.policy.cgroup import Cgroup

from .obligations import OBLIGATIONS, Obligation


class LinuxStage:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.roots = Places.default()
        self.places = self.roots.project("p")
        self._nursery, self._running = nursery, trio.CancelScope()
        self.host = LinuxHost(self.roots, "p", Publisher(self.places))

    async def begin(self) -> None:
        async def run(task_status: trio.TaskStatus[None]) -> None:
            with self._running:
                await self.host.run(task_status)

        await self._nursery.start(run)

    def keep(self, project: Project) -> str:
        return generations.keep(self.places, project)

    async def succeed(self) -> None:
        self._running.cancel()
        self._running, self.host = trio.CancelScope(), LinuxHost(self.roots, "p", Publisher(self.places))
        await self.begin()

    def processes(self, name: str) -> int:
        container = next(c for c in self.host.observe().containers if c.name == name)
        cgroup = Cgroup(f"p/{container.id}")
        with suppress(OSError):
            return len(list(cgroup.processes()))
        return 0

    def serving(self, service: str) -> set[str]:
        ports = Records(self.roots.networks).ports()
        return {b.owner for p in ports if p.published.publication.group == f"p/{service}" for b in p.backends}

    async def clear(self) -> None:
        observed = self.host.observe()
        for container in observed.containers:
            with suppress(HostError):
                await self.host.kill_container(container.name)
            await self.host.remove_container(container.name, volumes=True)
        for network in observed.networks:
            await self.host.remove_network(network.name)
        for volume in self.host.observe().volumes:
            await self.host.remove_volume(volume.name)


async def _keep(obligation: Obligation) -> None:
    places = Places.default().project("p")
    await trio.to_thread.run_sync(launch_keeper, places)
    try:
        await _on_stage(obligation)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(close_if_empty, places)


async def _on_stage(obligation: Obligation) -> None:
    async with trio.open_nursery() as nursery:
        stage = LinuxStage(nursery)
        await stage.begin()
        try:
            with trio.fail_after(float(os.environ.get("PYCOMPOSE_TESTS_SLOWER", "1")) * 30):
                await obligation(stage)
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(20):
                await stage.clear()
            nursery.cancel_scope.cancel()


def main() -> None:
    trio.run(_keep, next(o for o in OBLIGATIONS if o.__name__ == sys.argv[1]))
