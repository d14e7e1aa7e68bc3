"""rtnetlink messages of links, addresses and routes as bytes, and the few answers that are read. Pure.

Every start of a container needs five of these messages and every new network a dump of the routes: pyroute2's classes
take 1 ms for each message, and 120 ms and 30 MB before the first. Here they take microseconds; tests compare each with
what pyroute2 encodes, byte by byte. What is rare is pyroute2's own (`netlink`).

Rules: numbers are in host order, text ends with a zero byte. Attribute numbers are from linux/if_link.h, if_addr.h and
rtnetlink.h, with their names there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import ip_address

from pycompose.frozen import dataclass

REQUEST, ACK, DUMP, EXCL, CREATE = 1, 4, 0x300, 0x200, 0x400  # linux/netlink.h
NEWLINK, DELLINK, GETLINK, NEWADDR, NEWROUTE, GETROUTE = 16, 17, 18, 20, 24, 26
IPV4, IPV6 = 2, 10  # AF_INET, AF_INET6
UP = 1  # IFF_UP
NODAD = 2  # IFA_F_NODAD: an address of ours is unique, and usable at once
HAIRPIN = 1  # BRIDGE_MODE_HAIRPIN
MAIN, BOOT, UNICAST = 254, 3, 1  # RT_TABLE_MAIN, RTPROT_BOOT, RTN_UNICAST
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_FD = 1, 3, 4, 10, 18, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
VETH_INFO_PEER, IFLA_BRPORT_MODE = 1, 4
IFLA_BR_FDB_MAX_LEARNED = 49  # from 6.7; an earlier kernel leaves it out
LEARNED = 4096  # MACs that a bridge remembers: it has at most 1024 ports
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY = 1, 4, 5, 6
_HEADER = struct.Struct("=IHHII")  # nlmsghdr
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBi")  # ifaddrmsg: family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, lengths of destination and source, tos, table, protocol, …


@dataclass(frozen=True, slots=True)
class Link:
    """A link of the host; `mtu` is in bytes."""

    index: int
    name: str
    mtu: int


@dataclass(frozen=True, slots=True)
class Route:
    """A route: `destination` is "" for a default one, `link` 0 where it leads nowhere; the lowest metric wins."""

    destination: str
    link: int
    metric: int


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags | REQUEST, 0, 0) + body


def _attribute(number: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), number) + data + bytes(-len(data) % 4)


def _text(number: int, value: str) -> bytes:
    return _attribute(number, value.encode() + b"\0")


def _number(number: int, value: int) -> bytes:
    return _attribute(number, struct.pack("=I", value))


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _link(attributes: bytes, flags: int, *, index: int = 0, up: bool = False, kind: int = NEWLINK) -> bytes:
    change = UP if up else 0
    return _message(kind, flags | ACK, _LINK.pack(0, 0, index, change, change) + attributes)


def _info(kind: str, data: bytes = b"") -> bytes:
    inner = _attribute(IFLA_INFO_DATA, data) if data else b""
    return _attribute(IFLA_LINKINFO, _text(IFLA_INFO_KIND, kind) + inner)


def get_link(name: str = "", index: int = 0) -> bytes:
    """A question for the link with this name, or this index."""
    return _message(GETLINK, 0, _LINK.pack(0, 0, index, 0, 0) + (_text(IFLA_IFNAME, name) if name else b""))


def get_routes() -> bytes:
    """A dump of the IPv4 routes."""
    return _message(GETROUTE, DUMP, _ROUTE.pack(IPV4, 0, 0, 0, 0, 0, 0, 0, 0))


def new_bridge(name: str, mtu: int, mac: str) -> bytes:
    """A bridge with a MAC of its own, or it would take, and change, that of the lowest port."""
    attributes = _text(IFLA_IFNAME, name) + _number(IFLA_MTU, mtu) + _attribute(IFLA_ADDRESS, _mac(mac))
    return _link(attributes + _info("bridge", _number(IFLA_BR_FDB_MAX_LEARNED, LEARNED)), CREATE | EXCL)


def new_veth(name: str, master: int, peer: str, netns_fd: int, mac: str, mtu: int) -> bytes:
    """A pair whose peer is born in the namespace of `netns_fd` with its name and address; our end in the bridge.

    Both are down: what a link must not do is set before it is up.
    """
    inside = _text(IFLA_IFNAME, peer) + _attribute(IFLA_ADDRESS, _mac(mac)) + _number(IFLA_MTU, mtu)
    inside = _LINK.pack(0, 0, 0, 0, 0) + inside + _number(IFLA_NET_NS_FD, netns_fd)
    outside = _text(IFLA_IFNAME, name) + _number(IFLA_MTU, mtu) + _number(IFLA_MASTER, master)
    return _link(outside + _info("veth", _attribute(VETH_INFO_PEER, inside)), CREATE | EXCL)


def set_master(index: int, master: int) -> bytes:
    return _link(_number(IFLA_MASTER, master), 0, index=index)


def hairpin(name: str) -> bytes:
    """Let the bridge send a frame back through the port that it came from."""
    data = _attribute(IFLA_INFO_SLAVE_DATA, _attribute(IFLA_BRPORT_MODE, bytes([HAIRPIN])))
    info = _attribute(IFLA_LINKINFO, _text(IFLA_INFO_SLAVE_KIND, "bridge") + data)
    return _link(_text(IFLA_IFNAME, name) + info, 0)


def delete_link(name: str) -> bytes:
    return _link(_text(IFLA_IFNAME, name), 0, kind=DELLINK)


def link_up(index: int = 0, name: str = "") -> bytes:
    """The link with this index, or this name, is to be up."""
    return _link(_text(IFLA_IFNAME, name) if name else b"", 0, index=index, up=True)


def new_address(index: int, address: str) -> bytes:
    """`address` with its prefix length; one of an IPv4 network of two has no broadcast address (RFC 3021)."""
    text, _, length = address.partition("/")
    host, prefix = ip_address(text), int(length)
    attributes = _attribute(IFA_LOCAL, host.packed) + _attribute(IFA_ADDRESS, host.packed)
    if host.version == 4 and prefix < 31:
        attributes += _attribute(IFA_BROADCAST, (int(host) | 0xFFFFFFFF >> prefix).to_bytes(4, "big"))
    family, flags = (IPV4, 0) if host.version == 4 else (IPV6, NODAD)
    return _message(NEWADDR, ACK | CREATE | EXCL, _ADDRESS.pack(family, prefix, flags, 0, index) + attributes)


def default_route(index: int, gateway: str) -> bytes:
    host = ip_address(gateway)
    family = IPV4 if host.version == 4 else IPV6
    body = _ROUTE.pack(family, 0, 0, 0, MAIN, BOOT, 0, UNICAST, 0)
    return _message(
        NEWROUTE, ACK | CREATE | EXCL, body + _attribute(RTA_GATEWAY, host.packed) + _number(RTA_OIF, index)
    )


# --- answers: what follows the header of a message


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        length, number = struct.unpack_from("=HH", data, at)
        yield number & 0x3FFF, data[at + 4 : at + length]
        at += max(4, (length + 3) & ~3)


def as_link(payload: bytes) -> Link:
    """The link of an RTM_NEWLINK."""
    attributes = dict(_attributes(payload[_LINK.size :]))
    name = attributes[IFLA_IFNAME].rstrip(b"\0").decode(errors="replace")
    return Link(_LINK.unpack_from(payload)[2], name, int(struct.unpack("=I", attributes[IFLA_MTU])[0]))


def as_route(payload: bytes) -> Route:
    """The IPv4 route of an RTM_NEWROUTE."""
    attributes = dict(_attributes(payload[_ROUTE.size :]))
    prefix = payload[1]

    def number(which: int) -> int:
        return int(struct.unpack("=I", attributes[which])[0]) if which in attributes else 0

    destination = f"{ip_address(attributes[RTA_DST])}/{prefix}" if prefix and RTA_DST in attributes else ""
    return Route(destination, number(RTA_OIF), number(RTA_PRIORITY))
