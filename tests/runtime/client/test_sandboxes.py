"""What a supervisor hears of its keeper: answers and events come over one connection, in any order."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
import trio
from pycompose.runtime.client.sandboxes import Ended, Runtime
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
