"""Relays over the loopback: who holds a port, to whom connections and datagrams go, and what comes back."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import trio
from pycompose.network.errors import NetworkError
from pycompose.network.relay import hold, holder_of, relay
from pycompose.network.spec import BoundPort, Publication

LOCAL = "127.0.0.1"


@pytest.fixture
def held() -> Iterator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    yield sockets
    for sock in sockets:
        sock.close()


def test_a_port_that_is_held_is_refused_to_others_and_names_its_holder(held: list[socket.socket]) -> None:
    held += hold(LOCAL, 0, "tcp")
    port = held[0].getsockname()[1]
    assert hold(LOCAL, port, "tcp") == []
    assert holder_of(LOCAL, port, "tcp").endswith(f"pid {os.getpid()}")
    held += hold(LOCAL, port, "udp")
    assert len(held) == 2, "tcp and udp do not meet"


def test_every_address_is_held_on_one_port_of_both_families(held: list[socket.socket]) -> None:
    held += hold(None, 0, "tcp")
    assert {sock.getsockname()[1] for sock in held} == {held[0].getsockname()[1]}
    families = [sock.family for sock in held]
    assert families[0] == socket.AF_INET
    assert families[1:] == ([socket.AF_INET6] if os.path.exists("/proc/net/if_inet6") else families[1:])


def test_half_of_a_port_is_not_held(held: list[socket.socket]) -> None:
    """A port of which another has the IPv6 side only is another's."""
    if not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("this host has no IPv6")
    other = socket.socket(socket.AF_INET6)
    held.append(other)
    other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    other.bind(("::", 0))
    other.listen(1)
    port = other.getsockname()[1]
    assert hold(None, port, "tcp") == []
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", port))


def test_an_address_that_the_host_has_not_is_an_error_in_words() -> None:
    with pytest.raises(NetworkError, match=r"cannot listen on port 80/tcp of 192\.0\.2\.77: ") as caught:
        hold("192.0.2.77", 80, "tcp")
    assert caught.value.hint == "the host has no such address"


def test_nobody_holds_a_port_that_is_free(held: list[socket.socket]) -> None:
    held += hold(LOCAL, 0, "tcp")
    port = held.pop()
    number = port.getsockname()[1]
    port.close()
    assert holder_of(LOCAL, number, "tcp") == ""


# --- relaying


class Relayed:
    """A port that is relayed to backends, each an address of the loopback with one server on one port."""

    def __init__(self, where: tuple[str, int], target: int, backends: list[str]) -> None:
        self.where, self.target, self.backends = where, target, backends


