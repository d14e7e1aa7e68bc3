"""One connection to the keeper. It never waits: what the other side does not read yet is queued, and a client that
lags too far behind is dropped, as if it had died."""

from __future__ import annotations

import os
import select
import socket
from collections import deque
from collections.abc import Callable, Sequence

from pycompose import shortages
from pycompose.log_lines import complain, note

from . import messages
from .loop import Loop
from .messages import Answer, Event, Refusal, Request

LONGEST_QUEUE = 4096  # messages


class Refused(Exception):
    """A request that cannot be done; becomes its answer."""

    def __init__(self, message: str, step: str = "request", errno: int = 0, exit_code: int = 125) -> None:
        super().__init__(message)
        self.answer = Refusal(message, step, errno, exit_code)


class Reply:
    """The place of one request's answer, which may come later."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def __call__(self, answer: Answer, descriptors: Sequence[int] = ()) -> None:
        self.client.send(answer, descriptors)


class Client:
    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        serve: Callable[[Request, Reply], None],
        gone: Callable[[Client], None],
    ) -> None:
        self.loop, self.socket, self._serve, self._gone = loop, connection, serve, gone
        self.closed = False
        self._queue: deque[tuple[bytes, list[int]]] = deque()
        connection.setblocking(False)
        loop.watch(connection.fileno(), self._happens)

    def _happens(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self._flush()
        if events & ~select.EPOLLOUT and not self.closed:
            self._receive()

    def _receive(self) -> None:
        reply = Reply(self)
        try:
            request, descriptors = messages.receive(self.socket)
        except BlockingIOError:
            return
        except messages.Malformed as error:
            reply(Refusal(str(error)))
            return
        except OSError as error:
            if short := shortages.number(error):
                reply(Refusal(shortages.reason(error), "start", short))
            else:
                self.close()
            return
        try:
            if request is None:
                self.close()
            elif not isinstance(request, Request):
                reply(Refusal("there is no such request"))
            else:
                self._serve(request, reply)
        except Refused as error:
            reply(error.answer)
        except ConnectionError:
            self.close()
        except Exception as error:  # EAGAIN among them: there is no process left to be had
            if short := shortages.number(error):
                reply(Refusal(shortages.reason(error), "start", short))
            else:
                complain()
                reply(Refusal(f"{type(error).__name__}: {error}", errno=getattr(error, "errno", 0) or 0))
        finally:
            messages.close_all(descriptors)

    def send(self, message: Answer | Event, descriptors: Sequence[int] = ()) -> None:
        if self.closed:
            return
        data = messages.encode(message)
        if not self._queue:
            try:
                messages.send_bytes(self.socket, data, descriptors)
                return
            except BlockingIOError:
                pass
            except OSError:
                self.close()
                return
        if len(self._queue) >= LONGEST_QUEUE:
            note("a client that does not read was dropped")
            self.close()
            return
        self._queue.append((data, [os.dup(fd) for fd in descriptors]))
        self.loop.change(self.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _flush(self) -> None:
        while self._queue:
            data, descriptors = self._queue[0]
            try:
                messages.send_bytes(self.socket, data, descriptors)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            messages.close_all(descriptors)
            self._queue.popleft()
        self.loop.change(self.socket.fileno(), select.EPOLLIN)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.loop.unwatch(self.socket.fileno())
        for _, descriptors in self._queue:
            messages.close_all(descriptors)
        self._queue.clear()
        self.socket.close()
        self._gone(self)
