"""A blocking client of the keeper: for the command line, and for whoever launches or ends one."""

from __future__ import annotations

import os
import select
import socket
import struct
from typing import TypeVar

from pycompose.interruption import hanging_up
from pycompose.runtime.errors import KeeperGone, NoKeeper, StartFailed
from pycompose.runtime.keeper import messages
from pycompose.runtime.keeper.messages import Answer, Done, EndKeeper, Request
from pycompose.runtime.linux import unix_sockets
from pycompose.runtime.places import ProjectPlaces

from .conversation import Conversation

CREDENTIALS = struct.Struct("3i")  # pid, uid, gid of SO_PEERCRED
_A = TypeVar("_A", bound=Answer)


def connect_keeper(places: ProjectPlaces) -> socket.socket:
    """A connection to the project's keeper. Raises NoKeeper."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        unix_sockets.connect(connection, places.keeper_socket)
    except OSError as error:
        connection.close()
        raise NoKeeper(f'no keeper runs for project "{places.project}"') from error
    return connection


class BlockingKeeper:
    """A connection; `patience` is in seconds, without limit if None. Closing it takes back what was begun over it."""

    def __init__(self, places: ProjectPlaces, patience: float | None = None) -> None:
        self._socket = connect_keeper(places)
        self._socket.settimeout(patience)
        self._conversation = Conversation()

    def __enter__(self) -> BlockingKeeper:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def pid(self) -> int:
        """The keeper's."""
        return int(
            CREDENTIALS.unpack(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))[0]
        )

    def fileno(self) -> int:
        return self._socket.fileno()

    def shutdown(self, how: int) -> None:
        """As socket.shutdown: whoever waits for an answer gets none. Raises OSError."""
        self._socket.shutdown(how)

    def ask(self, request: Request, wanted: type[_A]) -> tuple[_A, list[int]]:
        """The answer and its descriptors. Raises KeeperGone, NoSuchContainer, StartFailed."""
        try:
            self._socket.send(self._conversation.ask(request))
        except OSError as error:
            raise KeeperGone("the keeper died") from error
        return self.hear(wanted)

    def hear(self, wanted: type[_A]) -> tuple[_A, list[int]]:
        """A further answer to what was asked."""
        with hanging_up(self):
            return self._hear(wanted)

    def _hear(self, wanted: type[_A]) -> tuple[_A, list[int]]:
        while True:
            try:
                data, ancillary, flags, _ = self._socket.recvmsg(messages.LIMIT, messages.ROOM, socket.MSG_CMSG_CLOEXEC)
            except OSError as error:
                raise KeeperGone("the keeper died") from error
            answer = self._conversation.hear(wanted, data, ancillary, flags)
            if answer is not None:
                return answer


def end_keeper(places: ProjectPlaces, patience: float) -> bool:
    """Ask the keeper to end, and wait until it has; False if it refuses, because a container is there, or stays longer
    than `patience` (seconds). Raises KeeperGone.

    It ends the supervisor first. The helpers' control group is removed, which is empty then.
    """
    from pycompose.runtime.policy.cgroup import of_helpers

    with BlockingKeeper(places, patience) as keeper:
        try:
            process = os.pidfd_open(keeper.pid)
        except ProcessLookupError as error:
            raise KeeperGone("the keeper died") from error
        try:
            keeper.ask(EndKeeper(), Done)
            if not select.select([process], [], [], patience)[0]:
                return False
        except StartFailed:
            return False
        finally:
            os.close(process)
    of_helpers(places.project).remove()
    return True
