"""DNS messages: a query's one question, and the answers to it, as bytes (RFC 1035; RFC 6891 for EDNS). Pure.

Names are lower case and without their last dot. A name in a question is never compressed, and one that is is refused.
What it does not do: know any name.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from pycompose.frozen import dataclass

A, PTR, AAAA, OPT, ANY = 1, 12, 28, 41, 255
FORMERR, SERVFAIL, NXDOMAIN = 1, 2, 3
NOT_A_QUERY = 0xF8  # bits of an answer, and of operations other than a query
TTL = 0  # addresses move with restarts; a resolver must not keep them
PLAIN_SIZE, LARGEST = 512, 4096  # of an answer over UDP, in bytes: without EDNS; more is never promised
STREAM_SIZE = 65535  # of an answer over TCP, in bytes
EDNS = struct.pack(">BHHIH", 0, OPT, LARGEST, 0, 0)
_HEAD = struct.Struct(">HHHHH")


@dataclass(frozen=True, slots=True)
class Question:
    """The question of a query, in class IN."""

    name: str  # lower case, without the last dot
    kind: int
    end: int  # where the question ends in the query
    size: int  # of the largest answer that the asker takes over UDP, in bytes
    edns: bool


def question(query: bytes) -> Question | None:
    """The question of a query; None when it is not one question in class IN."""
    if len(query) < 17 or query[2] & NOT_A_QUERY or struct.unpack_from(">H", query, 4)[0] != 1:
        return None
    labels, at = [], 12
    while at < len(query) and (length := query[at]):
        if length > 63 or at + 1 + length >= len(query):
            return None
        labels.append(query[at + 1 : at + 1 + length].decode("latin-1").lower())
        at += 1 + length
    end = at + 5
    if end > len(query) or end - 17 > 254:
        return None
    kind, class_ = struct.unpack_from(">HH", query, at + 1)
    if class_ != 1:
        return None
    edns = len(query) >= end + 11 and query[10:12] != b"\0\0" and query[end : end + 3] == b"\0\0\x29"
    size = struct.unpack_from(">H", query, end + 3)[0] if edns else PLAIN_SIZE
    return Question(".".join(labels), kind, end, min(max(size, PLAIN_SIZE), LARGEST), edns)


def record(kind: int, data: bytes) -> bytes:
    """A record of an answer: of the name in the question, to which it points."""
    return struct.pack(">HHHIH", 0xC00C, kind, 1, TTL, len(data)) + data


def header(code: int, count: int, *, desired: int, cut: bool, edns: bool) -> bytes:
    """What follows the id in an answer of `count` records; `desired` is the query's bit for recursion.

    One that is marked as cut has what fits: who can asks again over TCP, and who cannot has some (RFC 2181, 9).
    """
    return _HEAD.pack(0x8080 | desired << 8 | cut << 9 | code, 1, count, 0, edns)  # recursion is available


def refusal(query: bytes) -> bytes:
    """SERVFAIL to a question, FORMERR to what is none."""
    asked = question(query)
    if asked:
        head = header(SERVFAIL, 0, desired=query[2] & 1, cut=False, edns=asked.edns)
        return query[:2] + head + query[12 : asked.end] + EDNS * asked.edns
    return query[:2].ljust(2, b"\0") + struct.pack(">HHHHH", 0x8080 | FORMERR, 0, 0, 0, 0)


def answers_to(sent: bytes, asked: Question, answer: bytes) -> bool:
    """Whether `answer` is one to the query `sent`: it repeats its id and its question (RFC 5452)."""
    same = answer[12 : asked.end].lower() == sent[12 : asked.end].lower()
    return len(answer) >= asked.end and answer[:2] == sent[:2] and bool(answer[2] & 0x80) and same


def pointed_address(name: str) -> str | None:
    """The address that a name under in-addr.arpa or ip6.arpa stands for."""
    try:
        if name.endswith(".in-addr.arpa"):
            return str(IPv4Address(".".join(reversed(name.split(".")[:-2]))))
        if name.endswith(".ip6.arpa"):
            digits = "".join(reversed(name.split(".")[:-2]))
            return str(IPv6Address(bytes.fromhex(digits)))
    except ValueError:
        return None
    return None


def wire_name(name: str) -> bytes:
    """A name as labels, each behind its length."""
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
