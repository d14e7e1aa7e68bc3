"""A resolver that serves the DNS sockets made inside containers' namespaces, and asks upstream from the host's.

So a resolver on the host's own 127.0.0.x is reached too. Limits are moby's: three upstreams, four seconds each, 1024
questions under way. An upstream's answer counts only when it repeats our random id and the question.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import struct
from collections.abc import Callable, Sequence
from functools import partial

import trio

from .message import answers_to, question, refusal
from .zone import Zone

UPSTREAMS, IN_FLIGHT, PATIENCE = 3, 1024, 4.0
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
            tcp.listen(64)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._datagrams, udp, owner, upstreams, nursery)

                async def handle(stream: trio.SocketStream) -> None:
                    await self._stream(stream, owner, upstreams)

                listener = trio.SocketListener(trio.socket.from_stdlib_socket(tcp))
                await trio.serve_listeners(handle, [listener], handler_nursery=nursery)

    async def _datagrams(self, udp: socket.socket, owner: str, upstreams: Sequence[str], nursery: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(udp)
            self._refresh(owner)
            for _ in range(BURST):
                try:
                    query, sender = udp.recvfrom(4096)
                except BlockingIOError:
                    break
                except OSError:
                    continue
                answer = self.zone.answer(owner, query)
                if answer is not None:
                    _send(udp, answer, sender)
                elif self._limit.available_tokens:
                    nursery.start_soon(self._forward, udp, query, sender, upstreams)
                else:
                    _send(udp, refusal(query), sender)

    async def _forward(
        self, udp: socket.socket, query: bytes, sender: tuple[object, ...], upstreams: Sequence[str]
    ) -> None:
        async with self._limit:
            _send(udp, await self._ask(query, upstreams, stream=False), sender)

    async def _stream(self, stream: trio.SocketStream, owner: str, upstreams: Sequence[str]) -> None:
        with contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            with trio.move_on_after(30):
                while (head := await _exactly(stream, 2)) is not None:
                    query = await _exactly(stream, struct.unpack(">H", head)[0])
                    if query is None:
                        return
                    self._refresh(owner)
                    answer = self.zone.answer(owner, query, stream=True)
                    if answer is None:
                        async with self._limit:
                            answer = await self._ask(query, upstreams, stream=True)
                    await stream.send_all(struct.pack(">H", len(answer)) + answer)

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
        head = await _exactly(stream, 2)
        answer = await _exactly(stream, struct.unpack(">H", head)[0]) if head else None
        return answer if answer and echoes(answer) else None


def _send(udp: socket.socket, data: bytes, to: tuple[object, ...]) -> None:
    with contextlib.suppress(OSError):  # the asker is gone, or does not read
        udp.sendto(data, to)


async def _exactly(stream: trio.SocketStream, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        more = await stream.receive_some(count - len(data))
        if not more:
            return None
        data += more
    return data
