"""A client of the keeper over trio: for the supervisor."""

from __future__ import annotations

import socket
from typing import TypeVar

import trio
from pycompose.runtime.errors import KeeperGone
from pycompose.runtime.keeper import messages
from pycompose.runtime.keeper.messages import Answer, Ended, Event, Request
from pycompose.runtime.places import ProjectPlaces

from .blocking import connect_keeper
from .conversation import Conversation

_A = TypeVar("_A", bound=Answer)
_Received = tuple[bytes, list[tuple[int, int, bytes]], int]


class AsyncKeeper:
    """A connection; closing it takes back what was begun over it."""

    def __init__(self, places: ProjectPlaces) -> None:
        self._socket = trio.socket.from_stdlib_socket(connect_keeper(places))
        self._conversation = Conversation()

    def __enter__(self) -> AsyncKeeper:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def ask(self, request: Request, wanted: type[_A]) -> tuple[_A, list[int]]:
        """The answer and its descriptors. Raises KeeperGone, NoSuchContainer, StartFailed."""
        try:
            await self._socket.send(self._conversation.ask(request))
        except OSError as error:
            raise KeeperGone("the keeper died") from error
        return await self.hear(wanted)

    async def hear(self, wanted: type[_A]) -> tuple[_A, list[int]]:
        """A further answer to what was asked."""
        while True:
            answer = self._conversation.hear(wanted, *await self._received())
            if answer is not None:
                return answer

    async def event(self) -> Event:
        """The next event, those first that came before an answer."""
        while not self._conversation.events:
            self._conversation.hear_event(*await self._received())
        return self._conversation.events.popleft()

    def forget_exit(self, container_id: str) -> None:
        """An end that came before an answer is not to be told, for it is known already."""
        events = self._conversation.events
        for event in [e for e in events if isinstance(e, Ended) and e.id == container_id]:
            events.remove(event)

    async def _received(self) -> _Received:
        try:
            data, ancillary, flags, _ = await self._socket.recvmsg(
                messages.LIMIT, messages.ROOM, socket.MSG_CMSG_CLOEXEC
            )
        except OSError as error:
            raise KeeperGone("the keeper died") from error
        return data, ancillary, flags
