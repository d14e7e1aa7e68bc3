"""Serves one owner's two DNS sockets, which were made inside its network namespace. Upstream is asked from the host's."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

import trio

from .zone import SERVFAIL, Zone, question, reply


def host_upstreams(path: str = "/etc/resolv.conf") -> tuple[str, ...]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            words = [line.split() for line in file]
    except OSError:
        return ()
    return tuple(w[1] for w in words if len(w) > 1 and w[0] == "nameserver")


class Server:
    def __init__(self, zone: Zone, upstreams: Sequence[str] | None = None) -> None:
        self.zone = zone
        self.upstreams = tuple(host_upstreams() if upstreams is None else upstreams)

    async def serve(self, udp_fd: int, tcp_fd: int, owner: str) -> None:
        """Until cancelled. Takes both descriptors over."""
        udp = trio.socket.from_stdlib_socket(socket.socket(fileno=udp_fd))
        tcp = trio.socket.from_stdlib_socket(socket.socket(fileno=tcp_fd))
        tcp.listen(64)
        with udp, tcp:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._datagrams, udp, owner, nursery)
                await trio.serve_listeners(
                    lambda stream: self._stream(stream, owner), [trio.SocketListener(tcp)], handler_nursery=nursery
                )

    async def _datagrams(self, udp: trio.socket.SocketType, owner: str, nursery: trio.Nursery) -> None:
        limit = trio.CapacityLimiter(256)
        while True:
            try:
                query, sender = await udp.recvfrom(4096)
            except OSError:
                continue
            answer = self.zone.answer(owner, query)
            if answer is not None:
                await _send(udp, answer, sender)
            elif limit.available_tokens:
                nursery.start_soon(self._forward, udp, query, sender, limit)

    async def _forward(
        self, udp: trio.socket.SocketType, query: bytes, sender: object, limit: trio.CapacityLimiter
    ) -> None:
        async with limit:
            await _send(udp, await self._ask(query, stream=False), sender)

    async def _stream(self, stream: trio.SocketStream, owner: str) -> None:
        try:
            with trio.move_on_after(10):
                while (head := await _exactly(stream, 2)) is not None:
                    query = await _exactly(stream, struct.unpack(">H", head)[0])
                    if query is None:
                        return
                    answer = self.zone.answer(owner, query) or await self._ask(query, stream=True)
                    await stream.send_all(struct.pack(">H", len(answer)) + answer)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def _ask(self, query: bytes, *, stream: bool) -> bytes:
        for upstream in self.upstreams:
            family = socket.AF_INET6 if ":" in upstream else socket.AF_INET
            try:
                with trio.fail_after(3):
                    if stream:
                        async with await trio.open_tcp_stream(upstream, 53) as there:
                            await there.send_all(struct.pack(">H", len(query)) + query)
                            head = await _exactly(there, 2)
                            body = head and await _exactly(there, struct.unpack(">H", head)[0])
                            if body:
                                return body
                        continue
                    with trio.socket.socket(family, socket.SOCK_DGRAM) as sock:
                        await sock.connect((upstream, 53))
                        await sock.send(query)
                        while (answer := await sock.recv(65535))[:2] != query[:2]:
                            pass
                        return answer
            except (OSError, trio.TooSlowError, trio.BrokenResourceError):
                continue
        asked = question(query)
        if asked:
            return reply(query, asked[2], SERVFAIL)
        return query[:2] + struct.pack(">HHHHH", 0x8080 | 1, 0, 0, 0, 0)


async def _send(udp: trio.socket.SocketType, data: bytes, to: object) -> None:
    try:
        await udp.sendto(data, to)
    except OSError:
        return  # the asker is gone


async def _exactly(stream: trio.SocketStream, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        more = await stream.receive_some(count - len(data))
        if not more:
            return None
        data += more
    return data