@contextlib.asynccontextmanager
async def relayed(protocol: str, *replicas: str) -> AsyncIterator[Relayed]:
    """The replicas answer with their own address, and give back what they get."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    async with trio.open_nursery() as nursery:
        target = 0
        for address in replicas or (LOCAL,):
            sock = trio.socket.socket(socket.AF_INET, kind)
            await sock.bind((address, target))
            target = sock.getsockname()[1]
            if protocol == "tcp":
                sock.listen()
                nursery.start_soon(_stream_server, sock, address, nursery)
            else:
                nursery.start_soon(_datagram_server, sock, address)
        sockets = hold(LOCAL, 0, protocol)
        port = sockets[0].getsockname()[1]
        publication = Publication("p/web", LOCAL, port, port, protocol, target)  # type: ignore[arg-type]
        made = Relayed((LOCAL, port), target, list(replicas))
        nursery.start_soon(relay, BoundPort(publication, LOCAL, port), sockets, lambda: made.backends)
        yield made
        nursery.cancel_scope.cancel()


async def _stream_server(listener: trio.socket.SocketType, name: str, nursery: trio.Nursery) -> None:
    async def serve(client: trio.socket.SocketType) -> None:
        with client:
            await client.send(name.encode() + b" ")
            while data := await client.recv(1 << 16):
                await client.send(data)
            await client.send(b" end")

    with listener:
        while True:
            client, _ = await listener.accept()
            nursery.start_soon(serve, client)


async def _datagram_server(sock: trio.socket.SocketType, name: str) -> None:
    with sock:
        while True:
            data, sender = await sock.recvfrom(1 << 16)
            await sock.sendto(name.encode() + b" " + data, sender)


async def talk(where: tuple[str, int], *said: bytes) -> bytes:
    """What comes back until the other end closes, after ours has sent all and said so."""
    with trio.fail_after(5), trio.socket.socket() as sock:
        await sock.connect(where)
        for data in said:
            await sock.send(data)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while data := await sock.recv(1 << 16):
            answer += data
        return answer


async def test_connections_go_to_each_replica_in_turn() -> None:
    async with relayed("tcp", "127.0.0.2", "127.0.0.3") as port:
        answers = [(await talk(port.where)).split()[0] for _ in range(4)]
        assert sorted(answers) == [b"127.0.0.2"] * 2 + [b"127.0.0.3"] * 2
        assert answers[0] != answers[1]


async def test_the_end_of_what_one_side_says_reaches_the_other_which_may_go_on() -> None:
    async with relayed("tcp", "127.0.0.2") as port:
        assert await talk(port.where, b"one ", b"two") == b"127.0.0.2 one two end"


async def test_backends_are_asked_for_at_each_connection() -> None:
    async with relayed("tcp", "127.0.0.2", "127.0.0.3") as port:
        port.backends[:] = ["127.0.0.3"]
        assert [(await talk(port.where)).split()[0] for _ in range(2)] == [b"127.0.0.3"] * 2


async def test_a_connection_without_a_replica_is_reset_and_the_next_is_served() -> None:
    async with relayed("tcp", "127.0.0.2") as port:
        backends, port.backends[:] = list(port.backends), []
        with pytest.raises(ConnectionResetError):
            await talk(port.where)
        port.backends[:] = ["127.0.0.9"]  # nobody listens there
        with pytest.raises(ConnectionResetError):
            await talk(port.where)
        port.backends[:] = backends
        assert (await talk(port.where)).startswith(b"127.0.0.2")


async def test_a_replica_that_takes_no_connection_ends_that_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container listens and never accepts: the kernel drops what comes once its queue is full."""
    monkeypatch.setattr("pycompose.network.relay.PATIENCE", 0.05)
    with contextlib.ExitStack() as filling:
        async with relayed("tcp", "127.0.0.2") as port:
            deaf = filling.enter_context(socket.socket())
            deaf.bind(("127.0.0.9", port.target))
            deaf.listen(0)
            for _ in range(8):
                caller = filling.enter_context(socket.socket())
                caller.setblocking(False)
                caller.connect_ex(deaf.getsockname())
            backends, port.backends[:] = list(port.backends), ["127.0.0.9"]
            with pytest.raises(ConnectionResetError):
                await talk(port.where)
            port.backends[:] = backends
            assert (await talk(port.where)).startswith(b"127.0.0.2")


async def test_so_many_connections_at_once_are_relayed_and_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pycompose.network.relay.CONNECTIONS", 2)
    async with relayed("tcp", "127.0.0.2") as port:
        with trio.socket.socket() as one, trio.socket.socket() as two, trio.socket.socket() as three:
            for sock in (one, two):
                await sock.connect(port.where)
                assert await sock.recv(10) == b"127.0.0.2 "
            await three.connect(port.where)
            await trio.testing.wait_all_tasks_blocked(0.01)
            with pytest.raises(trio.TooSlowError), trio.fail_after(0.1):
                await three.recv(10)
            one.close()
            with trio.fail_after(60):
                assert await three.recv(10) == b"127.0.0.2 "


async def ask(sock: trio.socket.SocketType, data: bytes = b"?") -> bytes:
    with trio.fail_after(5):
        await sock.send(data)
        return await sock.recv(1 << 16)


async def sender(where: tuple[str, int]) -> trio.socket.SocketType:
    sock = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    await sock.connect(where)
    return sock


async def test_a_sender_of_datagrams_keeps_its_replica_and_another_gets_the_next() -> None:
    async with relayed("udp", "127.0.0.2", "127.0.0.3") as port:
        with await sender(port.where) as one, await sender(port.where) as two:
            first, second = await ask(one, b"1"), await ask(two, b"2")
            assert {first, second} in ({b"127.0.0.2 1", b"127.0.0.3 2"}, {b"127.0.0.3 1", b"127.0.0.2 2"})
            assert await ask(one, b"1") == first
            assert await ask(two, b"2") == second


async def test_datagrams_without_a_replica_are_dropped_and_the_next_are_relayed() -> None:
    async with relayed("udp", "127.0.0.2") as port:
        backends, port.backends[:] = list(port.backends), []
        with await sender(port.where) as one:
            await one.send(b"lost")
            await trio.testing.wait_all_tasks_blocked(0.01)
            port.backends[:] = backends
            assert await ask(one, b"kept") == b"127.0.0.2 kept"
