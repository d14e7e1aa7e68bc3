"""Names as a container's resolver has them, for a thread of this process that is in its network namespace.

The C library asks the servers of this machine's /etc/resolv.conf, whatever namespace a thread is in. So while a thread
is inside, Python's `socket.getaddrinfo` (and what stands on it: http.client, urllib, requests, sockets' connect by
name through `create_connection`) asks the resolver that each container of ours has on 127.0.0.11. Other threads are not
affected. What resolves names by itself, in C or in another thread, is not either.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import Any

RESOLVER = ("127.0.0.11", 53)
PATIENCE, TRIES = 3.0, 2  # seconds for an answer
A, AAAA = 1, 28
KINDS = {A: socket.AF_INET, AAAA: socket.AF_INET6}

_inside = threading.local()
_counting = threading.Lock()
_count = 0
_plain = socket.getaddrinfo


@contextmanager
def resolved() -> Iterator[None]:
    """This thread asks the resolver of the container whose network namespace it is in."""
    global _count, _plain
    with _counting:
        if _count == 0:
            _plain = socket.getaddrinfo
            socket.getaddrinfo = _getaddrinfo
        _count += 1
    depth = getattr(_inside, "depth", 0)
    _inside.depth = depth + 1
    try:
        yield
    finally:
        _inside.depth = depth
        with _counting:
            _count -= 1
            if _count == 0 and socket.getaddrinfo is _getaddrinfo:
                socket.getaddrinfo = _plain


def _getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
    name = host.decode("idna") if isinstance(host, bytes) else host
    if not getattr(_inside, "depth", 0) or not name or _is_address(name) or name == "localhost":
        return _plain(host, port, family, type, proto, flags)
    addresses = [address for kind, of in KINDS.items() if family in (0, of) for address in _ask(name.rstrip("."), kind)]
    if not addresses:
        raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {name}")
    return [entry for address in addresses for entry in _plain(address, port, family, type, proto, flags)]


def _is_address(name: str) -> bool:
    with suppress(ValueError):
        ip_address(name.partition("%")[0])
        return True
    return False


def _ask(name: str, kind: int) -> list[str]:
    """Addresses of a name; none where it has none. Raises socket.gaierror where nobody answers."""
    try:
        labels = [label.encode("idna") for label in name.split(".")]
    except UnicodeError:
        return []
    number = os.urandom(2)
    question = b"".join(bytes([len(label)]) + label for label in labels) + b"\0" + struct.pack(">HH", kind, 1)
    query = number + struct.pack(">HHHHH", 0x0100, 1, 0, 0, 0) + question
    for _ in range(TRIES):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, suppress(TimeoutError):
            udp.settimeout(PATIENCE)
            try:
                udp.connect(RESOLVER)
                udp.send(query)
                answer = udp.recv(4096)
            except TimeoutError:
                raise
            except OSError as error:
                raise socket.gaierror(socket.EAI_AGAIN, f"the container's resolver does not answer: {error}") from error
            if answer[:2] == number:
                return _addresses(_over_tcp(query) if answer[2] & 2 else answer, kind)
    raise socket.gaierror(socket.EAI_AGAIN, "the container's resolver does not answer")


def _over_tcp(query: bytes) -> bytes:
    """The whole of an answer that was cut (RFC 7766)."""
    with socket.create_connection(RESOLVER, PATIENCE) as tcp, tcp.makefile("rb") as stream:
        tcp.sendall(struct.pack(">H", len(query)) + query)
        return stream.read(struct.unpack(">H", stream.read(2))[0])


def _addresses(answer: bytes, kind: int) -> list[str]:
    """Of the records of that kind (RFC 1035); none of an answer that is cut short."""
    addresses: list[str] = []
    with suppress(IndexError, struct.error, ValueError):
        questions, records = struct.unpack_from(">HH", answer, 4)
        at = 12
        for _ in range(questions):
            at = _after_name(answer, at) + 4
        for _ in range(records):
            at = _after_name(answer, at)
            of, _, _, length = struct.unpack_from(">HHIH", answer, at)
            data = answer[at + 10 : at + 10 + length]
            at += 10 + length
            if of == kind:
                addresses.append(str(ip_address(data)))
    return addresses


def _after_name(answer: bytes, at: int) -> int:
    while length := answer[at]:
        if length & 0xC0:
            return at + 2
        at += 1 + length
    return at + 1
