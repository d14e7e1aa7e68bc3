"""A resolver that serves the DNS sockets made inside containers' namespaces, and asks upstream from the host's.

So a resolver on the host's own 127.0.0.x is reached too. Three upstreams are asked, four seconds each, as moby does. An
upstream's answer counts only when it repeats our random id and the question.

Rule: one container's flood is its own: how much it has under way, queued, connected and remembered is bounded for each,
and what all have under way is shared in the order of coming.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import trio
from pycompose import shortages

from .message import LARGEST, STREAM_SIZE, answers_to, question, refusal
from .zone import Zone

UPSTREAMS, IN_FLIGHT, PATIENCE = 3, 1024, 4.0  # seconds
ASKING, WAITING = 64, 256  # questions of one container: under way, and in a queue behind these
STREAMS, BACKLOG = 32, 64  # TCP connections of one container: served, and waiting in the kernel
CONNECTED = 30.0  # seconds for which one is served
BURST = 64  # answers in a row before others have their turn
RESOLV_CONF = "/etc/resolv.conf"


def host_upstreams(path: str = RESOLV_CONF) -> tuple[str, ...]:
    """The first name servers of a resolv.conf (man 5 resolv.conf); () where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            words = [line.split() for line in file]
    except OSError:
        return ()
    return tuple(w[1] for w in words if len(w) > 1 and w[0] == "nameserver")[:UPSTREAMS]


def _nothing(owner: str) -> None:
    return None


class _Asker:
    """One container: its socket, whom it asks, and what it waits for."""

    __slots__ = ("asking", "nursery", "owner", "udp", "upstreams", "waiting")

    def __init__(self, owner: str, upstreams: Sequence[str], udp: socket.socket, nursery: trio.Nursery) -> None:
        self.owner, self.upstreams, self.udp, self.nursery = owner, upstreams, udp, nursery
        self.asking = 0
        self.waiting: deque[tuple[bytes, tuple[object, ...], float]] = deque()


