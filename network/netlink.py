"""Netlink sockets: messages out as one datagram, acknowledgements and answers in. The only importer of pyroute2.

What every start needs is encoded by `rtnetlink` and `nft.encode`, which tests hold against pyroute2; what is rare
(connections that are forgotten) is encoded and decoded by pyroute2, imported whole when it is first needed: it takes
120 ms and 30 MB, more than a supervisor without it.

The sockets are our own plain AF_NETLINK ones: those of a container were made inside its namespace and arrive as
descriptors, and pyroute2's own sockets bring an asyncio loop each. nftables messages go as one batch, which the kernel
takes whole or not at all. Calls block, for microseconds: rtnetlink and nfnetlink answer within `sendto`. What it does
not do: decide anything.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from . import rtnetlink
from .nft import encode
from .nft.rules import IPV4, Kind, Message
from .rtnetlink import ACK, CREATE, DUMP, REQUEST, Link

Answer = TypeVar("Answer")

APPEND = 0x800  # linux/netlink.h
NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
NLMSG_ERROR, NLMSG_DONE = 2, 3
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
NFT, CONNTRACK = 10 << 8, 1 << 8
GET_TUPLE, DELETE_TUPLE = 1, 2  # linux/netfilter/nfnetlink_conntrack.h
PROTOCOL_NUMBER, DESTINATION_PORT = 1 << 3, 1 << 5  # CTA_FILTER_FLAG of CTA_PROTO_NUM, CTA_PROTO_DST_PORT
PORTS = ("CTA_PROTO_SRC_PORT", "CTA_PROTO_DST_PORT")


def open_route() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_ROUTE)


def open_netfilter() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)


# --- sending and receiving


def transact(sock: socket.socket, messages: Sequence[bytes]) -> None:
    """Send `messages` as one datagram; return when all that ask for it are acknowledged.

    Raises OSError of the first that failed, with the kernel's own words where it has any.
    """
    data, waiting = bytearray(), set()
    for number, message in enumerate(messages, 1):
        if struct.unpack_from("=H", message, 6)[0] & ACK:
            waiting.add(number)
        at = len(data)
        data += message
        struct.pack_into("=I", data, at + 8, number)
    sock.settimeout(5)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
    sock.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
    sock.sendto(data, (0, 0))
    while waiting:
        for kind, flags, number, payload in _parts(_receive(sock)):
            if kind != NLMSG_ERROR:
                continue
            (code,) = struct.unpack_from("=i", payload)
            if code:
                _drain(sock)
                raise OSError(-code, _words(flags, payload) or os.strerror(-code))
            waiting.discard(number)


def _receive(sock: socket.socket) -> bytes:
    try:
        return sock.recv(1 << 17)
    except TimeoutError as error:
        raise OSError(errno.ETIMEDOUT, "the kernel did not answer over netlink") from error


def _words(flags: int, payload: bytes) -> str:
    """NLMSGERR_ATTR_MSG, behind the error code and the header of the message that failed (NLM_F_ACK_TLVS)."""
    at = 20
    while flags & 0x200 and at + 4 <= len(payload):
        length, kind = struct.unpack_from("=HH", payload, at)
        if kind & 0x3FFF == 1:
            return payload[at + 4 : at + length].rstrip(b"\0").decode(errors="replace")
        at += max(4, (length + 3) & ~3)
    return ""


def _drain(sock: socket.socket) -> None:
    sock.settimeout(0)
    try:
        while True:
            sock.recv(1 << 17)
    except BlockingIOError:
        return


def _parts(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    at = 0
    while at + 16 <= len(data):
        length, kind, flags, number, _port = struct.unpack_from("=IHHII", data, at)
        yield kind, flags, number, data[at + 16 : at + length]
        at += (length + 3) & ~3


def _ask(sock: socket.socket, message: bytes, read: Callable[[bytes], Answer]) -> list[Answer]:
    """The answers to a request or a dump, each whole message as `read` makes of it. Raises OSError."""
    sock.settimeout(5)
    sock.sendto(message, (0, 0))
    dump = struct.unpack_from("=H", message, 6)[0] & DUMP
    answers: list[Answer] = []
    while True:
        data = _receive(sock)
        at = 0
        while at + 16 <= len(data):
            length, kind = struct.unpack_from("=IH", data, at)
            if kind == NLMSG_DONE:
                return answers
            if kind == NLMSG_ERROR:
                code = -struct.unpack_from("=i", data, at + 16)[0]
                raise OSError(code, os.strerror(code))
            answers.append(read(data[at : at + length]))
            at += (length + 3) & ~3
        if not dump:
            return answers


# --- links and routes


def link(sock: socket.socket, name: str = "", index: int = 0) -> Link | None:
    """The link with this name, or this index; None when there is none. Raises OSError."""
    try:
        (answer,) = _ask(sock, rtnetlink.get_link(name, index), lambda data: rtnetlink.as_link(data[16:]))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    return answer


def index(sock: socket.socket, name: str) -> int:
    """The index of the link with this name in the socket's namespace. Raises OSError."""
    if (there := link(sock, name)) is None:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    return there.index


def _routes(sock: socket.socket) -> list[rtnetlink.Route]:
    return _ask(sock, rtnetlink.get_routes(), lambda data: rtnetlink.as_route(data[16:]))


def routes(sock: socket.socket) -> list[tuple[str, int]]:
    """Every IPv4 destination that the host has a route to, without the default ones, and the index of its link."""
    return [(route.destination, route.link) for route in _routes(sock) if route.destination]


