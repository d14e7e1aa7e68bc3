"""What a supervisor hears of its keeper: answers and events come over one connection, in any order."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest
import trio
from pycompose.runtime.client import sandboxes
from pycompose.runtime.client.sandboxes import Ended, Runtime
from pycompose.runtime.errors import StartFailed
from pycompose.runtime.keeper import messages
from pycompose.runtime.keeper.messages import Done, RunningIds
from pycompose.runtime.places import Places, ProjectPlaces


@pytest.fixture
def places(tmp_path: Path) -> ProjectPlaces:
    found = Places(str(tmp_path / "state"), str(tmp_path / "run")).project("p")
    Path(found.run).mkdir(parents=True)
    return found


async def test_an_event_that_comes_before_the_answer_is_heard_after_it(places: ProjectPlaces) -> None:
    def keeper(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            for answers in ((Done(), Ended("a", 7, False)), (RunningIds(()),)):
                connection.recv(4096)
                for answer in answers:
                    messages.send(connection, answer)
            connection.recv(4096)

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(places.keeper_socket)
        listener.listen()
        threading.Thread(target=keeper, args=(listener,), daemon=True).start()
        runtime = Runtime(places)
        async with trio.open_nursery() as nursery:
            with trio.fail_after(5):
                await nursery.start(runtime.serve)
                assert await runtime.events().receive() == Ended("a", 7, False)
            nursery.cancel_scope.cancel()


def test_the_end_of_an_earlier_run_says_nothing_of_the_one_that_is_under_way(places: ProjectPlaces) -> None:
    runtime = Runtime(places)
    process = os.pidfd_open(os.getpid())
    runtime._running["a"] = os.getpid(), process
    runtime._heard(Ended("a", 7, False, pid=1))
    os.fstat(process)  # it is still held
    assert runtime._unrecorded == {}
    runtime._heard(Ended("a", 8, False, pid=os.getpid()))
    assert (runtime._running, runtime._unrecorded) == ({}, {"a": 8})
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(process)


async def test_a_start_that_is_given_up_when_its_program_runs_already_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper has heard `Go`, and the caller is cancelled before the answer: nobody would know of this run."""
    places = Places(str(tmp_path / "state"), str(tmp_path / "run")).project("p")
    runtime = sandboxes.Runtime(places)
    calls: list[str] = []

    class Keeper:
        def __init__(self, _: object) -> None: ...
        def __enter__(self) -> Keeper:
            return self

        def __exit__(self, *_: object) -> None: ...
        async def ask(self, *_: object) -> None:
            await trio.lowlevel.checkpoint()
            raise StartFailed("c", "abandon", "it runs")

    async def note(name: str) -> None:
        await trio.lowlevel.checkpoint()
        calls.append(name)

    monkeypatch.setattr(sandboxes, "AsyncKeeper", Keeper)
    monkeypatch.setattr(runtime, "kill", lambda _: note("kill"))
    monkeypatch.setattr(runtime, "await_exit", lambda _: note("await exit"))
    await runtime._abandon("c")
    assert calls == ["kill", "await exit"]
