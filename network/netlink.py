"""Netlink messages in and out: the only importer of pyroute2, whose message classes encode and decode them.

nftables is encoded by `nftables`, for speed.

The sockets are our own plain AF_NETLINK ones: those of a container were made inside its namespace and arrive as
descriptors, and pyroute2's own sockets bring an asyncio loop each. Several messages go in one datagram; nftables
messages always as one batch, which the kernel takes whole or not at all. Calls block, for microseconds: rtnetlink and
nfnetlink answer within `sendto`. What it does not do: decide anything.

pyroute2's `__init__` imports 370 modules (125 ms); its message classes need a few of them. So the package is entered
without running `__init__`, and its asyncio sockets, which the nftables and conntrack modules import, are left out.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

from pycompose.frozen import dataclass

from .nft import encode
from .nft.rules import IPV4, Kind, Message


def _enter_pyroute2() -> None:
    if "pyroute2" in sys.modules:
        return
    found = importlib.util.find_spec("pyroute2")
    if found is None or found.submodule_search_locations is None:
        raise ImportError("pyroute2 is not installed", name="pyroute2")
    package = ModuleType("pyroute2")
    package.__path__ = list(found.submodule_search_locations)
    package.__spec__ = found
    sockets, core = ModuleType("pyroute2.netlink.nlsocket"), ModuleType("pyroute2.netlink.core")
    sockets.AsyncNetlinkSocket = sockets.NetlinkSocket = core.SyncAPI = object  # type: ignore[attr-defined]
    sys.modules |= {module.__name__: module for module in (package, sockets, core)}


_enter_pyroute2()
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # type: ignore[import-untyped]  # noqa: E402
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # type: ignore[import-untyped]  # noqa: E402
from pyroute2.netlink.rtnl.rtmsg import rtmsg  # type: ignore[import-untyped]  # noqa: E402

REQUEST, ACK, DUMP, EXCL, CREATE, APPEND = 1, 4, 0x300, 0x200, 0x400, 0x800  # linux/netlink.h
NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
NEWLINK, DELLINK, GETLINK, NEWADDR, NEWROUTE, GETROUTE = 16, 17, 18, 20, 24, 26  # linux/rtnetlink.h
NLMSG_ERROR, NLMSG_DONE = 2, 3
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
UP = 1
NODAD = 2  # IFA_F_NODAD: an address of ours is unique, and usable at once
NFT, CONNTRACK = 10 << 8, 1 << 8
GET_TUPLE, DELETE_TUPLE = 1, 2  # linux/netfilter/nfnetlink_conntrack.h
PROTOCOL_NUMBER, DESTINATION_PORT = 1 << 3, 1 << 5  # CTA_FILTER_FLAG of CTA_PROTO_NUM, CTA_PROTO_DST_PORT
PORTS = ("CTA_PROTO_SRC_PORT", "CTA_PROTO_DST_PORT")


@dataclass(frozen=True, slots=True)
class Link:
    index: int
    name: str
    mtu: int


def open_route() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_ROUTE)


def open_netfilter() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)


# --- sending and receiving


def _encoded(message: Any, kind: int, flags: int) -> bytes:
    message["header"]["type"] = kind
    message["header"]["flags"] = flags | REQUEST
    message.encode()
    return bytes(message.data) + bytes(-len(message.data) % 4)


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


def _ask(sock: socket.socket, message: bytes, decoder: Any) -> list[Any]:
    """The decoded answers to a request or a dump. Raises OSError."""
    sock.settimeout(5)
    sock.sendto(message, (0, 0))
    dump = struct.unpack_from("=H", message, 6)[0] & DUMP
    found: list[Any] = []
    while True:
        data = _receive(sock)
        at = 0
        while at + 16 <= len(data):
            length, kind = struct.unpack_from("=IH", data, at)
            if kind == NLMSG_DONE:
                return found
            if kind == NLMSG_ERROR:
                code = -struct.unpack_from("=i", data, at + 16)[0]
                raise OSError(code, os.strerror(code))
            answer = decoder(data[at : at + length])
            answer.decode()
            found.append(answer)
            at += (length + 3) & ~3
        if not dump:
            return found


# --- links, addresses, routes


def _get_link(name: str, index: int) -> bytes:
    wanted = ifinfmsg()
    wanted["index"] = index
    wanted["attrs"] = [("IFLA_IFNAME", name)] if name else []
    return _encoded(wanted, GETLINK, 0)


def link(sock: socket.socket, name: str = "", index: int = 0) -> Link | None:
    """The link with this name, or this index; None when there is none."""
    try:
        (found,) = _ask(sock, _get_link(name, index), ifinfmsg)
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    return Link(found["index"], found.get_attr("IFLA_IFNAME"), found.get_attr("IFLA_MTU"))


def index(sock: socket.socket, name: str) -> int:
    """The index of the link with this name in the socket's namespace. Raises OSError."""
    sock.settimeout(5)
    sock.sendto(_named_mold(len(name)).cast(name.encode()), (0, 0))
    for kind, _, _, payload in _parts(_receive(sock)):
        if kind == NLMSG_ERROR:
            code = -struct.unpack_from("=i", payload)[0]
            raise OSError(code, os.strerror(code))
        return int(struct.unpack_from("=i", payload, 4)[0])  # ifi_index; the attributes are of no interest
    raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))


