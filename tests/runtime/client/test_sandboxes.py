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
from pycompose.runtime.errors import KeeperGone, StartFailed
from pycompose.runtime.keeper import messages
from pycompose.runtime.keeper.messages import Done, RunningIds
from pycompose.runtime.places import Places, ProjectPlaces


class Refusing:
    """A keeper that says of each start to be given up that its program runs, or has died before it was asked."""

    dead = 0  # how many of those that are asked first

    def __init__(self, _: object) -> None: ...
    def __enter__(self) -> Refusing:
        return self

    def __exit__(self, *_: object) -> None: ...
    async def ask(self, *_: object) -> None:
        await trio.lowlevel.checkpoint()
        if Refusing.dead:
            Refusing.dead -= 1
            raise KeeperGone("the keeper died")
        raise StartFailed("c", "abandon", "it runs")


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


@pytest.mark.parametrize("dead", [0, 2])
async def test_a_start_that_is_given_up_when_its_program_runs_already_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead: int
) -> None:
    """The keeper has heard `Go`, and the caller is cancelled, or the keeper dies, before the answer: nobody would know
    of this run. The next keeper takes it over."""
    places = Places(str(tmp_path / "state"), str(tmp_path / "run")).project("p")
    runtime = sandboxes.Runtime(places)
    runtime._relaunches = True
    calls: list[str] = []

    async def note(name: str) -> None:
        await trio.lowlevel.checkpoint()
        calls.append(name)

    monkeypatch.setattr(Refusing, "dead", dead)
    monkeypatch.setattr(sandboxes, "AsyncKeeper", Refusing)
    monkeypatch.setattr(runtime, "kill", lambda _: note("kill"))
    monkeypatch.setattr(runtime, "await_exit", lambda _: note("await exit"))
    await runtime._abandon("c")
    assert calls == ["kill", "await exit"]


async def test_without_a_next_keeper_a_start_is_not_given_up_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = sandboxes.Runtime(Places(str(tmp_path / "state"), str(tmp_path / "run")).project("p"))
    monkeypatch.setattr(Refusing, "dead", 1)
    monkeypatch.setattr(sandboxes, "AsyncKeeper", Refusing)
    with pytest.raises(KeeperGone):
        await runtime._abandon("c")
