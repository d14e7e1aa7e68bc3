"""Upstreams: who is asked, and which answers are believed. Over the loopback, without root."""

import socket
import struct

import pytest
import trio
from pycompose.network.dns import resolver as dns
from pycompose.network.dns.message import SERVFAIL
from pycompose.network.dns.zone import Zone
from pycompose.network.spec import Endpoint

QUERY = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\7example\3org\0\0\1\0\1"


def the_zone(*, internal: bool = False) -> Zone:
    zone = Zone()
    zone.add_network("front", internal)
    zone.add(Endpoint("front", "a", "eth0", ("10.0.0.2/24",), "", None, ("a",)))
    return zone


async def served(
    nursery: trio.Nursery, resolver: dns.Resolver, upstreams: tuple[str, ...] = ()
) -> trio.socket.SocketType:
    """A client's socket that asks a served one."""
    udp, tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
    udp.bind(("127.0.0.1", 0))
    tcp.bind(("127.0.0.1", 0))
    where = udp.getsockname()
    nursery.start_soon(resolver.serve, udp.detach(), tcp.detach(), "a", upstreams)
    client = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    await client.connect(where)
    return client


async def test_an_answer_counts_only_with_our_id_and_our_question(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    class Upstream:
        """In place of the socket to port 53: says three lies before the truth."""

        def __init__(self, *_: object) -> None:
            self.answers: list[bytes] = []

        def __enter__(self) -> "Upstream":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        async def connect(self, where: tuple[str, int]) -> None:
            assert where == ("192.0.2.53", 53)

        async def send(self, query: bytes) -> None:
            seen.append(query)
            other_id = bytes([query[0] ^ 1]) + query[1:]
            other_name = query.replace(b"example", b"exampel")
            for lie in (other_id, other_name, query):
                self.answers.append(lie[:2] + (b"\x81\x80" if lie is not query else b"\1\0") + lie[4:])
            self.answers.append(query[:2] + b"\x81\x80" + query[4:] + b"truth")

        async def recv(self, _: int) -> bytes:
            return self.answers.pop(0)

    query = b"\1" + QUERY[1:]
    monkeypatch.setattr(trio.socket, "socket", Upstream)
    answer = await dns._over_datagrams("192.0.2.53", query, lambda a: a[:2] == query[:2] and a[12:] != b"")
    assert answer is not None
    resolver = dns.Resolver(the_zone(), ["192.0.2.53"])
    answer = await resolver._ask(QUERY, (), stream=False)
    assert answer == QUERY[:2] + b"\x81\x80" + QUERY[4:] + b"truth"
    first, second = seen[-1], (await resolver._ask(QUERY, (), stream=False), seen[-1])[1]
    assert first[2:] == second[2:] == QUERY[2:]
    assert (first[:2], second[:2]) != (QUERY[:2], QUERY[:2]), "the asker's id is not used"


async def test_three_upstreams_are_asked_in_turn_and_no_fourth(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    asked = []

    async def silent(upstream: str, query: bytes, echoes: object) -> bytes | None:
        asked.append(upstream)
        await trio.sleep_forever()
        return None

    monkeypatch.setattr(dns, "_over_datagrams", silent)
    began = trio.current_time()
    answer = await dns.Resolver(the_zone(), [f"192.0.2.{n}" for n in range(5)])._ask(QUERY, (), stream=False)
    assert answer[3] & 15 == SERVFAIL
    assert asked == ["192.0.2.0", "192.0.2.1", "192.0.2.2"]
    assert trio.current_time() - began == pytest.approx(12)
    asked.clear()
    await dns.Resolver(the_zone(), ["192.0.2.9"])._ask(QUERY, ["192.0.2.77"], stream=False)
    assert asked == ["192.0.2.77"], "a service's own come in place of the host's"


async def test_who_is_on_internal_networks_alone_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> bytes:
        raise AssertionError("an upstream was asked")

    monkeypatch.setattr(dns.Resolver, "_ask", never)
    async with trio.open_nursery() as nursery:
        client = await served(nursery, dns.Resolver(the_zone(internal=True), ["192.0.2.9"]))
        await client.send(QUERY)
        answer = await client.recv(512)
        assert answer[:2] == QUERY[:2]
        assert answer[3] & 15 == 3
        await client.send(QUERY[:12] + b"\1a\0\0\1\0\1")
        assert (await client.recv(512))[-4:] == bytes([10, 0, 0, 2])
        client.close()
        nursery.cancel_scope.cancel()


def asks(number: int) -> bytes:
    """A question for a name outside, with this id."""
    return struct.pack(">H", number) + QUERY[2:]


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Upstreams never answer; what they were asked."""
    asked: list[bytes] = []

    async def never(upstream: str, query: bytes, echoes: object) -> bytes | None:
        asked.append(query)
        await trio.sleep_forever()
        return None

    monkeypatch.setattr(dns, "_over_datagrams", never)
    return asked


async def test_what_a_container_has_under_way_and_queued_is_bounded(
    silent: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "ASKING", 3)
    monkeypatch.setattr(dns, "WAITING", 2)
    async with trio.open_nursery() as nursery:
        client = await served(nursery, dns.Resolver(the_zone(), ["192.0.2.9"]))
        for number in range(7):
            await client.send(asks(number))
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(silent) == 3
        for number in (5, 6):
            answer = await client.recv(512)
            assert answer[:2] == struct.pack(">H", number), "the first that found no room"
            assert answer[3] & 15 == SERVFAIL
        client.close()
        nursery.cancel_scope.cancel()


async def test_what_has_waited_too_long_is_refused_and_not_asked(
    silent: list[bytes], monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(dns, "ASKING", 1)
    async with trio.open_nursery() as nursery:
        client = await served(nursery, dns.Resolver(the_zone(), [f"192.0.2.{n}" for n in range(3)]))
        for number in range(2):
            await client.send(asks(number))
        answers = [(await client.recv(512))[:2] for _ in range(2)]
        assert answers == [b"\0\0", b"\0\1"]
        assert trio.current_time() == pytest.approx(12, abs=0.1)
        assert len(silent) == 3, "upstreams are asked for the first alone"
        client.close()
        nursery.cancel_scope.cancel()


async def test_one_containers_flood_leaves_others_their_turn(
    silent: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "ASKING", 3)
    resolver = dns.Resolver(the_zone(), ["192.0.2.9"])
    resolver._limit.total_tokens = 5
    async with trio.open_nursery() as nursery:
        flooding, other = await served(nursery, resolver), await served(nursery, resolver)
        for number in range(50):
            await flooding.send(asks(number))
        await trio.testing.wait_all_tasks_blocked(0.01)
        await other.send(asks(99))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(silent) == 4
        flooding.close()
        other.close()
        nursery.cancel_scope.cancel()


async def test_what_is_no_question_is_refused_at_once(silent: list[bytes]) -> None:
    async with trio.open_nursery() as nursery:
        client = await served(nursery, dns.Resolver(the_zone(), ["192.0.2.9"]))
        await client.send(b"\7\7rubbish")
        assert (await client.recv(512))[:4] == b"\7\7\x80\x81"
        assert silent == []
        client.close()
        nursery.cancel_scope.cancel()


async def test_a_container_has_so_many_connections_and_others_wait(
    silent: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "STREAMS", 2)
    query = QUERY[:12] + b"\1a\0\0\1\0\1"
    framed = struct.pack(">H", len(query)) + query
    with socket.socket() as tcp:
        tcp.bind(("127.0.0.1", 0))
        where = tcp.getsockname()
        async with trio.open_nursery() as nursery:
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            nursery.start_soon(dns.Resolver(the_zone(), []).serve, udp.detach(), tcp.detach(), "a")
            await trio.testing.wait_all_tasks_blocked(0.01)
            streams = [await trio.open_tcp_stream(*where) for _ in range(3)]
            for stream in streams:
                await stream.send_all(framed)
            for stream in streams[:2]:
                assert (await stream.receive_some(512))[-4:] == bytes([10, 0, 0, 2])
            with trio.move_on_after(0.05) as waited:
                await streams[2].receive_some(512)
            assert waited.cancelled_caught
            await streams[0].aclose()
            assert (await streams[2].receive_some(512))[-4:] == bytes([10, 0, 0, 2])
            await streams[1].send_all(b"\xff\xff")
            assert await streams[1].receive_some(512) == b"", "no question is so long"
            for stream in streams:
                await stream.aclose()
            nursery.cancel_scope.cancel()
