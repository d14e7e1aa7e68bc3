"""Netlink messages in and out: several messages in one datagram, acknowledged together.

Sockets are plain AF_NETLINK ones, because those of a container were made inside its namespace and arrive as
descriptors. Calls block, for microseconds: rtnetlink and nfnetlink answer within `sendto`. Sources:
linux/netlink.h, rtnetlink.h, if_link.h, netfilter/nf_tables.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, ip_address

from .rules import Attribute, Message

REQUEST, ACK, DUMP, EXCL, CREATE, APPEND = 1, 4, 0x300, 0x200, 0x400, 0x800
NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
NEWLINK, DELLINK, GETLINK, NEWADDR, NEWROUTE, GETROUTE = 16, 17, 18, 20, 24, 26
UP = 1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_FD = 1, 3, 4, 10, 18, 28
NFT = 10 << 8

Raw = tuple[int, int, bytes]  # type, flags, payload


def open_route() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_ROUTE)


def open_netfilter() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)


def encode(attributes: Iterable[Attribute]) -> bytes:
    out = bytearray()
    for kind, value in attributes:
        if not isinstance(value, bytes):
            value, kind = encode(value), kind | 0x8000
        out += struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
    return bytes(out)


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def u32(value: int) -> bytes:
    return struct.pack("=I", value)


def transact(sock: socket.socket, messages: Sequence[Raw]) -> None:
    """Send `messages` as one datagram; return when all are acknowledged. Raises OSError of the first that failed."""
    data = bytearray()
    waiting = set()
    for number, (kind, flags, payload) in enumerate(messages, 1):
        data += struct.pack("=IHHII", 16 + len(payload), kind, flags | REQUEST, number, 0)
        data += payload + bytes(-len(payload) % 4)
        if flags & ACK:
            waiting.add(number)
    sock.settimeout(5)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.sendto(bytes(data), (0, 0))
    failed = 0
    while waiting:
        for kind, number, payload in _parts(sock.recv(1 << 17)):
            if kind != 2:  # NLMSG_ERROR
                continue
            (code,) = struct.unpack_from("=i", payload)
            if code and (failed == 0):
                failed = -code
            waiting.discard(number)
        if failed:
            break
    if failed:
        _drain(sock)
        raise OSError(failed, os.strerror(failed))


def _drain(sock: socket.socket) -> None:
    sock.settimeout(0)
    try:
        while True:
            sock.recv(1 << 17)
    except BlockingIOError:
        return


def _parts(data: bytes) -> Iterable[tuple[int, int, bytes]]:
    at = 0
    while at + 16 <= len(data):
        length, kind, _flags, number, _pid = struct.unpack_from("=IHHII", data, at)
        yield kind, number, data[at + 16 : at + length]
        at += (length + 3) & ~3


def _dump(sock: socket.socket, kind: int, payload: bytes) -> list[bytes]:
    sock.settimeout(5)
    sock.sendto(struct.pack("=IHHII", 16 + len(payload), kind, REQUEST | DUMP, 1, 0) + payload, (0, 0))
    found = []
    while True:
        for got, _number, body in _parts(sock.recv(1 << 17)):
            if got == 3:  # NLMSG_DONE
                return found
            if got == 2:
                code = -struct.unpack_from("=i", body)[0]
                raise OSError(code, os.strerror(code))
            found.append(body)


def _attributes(data: bytes, at: int) -> dict[int, bytes]:
    found = {}
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def routes(sock: socket.socket) -> list[str]:
    """Every IPv4 destination that the host has a route to, without the default ones."""
    found = []
    for body in _dump(sock, GETROUTE, struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)):
        destination = _attributes(body, 12).get(1)
        if body[1] and destination:
            found.append(str(IPv4Network((int.from_bytes(destination, "big"), body[1]))))
    return found


def links(sock: socket.socket) -> dict[str, tuple[int, int]]:
    """Every link: name -> (index, mtu)."""
    found = {}
    for body in _dump(sock, GETLINK, bytes(16)):
        attributes = _attributes(body, 16)
        name = attributes[IFLA_IFNAME].rstrip(b"\0").decode()
        found[name] = (struct.unpack_from("=i", body, 4)[0], struct.unpack("=I", attributes[IFLA_MTU])[0])
    return found


def uplink_mtu(sock: socket.socket) -> int:
    """The MTU of the link of the default route; 1500 without one."""
    by_index = dict(links(sock).values())
    for body in _dump(sock, GETROUTE, struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)):
        oif = _attributes(body, 12).get(4)
        if body[1] == 0 and oif:
            return by_index.get(struct.unpack("=I", oif)[0], 1500)
    return 1500


def _link(attributes: Iterable[Attribute], index: int = 0, up: bool = True) -> bytes:
    flags = UP if up else 0
    return struct.pack("=BxHiII", 0, 0, index, flags, flags) + encode(attributes)


def new_bridge(name: str, mtu: int) -> Raw:
    info: Attribute = (IFLA_LINKINFO, ((1, text("bridge")),))
    return NEWLINK, ACK | CREATE | EXCL, _link([(IFLA_IFNAME, text(name)), (IFLA_MTU, u32(mtu)), info])


def new_veth(name: str, master: int, peer: str, peer_index: int, netns_fd: int, mac: str, mtu: int) -> Raw:
    """A pair whose peer is born in the namespace of `netns_fd`, with its index, name and address; our end up.

    The peer stays down: the kernel opens it before it has tied the two (`veth_open` without a peer is ENOTCONN).
    """
    hardware = bytes.fromhex(mac.replace(":", ""))
    inner = _link(
        [
            (IFLA_IFNAME, text(peer)),
            (IFLA_ADDRESS, hardware),
            (IFLA_MTU, u32(mtu)),
            (IFLA_NET_NS_FD, u32(netns_fd)),
        ],
        peer_index,
        up=False,
    )
    info: Attribute = (IFLA_LINKINFO, ((1, text("veth")), (2, ((1, inner),))))
    return (
        NEWLINK,
        ACK | CREATE | EXCL,
        _link([(IFLA_IFNAME, text(name)), (IFLA_MTU, u32(mtu)), (IFLA_MASTER, u32(master)), info]),
    )


def delete_link(name: str) -> Raw:
    return DELLINK, ACK, _link([(IFLA_IFNAME, text(name))], up=False)


def link_up(index: int) -> Raw:
    return NEWLINK, ACK, _link([], index)


def new_address(index: int, address: str, prefix: int) -> Raw:
    packed = ip_address(address).packed
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    attributes: list[Attribute] = [(2, packed), (1, packed)]
    if family == socket.AF_INET and prefix < 31:
        attributes.append((4, IPv4Network(f"{address}/{prefix}", strict=False).broadcast_address.packed))
    return NEWADDR, ACK | CREATE | EXCL, struct.pack("=BBBBI", family, prefix, 0, 0, index) + encode(attributes)


def default_route(index: int, gateway: str) -> Raw:
    packed = ip_address(gateway).packed
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    # table main, protocol boot, scope universe, unicast
    header = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 254, 3, 0, 1, 0)
    return NEWROUTE, ACK | CREATE | EXCL, header + encode([(5, packed), (4, u32(index))])


def apply_rules(sock: socket.socket, messages: Sequence[Message], family: int = socket.AF_INET) -> None:
    """One nftables transaction: all of `messages` or none."""
    boundary = struct.pack(">BBH", 0, 0, 10)
    batch: list[Raw] = [(0x10, 0, boundary)]
    for number, message in enumerate(messages, 1):
        flags = CREATE | APPEND if message.create else 0
        if number == len(messages):
            flags |= ACK
        batch.append((NFT | message.kind, flags, struct.pack(">BBH", family, 0, 0) + encode(message.attributes)))
    batch.append((0x11, 0, boundary))
    try:
        transact(sock, batch)
    except TimeoutError as error:
        raise OSError(errno.ETIMEDOUT, "nftables did not answer") from error