def _routes(sock: socket.socket) -> list[Any]:
    wanted = rtmsg()
    wanted["family"] = socket.AF_INET
    return _ask(sock, _encoded(wanted, GETROUTE, DUMP), rtmsg)


def routes(sock: socket.socket) -> list[tuple[str, int]]:
    """Every IPv4 destination that the host has a route to, without the default ones, and the index of its link."""
    return [
        (f"{found.get_attr('RTA_DST')}/{found['dst_len']}", found.get_attr("RTA_OIF") or 0)
        for found in _routes(sock)
        if found["dst_len"] and found.get_attr("RTA_DST")
    ]


def uplink_mtu(sock: socket.socket) -> int:
    """The MTU of the link of the default route with the best metric; 1500 without one."""
    ways = [
        (found.get_attr("RTA_PRIORITY") or 0, found.get_attr("RTA_OIF"))
        for found in _routes(sock)
        if found["dst_len"] == 0 and found.get_attr("RTA_OIF")
    ]
    uplink = link(sock, index=min(ways)[1]) if ways else None
    return uplink.mtu if uplink else 1500


def _link(attributes: list[Any], flags: int, *, index: int = 0, up: bool = False, kind: int = NEWLINK) -> bytes:
    message = ifinfmsg()
    message["index"] = index
    if up:
        message["flags"] = message["change"] = UP
    message["attrs"] = attributes
    return _encoded(message, kind, flags | ACK)


def new_bridge(name: str, mtu: int, mac: str) -> bytes:
    """With a MAC of its own, or it would take, and change, that of the lowest port."""
    attributes = [("IFLA_IFNAME", name), ("IFLA_MTU", mtu), ("IFLA_ADDRESS", mac)]
    info = ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]})
    return _link([*attributes, info], CREATE | EXCL)


class Mold:
    """A message that pyroute2 encodes once, with marks where values go; later the marks alone are replaced.

    Each start of a container needs five messages, and pyroute2 1 ms for each.
    """

    def __init__(self, data: bytes, *marks: bytes) -> None:
        self._data, self._places = data, []
        for which, mark in enumerate(marks):
            at = -1
            while (at := data.find(mark, at + 1)) >= 0:
                self._places.append((which, at, len(mark)))
        if {which for which, _, _ in self._places} != set(range(len(marks))):
            raise ValueError("a mark is not in the message")

    def cast(self, *values: bytes) -> bytes:
        made = bytearray(self._data)
        for which, at, length in self._places:
            made[at : at + length] = values[which]
        return bytes(made)


