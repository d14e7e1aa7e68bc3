"""The runtime's front door against a real keeper. Needs root."""

import os
from pathlib import Path

import pytest
import trio
from pycompose.runtime.client.blocking import end_keeper
from pycompose.runtime.client.sandboxes import Runtime
from pycompose.runtime.keeper.launch import launch_keeper
from pycompose.runtime.places import Places
from pycompose.runtime.spec import Bundle, HostRoot, Linux, MemoryResources, Namespace, Process, Resources, Spec
from pycompose.runtime.state import logs
from pycompose.runtime.state.container_record import read_container

from .conftest import cgroups

pytestmark = pytest.mark.usefixtures("root")
PATH = ("PATH=/usr/bin:/bin",)


def test_a_container_is_started_entered_paused_and_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = f"pycompose-test-{os.getpid()}"
    monkeypatch.setenv("PYCOMPOSE_CGROUP", tree)
    places = Places(str(tmp_path / "state"), str(tmp_path / "run")).project("test")
    spec = Spec(
        Process(("/bin/sh", "-c", "echo up; exec sleep 100"), env=PATH),
        linux=Linux(
            tuple(Namespace(kind) for kind in ("mount", "pid", "network", "uts", "ipc")),
            cgroups_path="test/one",
            resources=Resources(memory=MemoryResources(limit=64 << 20), pids_limit=50),
        ),
    )

    async def scenario() -> None:
        runtime = Runtime(places)
        async with trio.open_nursery() as nursery:
            await nursery.start(runtime.serve)
            folder = places.container("one")
            await runtime.create("one", "test-one-1", Bundle(spec, HostRoot(f"{folder}/root")))
            await runtime.start("one")
            state = read_container(places, "one")
            assert state
            assert state.status == "running"
            code, output = await runtime.exec("one", Process(("/bin/sh", "-c", "echo in; exit 4"), env=PATH))
            assert (code, output) == (4, b"in\n")
            await runtime.pause("one")
            await runtime.unpause("one")
            await runtime.kill("one")
            assert await runtime.await_exit("one") == 137
            assert [line.text for line in logs.read(f"{folder}/log")] == ["up"]
            await runtime.remove("one")
            nursery.cancel_scope.cancel()

    launch_keeper(places)
    try:
        trio.run(scenario)
    finally:
        assert end_keeper(places, 10)
    assert cgroups(tree) == set()
