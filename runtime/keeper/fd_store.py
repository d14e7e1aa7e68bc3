"""The store: a process beside the keeper that holds duplicates of its containers' descriptors, and does nothing else.

What the kernel forgets with the last descriptor outlives a killed keeper here: output that still lies in a FIFO, the
master of a terminal (whose end is SIGHUP for the container), the pidfd that tells an exit code, sockets inside.
Its messages, on store.sock, are listed in `messages`. It ends when it holds nothing and nobody is connected. Without it
a keeper makes anew what can be made.

Keeper and store watch each other: a store that dies is replaced at once, and a store that no keeper is connected to has
one launched, for the supervisor, which does so otherwise, may have been killed together with it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from pycompose.log_lines import complain
from pycompose.runtime.linux import unix_sockets

from . import messages
from .inheritance import keep_only
from .loop import Loop
from .messages import Drop, GiveBack, GivenBack, Keep, Message

ORPHANED = 0.5, 30.0  # seconds without a keeper until one is launched, and at most between further attempts


class DescriptorStore:
    """The keeper's side. A store that died is replaced, and told everything again.

    `launch`, called in a child of the store, launches a keeper and returns.
    """

    def __init__(self, path: str, loop: Loop, launch: Callable[[], object]) -> None:
        self.path, self._loop, self._launch = path, loop, launch
        self._connection: socket.socket | None = None
        self.pid = 0
        self._kept: dict[str, dict[str, int]] = {}

    def recover(self) -> dict[str, dict[str, int]]:
        """What the keeper before this one left there: id -> name -> descriptor."""
        kept: dict[str, dict[str, int]] = {}
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(2)
        try:
            unix_sockets.connect(connection, self.path)
            messages.send(connection, GiveBack())
            while True:
                message, descriptors = messages.receive(connection)
                if isinstance(message, GivenBack):
                    self.pid = message.pid
                    break
                if not isinstance(message, Keep):
                    raise ConnectionError
                kept[message.id] = dict(zip(message.names, descriptors, strict=True))
        except (OSError, messages.Malformed, ValueError):
            connection.close()
            return kept
        self._connected(connection)
        return kept

    def keep(self, container_id: str, descriptors: dict[str, int]) -> None:
        self._kept[container_id] = descriptors
        self._send(Keep(container_id, tuple(descriptors)), list(descriptors.values()))

    def known(self, container_id: str, descriptors: dict[str, int]) -> None:
        """It has them already."""
        self._kept[container_id] = descriptors

    def drop(self, container_id: str) -> None:
        if self._kept.pop(container_id, None) is not None or self._connection:
            self._send(Drop(container_id))

    def close(self) -> None:
        if self._connection:
            self._loop.unwatch(self._connection.fileno())
            self._connection.close()
            self._connection = None

    def _connected(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._loop.watch(connection.fileno(), lambda _: self._lost())  # it sends nothing unasked: this is its end

    def _lost(self) -> None:
        self.close()
        with suppress(OSError):
            self._start()

    def end(self) -> None:
        """Return when it has ended, as it does once nobody is connected, for it holds nothing any more."""
        if self._connection:
            with suppress(OSError):
                process = os.pidfd_open(self.pid)
                self.close()
                select.select([process], [], [], 1)
                os.close(process)

    def _send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        try:
            if self._connection is None:
                self._start()
                return
            messages.send(self._connection, message, descriptors)
        except OSError:
            self._lost()

    def _start(self) -> None:
        """Fork it, and let it have everything."""
        if not self._kept:
            return
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        unix_sockets.bind(listener, self.path)
        listener.listen(8)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            hold(self.path, listener, theirs, self._launch)
        listener.close()
        theirs.close()
        ours.settimeout(2)
        try:
            for container_id, descriptors in self._kept.items():
                messages.send(ours, Keep(container_id, tuple(descriptors)), list(descriptors.values()))
        except OSError:
            ours.close()
            raise
        self._connected(ours)


def hold(path: str, listener: socket.socket, first: socket.socket, launch: Callable[[], object]) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        os.setsid()
        keep_only((listener.fileno(), first.fileno()))
        _serve(listener, first, launch)
        with suppress(FileNotFoundError):
            os.unlink(path)
    except BaseException:
        complain()
    finally:
        os._exit(0)


def _serve(listener: socket.socket, first: socket.socket, launch: Callable[[], object]) -> None:
    held: dict[str, tuple[Keep, list[int]]] = {}
    connections = {first.fileno(): first}
    first.setblocking(False)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(first, select.POLLIN)
    patience, due = ORPHANED[0], 0.0
    while held or connections:
        wait = None if connections else max(0.0, due - time.monotonic()) * 1000
        ready = {fd for fd, _ in poll.poll(wait)}
        if not ready and not connections:
            _in_a_child(launch)
            patience = min(patience * 2, ORPHANED[1])
            due = time.monotonic() + patience
        # What a killed keeper sent is taken before the next one is answered, which may ask while that still waits.
        asking = [connection for fd, connection in connections.items() if fd in ready and _take(connection, held)]
        for fd in [fd for fd, connection in connections.items() if connection.fileno() < 0]:
            poll.unregister(fd)
            del connections[fd]
            patience, due = ORPHANED[0], time.monotonic() + ORPHANED[0]
        for connection in asking:
            if connection.fileno() >= 0:
                _give_back(connection, held)
        if listener.fileno() in ready:
            accepted, _ = listener.accept()
            accepted.setblocking(False)
            connections[accepted.fileno()] = accepted
            poll.register(accepted, select.POLLIN)


def _in_a_child(launch: Callable[[], object]) -> None:
    """A launch waits for the keeper, which waits for what is held here; so a grandchild of nobody's does it."""
    if child := os.fork():
        os.waitpid(child, 0)
        return
    try:
        if os.fork() == 0:
            launch()
    except BaseException:
        complain()
    finally:
        os._exit(0)


def _take(connection: socket.socket, held: dict[str, tuple[Keep, list[int]]]) -> bool:
    """Everything that has come over a connection; whether what is held is asked for. It is closed at its end."""
    asked = False
    while True:
        try:
            message, descriptors = messages.receive(connection)
        except BlockingIOError:
            return asked
        except (OSError, messages.Malformed):
            message, descriptors = None, []
        match message:
            case Keep(container_id):
                _forget(held, container_id)
                held[container_id] = message, descriptors
            case Drop(container_id):
                _forget(held, container_id)
            case GiveBack():
                asked = True
            case _:
                connection.close()
                return False


def _give_back(connection: socket.socket, held: dict[str, tuple[Keep, list[int]]]) -> None:
    connection.setblocking(True)
    with suppress(OSError):
        for kept, descriptors in held.values():
            messages.send(connection, kept, descriptors)
        messages.send(connection, GivenBack(os.getpid()))
    connection.setblocking(False)


def _forget(held: dict[str, tuple[Keep, list[int]]], container_id: str) -> None:
    if container_id in held:
        messages.close_all(held.pop(container_id)[1])