_NUMBERS = (0x7E5A6B01, 0x7E5A6B02)  # marks for numbers of 32 bits
_ADDRESSES = ("126.90.107.11", "126.90.107.12")
_MAC = "7e:5a:6b:21:22:23"


def _name_mark(length: int) -> str:
    return "~" * length


def _word(number: int) -> bytes:
    return struct.pack("=I", number)


_WORDS = tuple(map(_word, _NUMBERS))


@lru_cache
def _named_mold(length: int) -> Mold:
    return Mold(_get_link(_name_mark(length), 0), _name_mark(length).encode())


@lru_cache
def _veth_mold(length: int, peer: str, mtu: int) -> Mold:
    master, netns_fd = _NUMBERS
    inside = [("IFLA_IFNAME", peer), ("IFLA_ADDRESS", _MAC), ("IFLA_MTU", mtu), ("IFLA_NET_NS_FD", netns_fd)]
    data = {"attrs": [("VETH_INFO_PEER", {"attrs": inside})]}
    info = ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data)]})
    outside = [("IFLA_IFNAME", _name_mark(length)), ("IFLA_MTU", mtu), ("IFLA_MASTER", master), info]
    message = _link(outside, CREATE | EXCL, up=True)
    return Mold(message, _name_mark(length).encode(), *_WORDS, _mac(_MAC))


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def new_veth(name: str, master: int, peer: str, netns_fd: int, mac: str, mtu: int) -> bytes:
    """A pair whose peer is born in the namespace of `netns_fd` with its name and address; our end up, in the bridge.

    The peer stays down: the kernel opens it before it has tied the two (`veth_open` without a peer is ENOTCONN).
    """
    return _veth_mold(len(name), peer, mtu).cast(name.encode(), _word(master), _word(netns_fd), _mac(mac))


def set_master(index: int, master: int) -> bytes:
    return _link([("IFLA_MASTER", master)], 0, index=index)


@lru_cache
def _hairpin_mold(length: int) -> Mold:
    data = {"attrs": [("IFLA_BRPORT_MODE", 1)]}
    info = ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", data)]})
    return Mold(_link([("IFLA_IFNAME", _name_mark(length)), info], 0), _name_mark(length).encode())


def hairpin(name: str) -> bytes:
    """Let the bridge send a frame back through the port that it came from."""
    return _hairpin_mold(len(name)).cast(name.encode())


def delete_link(name: str) -> bytes:
    return _link([("IFLA_IFNAME", name)], 0, kind=DELLINK)


@lru_cache
def _up_mold() -> Mold:
    return Mold(_link([], 0, index=_NUMBERS[0], up=True), _WORDS[0])


def link_up(index: int) -> bytes:
    return _up_mold().cast(_word(index))


def _address(index: int, prefix: int, address: str, broadcast: str = "") -> bytes:
    message = ifaddrmsg()
    message["family"] = socket.AF_INET6 if ":" in address else socket.AF_INET
    message["prefixlen"] = prefix
    message["index"] = index
    message["attrs"] = [("IFA_LOCAL", address), ("IFA_ADDRESS", address)]
    if ":" in address:
        message["flags"] = NODAD
    elif broadcast:
        message["attrs"].append(("IFA_BROADCAST", broadcast))
    return _encoded(message, NEWADDR, ACK | CREATE | EXCL)


@lru_cache
def _address_mold(prefix: int) -> Mold:
    """Of an IPv4 address; one of a network of two has no broadcast address (RFC 3021)."""
    address, broadcast = _ADDRESSES
    marks = [socket.inet_aton(address), *([socket.inet_aton(broadcast)] if prefix < 31 else [])]
    return Mold(_address(_NUMBERS[0], prefix, address, broadcast if prefix < 31 else ""), _WORDS[0], *marks)


