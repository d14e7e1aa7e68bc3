"""The client's side of the keeper's protocol, without I/O: answers told from events, refusals turned into errors.

One request at a time is under way on a connection. Events that come before its answer are kept, in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TypeVar, get_args

from pycompose.runtime.errors import KeeperGone, NoSuchContainer, StartFailed
from pycompose.runtime.keeper import messages
from pycompose.runtime.keeper.messages import Answer, Event, Refusal, Request

_A = TypeVar("_A", bound=Answer)
_EVENTS = get_args(Event)


class Conversation:
    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        self._subject = ""  # id of the container that was asked about last

    def ask(self, request: Request) -> bytes:
        """The bytes to send."""
        self._subject = getattr(request, "id", "")
        return messages.encode(request)

    def hear(
        self, wanted: type[_A], data: bytes, ancillary: Sequence[tuple[int, int, bytes]], flags: int
    ) -> tuple[_A, list[int]] | None:
        """The answer and its descriptors out of what recvmsg returned; None if that was an event, which is kept.

        Raises KeeperGone at the end of the connection, NoSuchContainer and StartFailed for a refusal.
        """
        try:
            message, descriptors = messages.parse(data, ancillary, flags)
        except messages.Malformed as error:
            raise KeeperGone(f"the keeper sent nonsense: {error}") from error
        if message is None:
            raise KeeperGone("the keeper died")
        if isinstance(message, wanted):
            return message, descriptors
        messages.close_all(descriptors)
        if isinstance(message, Refusal):
            raise self._error(message)
        if not isinstance(message, _EVENTS):
            raise KeeperGone(f"the keeper sent {type(message).__name__} for {wanted.__name__}")
        self.events.append(message)
        return None

    def hear_event(self, data: bytes, ancillary: Sequence[tuple[int, int, bytes]], flags: int) -> None:
        """Keep the event that recvmsg returned. Raises as `hear`."""
        self.hear(Refusal, data, ancillary, flags)

    def _error(self, refusal: Refusal) -> NoSuchContainer | StartFailed:
        if refusal.step == "find":
            return NoSuchContainer(self._subject)
        return StartFailed(self._subject, refusal.step, refusal.message, refusal.errno, refusal.exit_code)
