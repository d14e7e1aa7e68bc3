"""The host in memory keeps the obligations of a `Host`."""

from __future__ import annotations

import pytest
import trio
from pycompose.compose.model.project import Project

from .fake_host import FakeHost
from .obligations import OBLIGATIONS, Obligation


class FakeStage:
    def __init__(self) -> None:
        self.host = FakeHost("p")

    def keep(self, project: Project) -> str:
        return "generation"

    async def succeed(self) -> None:
        self.host = self.host.successor()

    def processes(self, name: str) -> int:
        running = self.host.containers[name].status in ("running", "paused")
        return running + self.host.inside.get(name, 0)

    def serving(self, service: str) -> set[str]:
        containers = self.host.containers.values()
        return {c.id for c in containers if c.service == service and c.name in self.host.serving}


@pytest.mark.parametrize("obligation", OBLIGATIONS, ids=lambda obligation: obligation.__name__)
def test_the_host_in_memory(obligation: Obligation) -> None:
    trio.run(obligation, FakeStage())
