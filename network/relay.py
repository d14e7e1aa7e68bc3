"""Relays of published ports: sockets that hold a port of the host, and serve whom the firewall does not translate.

The sockets reserve the port against other programs, and are what is reached over IPv6, ::1 included: the firewall
sends IPv4 to the replicas in the kernel, and this relays the rest to them over IPv4. What it does not do: choose who
is a replica.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from itertools import count

import trio
from pycompose import shortages

from .errors import NetworkError
from .spec import BoundPort

Backends = Callable[[], Sequence[str]]
IDLE = 60.0  # seconds after which a sender of datagrams is forgotten
SENDERS = 1024
CONNECTIONS = 1024  # at once, of each address that a port is held on: all of a project share one supervisor
PATIENCE = 30.0  # seconds for a replica to take a connection
NO_LINGER = b"\1\0\0\0\0\0\0\0"  # struct linger: closing resets


# --- holding


def hold(host_ip: str | None, port: int, protocol: str) -> list[socket.socket]:
    """Sockets that hold the port, [] when another has it. Raises NetworkError when the address cannot be had."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with contextlib.ExitStack() as undo:
        held: list[socket.socket] = []
        for address in (host_ip,) if host_ip else ("0.0.0.0", "::"):
            six = ":" in address
            try:
                sock = undo.enter_context(socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind))
                if kind == socket.SOCK_STREAM:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if six:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind((address, port))
                if kind == socket.SOCK_STREAM:
                    sock.listen(1024)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return []
                if six and not host_ip:
                    continue  # no IPv6 on this host
                hint = "the host has no such address" if error.errno == errno.EADDRNOTAVAIL else ""
                why = error.strerror or str(error)
                raise NetworkError(f"cannot listen on port {port}/{protocol} of {address}: {why}", hint=hint) from error
            sock.setblocking(False)
            held.append(sock)
            port = sock.getsockname()[1]
        undo.pop_all()
        return held


def holder_of(host_ip: str | None, port: int, protocol: str) -> str:
    """Who has the port, in words: `process dnsmasq, pid 812`; "" when it cannot be told."""
    inodes = set()
    for name in (protocol, protocol + "6"):
        with contextlib.suppress(OSError), open(f"/proc/net/{name}", encoding="ascii") as file:
            for line in list(file)[1:]:
                words = line.split()
                free = protocol == "tcp" and words[3] != "0A"  # TCP_LISTEN
                if int(words[1].rpartition(":")[2], 16) == port and not free:
                    inodes.add(f"socket:[{words[9]}]")
    for pid in filter(str.isdigit, os.listdir("/proc")) if inodes else ():
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{fd}") in inodes:
                    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                        return f"process {file.read().strip()}, pid {pid}"
    return ""


# --- relaying


async def relay(published: BoundPort, sockets: Sequence[socket.socket], backends: Backends) -> None:
    """Serve the held sockets until cancelled, by the backends at the time of each connection. Closes them."""
    turn = count()
    target = published.publication.target

    def choose() -> tuple[str, int] | None:
        addresses = backends()
        return (addresses[next(turn) % len(addresses)], target) if addresses else None

    async with trio.open_nursery() as nursery:
        for sock in sockets:
            served = _datagrams if published.publication.protocol == "udp" else _streams
            nursery.start_soon(served, trio.socket.from_stdlib_socket(sock), choose)


Choose = Callable[[], tuple[str, int] | None]


async def _streams(listener: trio.socket.SocketType, choose: Choose) -> None:
    room = trio.Semaphore(CONNECTIONS)
    with listener:
        async with trio.open_nursery() as nursery:
            while True:
                await room.acquire()  # others wait in the kernel
                try:
                    client, _ = await listener.accept()
                except OSError as error:
                    room.release()
                    if error.errno in shortages.NO_SOCKET:
                        await trio.sleep(shortages.PAUSE)
                    continue
                nursery.start_soon(_stream, client, choose, room)


async def _stream(client: trio.socket.SocketType, choose: Choose, room: trio.Semaphore) -> None:
    try:
        with client, contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)  # until there is someone to talk to
            replica = await _connected(choose())
            if replica is None:
                return
            with replica:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes(8))
                for end in (client, replica):  # one that is gone without a word does not hold its room for ever
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, int(IDLE))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_pump, client, replica)
                    nursery.start_soon(_pump, replica, client)
    finally:
        room.release()


async def _connected(where: tuple[str, int] | None) -> trio.socket.SocketType | None:
    """A connection to a replica; None where there is no replica, or one that takes none. Raises OSError."""
    if where is None:
        return None
    family = socket.AF_INET6 if ip_address(where[0]).version == 6 else socket.AF_INET
    with contextlib.ExitStack() as undo:
        replica = undo.enter_context(trio.socket.socket(family, socket.SOCK_STREAM))
        with trio.move_on_after(PATIENCE):
            await replica.connect(where)
            undo.pop_all()
            return replica
    return None


async def _pump(source: trio.socket.SocketType, sink: trio.socket.SocketType) -> None:
    """What waits for its next bytes holds no buffer for them."""
    try:
        while data := await source.recv(1 << 16):
            left = memoryview(data)
            while left:
                left = left[await sink.send(left) :]
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


async def _datagrams(listener: trio.socket.SocketType, choose: Choose) -> None:
    """Each sender has a socket of its own towards a replica, by which the answers are known to be its."""
    senders: dict[tuple[object, ...], trio.socket.SocketType] = {}

    async def answers(sender: tuple[object, ...], replica: trio.socket.SocketType) -> None:
        try:
            with replica, contextlib.suppress(OSError):
                while True:
                    with trio.fail_after(IDLE):
                        data = await replica.recv(1 << 16)
                    await listener.sendto(data, sender)
        except trio.TooSlowError:
            pass
        finally:
            senders.pop(sender, None)

    with listener:
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    data, sender = await listener.recvfrom(1 << 16)
                except OSError:
                    continue
                replica = senders.get(sender)
                if replica is None:
                    where = choose()
                    if where is None or len(senders) >= SENDERS:
                        continue
                    try:
                        replica = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    except OSError:
                        continue  # there is no descriptor for it: it is lost, as datagrams are
                    with contextlib.suppress(OSError):
                        await replica.connect(where)
                    senders[sender] = replica
                    nursery.start_soon(answers, sender, replica)
                with contextlib.suppress(OSError):
                    await replica.send(data)