def uplink_mtu(sock: socket.socket) -> int:
    """The MTU of the link of the default route with the best metric, in bytes; 1500 without one."""
    ways = [(route.metric, route.link) for route in _routes(sock) if not route.destination and route.link]
    uplink = link(sock, index=min(ways)[1]) if ways else None
    return uplink.mtu if uplink else 1500


# --- nftables


@lru_cache(maxsize=4096)
def _rule_message(message: Message, family: int, flags: int) -> bytes:
    return encode.message(NFT | message.kind, flags | REQUEST, family, message.attributes)


def _boundary(kind: int) -> bytes:
    return encode.message(kind, REQUEST, 0, resource=NFT >> 8)


def encode_rules(messages: Sequence[Message], family: int) -> list[bytes]:
    """nftables messages one by one, without what makes a batch of them."""
    return [_rule_message(message, family, CREATE | APPEND if message.create else 0) for message in messages]


def batch(messages: Sequence[bytes]) -> list[bytes]:
    """One nftables batch, of which the last message is acknowledged."""
    last = bytearray(messages[-1])
    (flags,) = struct.unpack_from("=H", last, 6)
    struct.pack_into("=H", last, 6, flags | ACK)
    return [_boundary(0x10), *messages[:-1], bytes(last), _boundary(0x11)]


def apply_rules(sock: socket.socket, messages: Sequence[bytes]) -> None:
    """One nftables transaction: all of `messages` or none. Raises OSError."""
    transact(sock, batch(messages))


class Template:
    """Messages that are encoded once: where `marks` stand, values of the same length are put later.

    A container's start costs an encoding of eleven messages otherwise, which is more than all the kernel does.
    """

    def __init__(self, messages: Sequence[Message], family: int, marks: Sequence[bytes]) -> None:
        self._messages = encode_rules(messages, family)
        self._places: list[tuple[int, int, int]] = []  # which message, where in it, which mark
        for which, data in enumerate(self._messages):
            for number, mark in enumerate(marks):
                at = -1
                while (at := data.find(mark, at + 1)) >= 0:
                    self._places.append((which, at, number))

    def filled(self, values: Sequence[bytes]) -> list[bytes]:
        messages = [bytearray(data) for data in self._messages]
        for which, at, number in self._places:
            messages[which][at : at + len(values[number])] = values[number]
        return [bytes(data) for data in messages]


def has_chain(sock: socket.socket, table: str, chain: str, family: int) -> bool:
    attributes = (("NFTA_CHAIN_TABLE", table), ("NFTA_CHAIN_NAME", chain))
    try:
        transact(sock, [_rule_message(Message(Kind.GET_CHAIN, attributes, "", False), family, ACK)])
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


# --- connections


def _tracked() -> Any:
    """pyroute2's class of conntrack messages."""
    from pyroute2.netlink.nfnetlink.nfctsocket import nfct_msg  # type: ignore[import-untyped]

    return nfct_msg


def _read_tracked(data: bytes) -> Any:
    message = _tracked()(data)
    message.decode()
    return message


def _conntrack(kind: int, flags: int, attributes: list[Any]) -> bytes:
    message = _tracked()()
    message["nfgen_family"] = IPV4
    message["attrs"] = attributes
    message["header"]["type"] = CONNTRACK | kind
    message["header"]["flags"] = flags | REQUEST
    message.encode()
    return bytes(message.data) + bytes(-len(message.data) % 4)


def forget_connections(sock: socket.socket, address: str, protocol: int, port: int) -> None:
    """Delete what is tracked from `port` of the host to `address`: the sender's next packet is a new connection.

    The kernel looks for protocol and port (CTA_FILTER, from 5.8; before, it gives all). Raises OSError.
    """
    wanted = {"attrs": [("CTA_PROTO_NUM", protocol), ("CTA_PROTO_SRC_PORT", 0), ("CTA_PROTO_DST_PORT", port)]}
    addresses = {"attrs": [("CTA_IP_V4_SRC", "0.0.0.0"), ("CTA_IP_V4_DST", "0.0.0.0")]}
    attributes = [
        ("CTA_TUPLE_ORIG", {"attrs": [("CTA_TUPLE_IP", addresses), ("CTA_TUPLE_PROTO", wanted)]}),
        ("CTA_FILTER", {"attrs": [("CTA_FILTER_ORIG_FLAGS", PROTOCOL_NUMBER | DESTINATION_PORT)]}),
    ]
    gone = []
    for entry in _ask(sock, _conntrack(GET_TUPLE, DUMP, attributes), _read_tracked):
        sent, replied = entry.get_attr("CTA_TUPLE_ORIG"), entry.get_attr("CTA_TUPLE_REPLY")
        ports = sent.get_attr("CTA_TUPLE_PROTO")
        if (
            replied.get_attr("CTA_TUPLE_IP").get_attr("CTA_IP_V4_SRC") == address
            and ports.get_attr("CTA_PROTO_NUM") == protocol
            and ports.get_attr("CTA_PROTO_DST_PORT") == port
        ):
            ends = sent.get_attr("CTA_TUPLE_IP")
            parts = [
                ("CTA_TUPLE_IP", {"attrs": [(n, ends.get_attr(n)) for n in ("CTA_IP_V4_SRC", "CTA_IP_V4_DST")]}),
                (
                    "CTA_TUPLE_PROTO",
                    {"attrs": [(n, ports.get_attr(n)) for n in ("CTA_PROTO_NUM", *PORTS)]},
                ),
            ]
            gone.append(_conntrack(DELETE_TUPLE, ACK, [("CTA_TUPLE_ORIG", {"attrs": parts})]))
    for message in gone:
        with contextlib.suppress(OSError):  # it has just ended by itself
            transact(sock, [message])