class Resolver:
    """Answers from a zone, and from upstream what the zone does not know.

    `refresh(owner)` is called before an answer: what another process changed may have to be read.
    """

    def __init__(
        self, zone: Zone, upstreams: Sequence[str] | None = None, refresh: Callable[[str], None] = _nothing
    ) -> None:
        self.zone = zone
        self._fixed = None if upstreams is None else tuple(upstreams)[:UPSTREAMS]
        self._read: tuple[int, tuple[str, ...]] = (-1, ())
        self._refresh = refresh
        self._limit = trio.CapacityLimiter(IN_FLIGHT)

    def upstreams(self) -> tuple[str, ...]:
        """What the host's resolv.conf says now."""
        if self._fixed is not None:
            return self._fixed
        with contextlib.suppress(OSError):
            changed = os.stat(RESOLV_CONF).st_mtime_ns
            if changed != self._read[0]:
                self._read = changed, host_upstreams()
        return self._read[1]

    async def serve(self, udp_fd: int, tcp_fd: int, owner: str, upstreams: Sequence[str] = ()) -> None:
        """Answer until cancelled. Takes both descriptors over. Asks `upstreams`, or else the host's."""
        with contextlib.ExitStack() as sockets:
            udp = sockets.enter_context(socket.socket(fileno=udp_fd))
            tcp = sockets.enter_context(socket.socket(fileno=tcp_fd))
            udp.setblocking(False)
            tcp.setblocking(False)
            tcp.listen(BACKLOG)
            async with trio.open_nursery() as nursery:
                asker = _Asker(owner, upstreams, udp, nursery)
                nursery.start_soon(self._datagrams, asker)
                await self._streams(trio.socket.from_stdlib_socket(tcp), asker)

    async def _datagrams(self, asker: _Asker) -> None:
        while True:
            await trio.lowlevel.wait_readable(asker.udp)
            self._refresh(asker.owner)
            for _ in range(BURST):
                try:
                    query, sender = asker.udp.recvfrom(LARGEST)
                except BlockingIOError:
                    break
                except OSError:
                    continue
                answer = self.zone.answer(asker.owner, query)
                if answer is not None:
                    _send(asker.udp, answer, sender)
                elif question(query) is None or len(asker.waiting) >= WAITING:
                    _send(asker.udp, refusal(query), sender)
                else:
                    asker.waiting.append((query, sender, trio.current_time()))
                    if asker.asking < ASKING:
                        asker.asking += 1
                        asker.nursery.start_soon(self._forward, asker)

    async def _forward(self, asker: _Asker) -> None:
        """Ask upstream what waits, the oldest first, until nothing does."""
        while asker.waiting:
            async with self._limit:  # in the order of coming: each asker has at most its own share of places before it
                if not asker.waiting:
                    break
                query, sender, since = asker.waiting.popleft()
                late = trio.current_time() > since + PATIENCE  # who asked has given up, or will before the answer
                answer = refusal(query) if late else await self._ask(query, asker.upstreams, stream=False)
                _send(asker.udp, answer, sender)
        asker.asking -= 1

    async def _streams(self, listener: trio.socket.SocketType, asker: _Asker) -> None:
        room = trio.Semaphore(STREAMS)
        while True:
            await room.acquire()  # others wait in the kernel
            try:
                connection, _ = await listener.accept()
            except OSError as error:
                room.release()
                if error.errno in shortages.NO_SOCKET:
                    await trio.sleep(shortages.PAUSE)
                continue
            asker.nursery.start_soon(self._stream, trio.SocketStream(connection), asker, room)

    async def _stream(self, stream: trio.SocketStream, asker: _Asker, room: trio.Semaphore) -> None:
        try:
            async with stream:
                with contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                    with trio.move_on_after(CONNECTED):
                        while (query := await _message(stream, LARGEST)) is not None:
                            self._refresh(asker.owner)
                            answer = self.zone.answer(asker.owner, query, stream=True)
                            if answer is None:
                                async with self._limit:
                                    answer = await self._ask(query, asker.upstreams, stream=True)
                            await stream.send_all(struct.pack(">H", len(answer)) + answer)
        finally:
            room.release()

    async def _ask(self, query: bytes, upstreams: Sequence[str], *, stream: bool) -> bytes:
        asked = question(query)
        if asked is None:
            return refusal(query)
        sent = secrets.token_bytes(2) + query[2:]
        echoes = partial(answers_to, sent, asked)
        for upstream in (upstreams or self.upstreams())[:UPSTREAMS]:
            with contextlib.suppress(OSError, ValueError, trio.TooSlowError, trio.BrokenResourceError):
                with trio.fail_after(PATIENCE):
                    talk = _over_stream if stream else _over_datagrams
                    answer = await talk(upstream, sent, echoes)
                    if answer is not None:
                        return query[:2] + answer[2:]
        return refusal(query)


async def _over_datagrams(upstream: str, query: bytes, echoes: Callable[[bytes], bool]) -> bytes | None:
    """From a socket, and so a port, of its own."""
    family = socket.AF_INET6 if ":" in upstream else socket.AF_INET
    with trio.socket.socket(family, socket.SOCK_DGRAM) as sock:
        await sock.connect((upstream, 53))
        await sock.send(query)
        while not echoes(answer := await sock.recv(65535)):
            pass
        return answer


async def _over_stream(upstream: str, query: bytes, echoes: Callable[[bytes], bool]) -> bytes | None:
    async with await trio.open_tcp_stream(upstream, 53) as stream:
        await stream.send_all(struct.pack(">H", len(query)) + query)
        answer = await _message(stream, STREAM_SIZE)
        return answer if answer and echoes(answer) else None


def _send(udp: socket.socket, data: bytes, to: tuple[object, ...]) -> None:
    with contextlib.suppress(OSError):  # the asker is gone, or does not read
        udp.sendto(data, to)


async def _message(stream: trio.SocketStream, largest: int) -> bytes | None:
    """The next message; None at the end, and of one that is larger."""
    head = await _exactly(stream, 2)
    length = struct.unpack(">H", head)[0] if head else 0
    return await _exactly(stream, length) if head and length <= largest else None


async def _exactly(stream: trio.SocketStream, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        more = await stream.receive_some(count - len(data))
        if not more:
            return None
        data += more
    return data
