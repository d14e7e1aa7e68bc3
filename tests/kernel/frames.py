"""Ethernet frames of the attacks on networks, as bytes: forged ARP, IPv4, neighbour and router advertisements."""

from __future__ import annotations

import socket
import struct

EVERYBODY = "ff:ff:ff:ff:ff:ff"
ALL_NODES = "33:33:00:00:00:01"


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ethernet(target: str, source: str, kind: int, payload: bytes) -> bytes:
    return _mac(target) + _mac(source) + struct.pack(">H", kind) + payload


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF & ~total


def arp_reply(target: str, source: str, sender: tuple[str, str], asker: tuple[str, str]) -> bytes:
    """A frame that says that the MAC and the IPv4 address of `sender` belong together."""
    body = struct.pack(">HHBBH", 1, 0x800, 6, 4, 2)
    for mac, address in (sender, asker):
        body += _mac(mac) + socket.inet_aton(address)
    return ethernet(target, source, 0x806, body)


def datagram(target: str, source: str, sender: str, receiver: str, port: int, text: bytes = b"forged") -> bytes:
    """UDP over IPv4, without a checksum of its own."""
    udp = struct.pack(">HHHH", 5555, port, 8 + len(text), 0) + text
    addresses = socket.inet_aton(sender) + socket.inet_aton(receiver)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + addresses
    return ethernet(target, source, 0x800, head[:10] + struct.pack(">H", _checksum(head)) + head[12:] + udp)


def _over_ipv6(target: str, source: str, sender: str, receiver: str, kind: int, body: bytes, hops: int = 255) -> bytes:
    addresses = socket.inet_pton(socket.AF_INET6, sender) + socket.inet_pton(socket.AF_INET6, receiver)
    checked = _checksum(addresses + struct.pack(">II", len(body), kind) + body)
    at = {58: 2, 17: 6}[kind]
    body = body[:at] + struct.pack(">H", checked) + body[at + 2 :]
    head = struct.pack(">IHBB", 6 << 28, len(body), kind, hops)
    return ethernet(target, source, 0x86DD, head + addresses + body)


def datagram6(target: str, source: str, sender: str, receiver: str, port: int, text: bytes = b"forged") -> bytes:
    body = struct.pack(">HHHH", 5555, port, 8 + len(text), 0) + text
    return _over_ipv6(target, source, sender, receiver, 17, body)


def router_advertisement(source: str, sender: str, prefix: str = "2001:db8:bad::") -> bytes:
    """A router for an hour, with a prefix to make addresses from (RFC 4861, 4.2)."""
    body = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 3600, 0, 0)
    body += struct.pack(">BBBBIII", 3, 4, 64, 0xC0, 3600, 3600, 0) + socket.inet_pton(socket.AF_INET6, prefix)
    body += struct.pack(">BB", 1, 1) + _mac(source)
    return _over_ipv6(ALL_NODES, source, sender, "ff02::1", 58, body)


def neighbour_advertisement(target: str, source: str, sender: str, receiver: str, claimed: str) -> bytes:
    """The address `claimed` is at the MAC `source`, in place of what was known (RFC 4861, 4.4)."""
    body = struct.pack(">BBHI", 136, 0, 0, 0x20000000) + socket.inet_pton(socket.AF_INET6, claimed)
    body += struct.pack(">BB", 2, 1) + _mac(source)
    return _over_ipv6(target, source, sender, receiver, 58, body)


def neighbour_question(target: str, source: str, sender: str, receiver: str) -> bytes:
    """Who asks for `receiver` says that `sender` is at the MAC `source` (RFC 4861, 4.3)."""
    body = struct.pack(">BBHI", 135, 0, 0, 0) + socket.inet_pton(socket.AF_INET6, receiver)
    body += struct.pack(">BB", 1, 1) + _mac(source)
    return _over_ipv6(target, source, sender, receiver, 58, body)