def new_address(index: int, address: str) -> bytes:
    """`address` with its prefix length."""
    host, _, length = address.partition("/")
    prefix = int(length)
    if ":" in host:
        return _address(index, prefix, host)
    packed = socket.inet_aton(host)
    last = int.from_bytes(packed, "big") | (0xFFFFFFFF >> prefix)
    values = [packed, *([last.to_bytes(4, "big")] if prefix < 31 else [])]
    return _address_mold(prefix).cast(_word(index), *values)


def _route(index: int, gateway: str) -> bytes:
    message = rtmsg()
    message["family"] = socket.AF_INET6 if ":" in gateway else socket.AF_INET
    message["table"], message["proto"], message["scope"], message["type"] = 254, 3, 0, 1  # main, boot, universe
    message["attrs"] = [("RTA_GATEWAY", gateway), ("RTA_OIF", index)]
    return _encoded(message, NEWROUTE, ACK | CREATE | EXCL)


@lru_cache
def _route_mold() -> Mold:
    return Mold(_route(_NUMBERS[0], _ADDRESSES[0]), _WORDS[0], socket.inet_aton(_ADDRESSES[0]))


def default_route(index: int, gateway: str) -> bytes:
    if ":" in gateway:
        return _route(index, gateway)
    return _route_mold().cast(_word(index), socket.inet_aton(gateway))


# --- nftables


@lru_cache(maxsize=4096)
def _rule_message(message: Message, family: int, flags: int) -> bytes:
    return encode.message(NFT | message.kind, flags | REQUEST, family, message.attributes)


def _boundary(kind: int) -> bytes:
    return encode.message(kind, REQUEST, 0, resource=NFT >> 8)


def encode_rules(messages: Sequence[Message], family: int) -> list[bytes]:
    """One nftables batch, of which the last message is acknowledged."""
    batch = [_boundary(0x10)]
    for number, message in enumerate(messages, 1):
        flags = (CREATE | APPEND if message.create else 0) | (ACK if number == len(messages) else 0)
        batch.append(_rule_message(message, family, flags))
    return [*batch, _boundary(0x11)]


def apply_rules(sock: socket.socket, messages: Sequence[Message], family: int) -> None:
    """One nftables transaction: all of `messages` or none. Raises OSError."""
    transact(sock, encode_rules(messages, family))


class Template:
    """A batch that is encoded once: where `marks` (16-bit numbers, in network order) stand, others are put later.

    A container's start costs an encoding of eleven messages otherwise, which is more than all the kernel does.
    """

    def __init__(self, messages: Sequence[Message], family: int, marks: Sequence[int]) -> None:
        self._batch = encode_rules(messages, family)
        self._places: list[tuple[int, int, int]] = []  # which message, where in it, which mark
        for which, data in enumerate(self._batch):
            for number, mark in enumerate(marks):
                at = -1
                while (at := data.find(struct.pack(">H", mark), at + 1)) >= 0:
                    self._places.append((which, at, number))

    def filled(self, values: Sequence[int]) -> list[bytes]:
        batch = [bytearray(data) for data in self._batch]
        for which, at, number in self._places:
            struct.pack_into(">H", batch[which], at, values[number])
        return [bytes(data) for data in batch]


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


def _conntrack_class() -> Any:
    """Imported when it is needed: few ports are udp, and fewer of them change hands."""
    from pyroute2.netlink.nfnetlink.nfctsocket import nfct_msg  # type: ignore[import-untyped]

    return nfct_msg


def _conntrack(kind: int, flags: int, attributes: list[Any]) -> bytes:
    message = _conntrack_class()()
    message["nfgen_family"] = IPV4
    message["attrs"] = attributes
    return _encoded(message, CONNTRACK | kind, flags)


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
    for found in _ask(sock, _conntrack(GET_TUPLE, DUMP, attributes), _conntrack_class()):
        sent, replied = found.get_attr("CTA_TUPLE_ORIG"), found.get_attr("CTA_TUPLE_REPLY")
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
