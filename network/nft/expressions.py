"""Expressions of nftables rules in the header's names, each with the words that `nft` prints for it. Pure.

A rule is a row of parts: words as `nft` prints them, and the expressions, which work on registers: one loads, the next
compares, looks up, or acts. `rules` puts rows together. Numbers are from linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

Value: TypeAlias = "str | int | bytes | tuple[Attribute, ...] | tuple[tuple[Attribute, ...], ...]"
Attribute = tuple[str, Value]
Expression = tuple[str, tuple[Attribute, ...]]
Part = tuple[str, tuple[Expression, ...]]  # words of a rule, and the same as expressions

JUMP, GOTO, RETURN = -3, -4, -5
PROTOCOLS = {"tcp": 6, "udp": 17}


def expression(name: str, *attributes: Attribute) -> Expression:
    return name, attributes


def data(value: bytes) -> Value:
    return (("NFTA_DATA_VALUE", value),)


def meta(key: int, register: int = 1) -> Expression:
    return expression("meta", ("NFTA_META_DREG", register), ("NFTA_META_KEY", key))


def compare(value: bytes, operator: int = 0) -> Expression:
    return expression("cmp", ("NFTA_CMP_SREG", 1), ("NFTA_CMP_OP", operator), ("NFTA_CMP_DATA", data(value)))


def load(base: int, offset: int, length: int, register: int = 1) -> Expression:
    """Bytes of the packet; base 0 is the link header, 1 the network header, 2 the transport header."""
    return expression(
        "payload",
        ("NFTA_PAYLOAD_DREG", register),
        ("NFTA_PAYLOAD_BASE", base),
        ("NFTA_PAYLOAD_OFFSET", offset),
        ("NFTA_PAYLOAD_LEN", length),
    )


def store(offset: int, length: int, checksum_at: int) -> Expression:
    """Register 1 into the transport header; the kernel mends the checksum."""
    return expression(
        "payload",
        ("NFTA_PAYLOAD_BASE", 2),
        ("NFTA_PAYLOAD_OFFSET", offset),
        ("NFTA_PAYLOAD_LEN", length),
        ("NFTA_PAYLOAD_SREG", 1),
        ("NFTA_PAYLOAD_CSUM_TYPE", 1),
        ("NFTA_PAYLOAD_CSUM_OFFSET", checksum_at),
    )


def mask(value: bytes) -> Expression:
    return expression(
        "bitwise",
        ("NFTA_BITWISE_SREG", 1),
        ("NFTA_BITWISE_DREG", 1),
        ("NFTA_BITWISE_LEN", len(value)),
        ("NFTA_BITWISE_MASK", data(value)),
        ("NFTA_BITWISE_XOR", data(bytes(len(value)))),
    )


def immediate(register: int, value: bytes) -> Expression:
    return expression("immediate", ("NFTA_IMMEDIATE_DREG", register), ("NFTA_IMMEDIATE_DATA", data(value)))


def lookup(name: str, result: int | None = None, *, inverted: bool = False) -> Expression:
    attributes: list[Attribute] = [("NFTA_LOOKUP_SET", name), ("NFTA_LOOKUP_SREG", 1)]
    if result is not None:
        attributes.append(("NFTA_LOOKUP_DREG", result))
    if inverted:
        attributes.append(("NFTA_LOOKUP_FLAGS", 1))  # NFT_LOOKUP_F_INV
    return expression("lookup", *attributes)


def verdict(code: int, chain: str = "") -> Value:
    chosen: tuple[Attribute, ...] = (("NFTA_VERDICT_CODE", code),)
    return (("NFTA_DATA_VERDICT", (*chosen, ("NFTA_VERDICT_CHAIN", chain)) if chain else chosen),)


def end(words: str, code: int, chain: str = "") -> Part:
    decided = ("NFTA_IMMEDIATE_DATA", verdict(code, chain))
    return words, (expression("immediate", ("NFTA_IMMEDIATE_DREG", 0), decided),)


DROP, ACCEPT, BACK = end("drop", 0), end("accept", 1), end("return", RETURN)
MASQUERADE: Part = ("masquerade", (expression("masq"),))
V4: Part = ("meta nfproto ipv4", (meta(15), compare(b"\x02")))
TO_LOOPBACK: Part = ("ip daddr 127.0.0.0/8", (load(1, 16, 1), compare(b"\x7f")))
FROM_LOOPBACK: Part = ("ip saddr 127.0.0.0/8", (load(1, 12, 1), compare(b"\x7f")))
NOT_FROM_LO: Part = ('iifname != "lo"', (meta(6), compare(b"lo".ljust(16, b"\0"), 1)))
_ADDRESS_TYPE = 3  # NFT_FIB_RESULT_ADDRTYPE
TO_HOST: Part = (
    "fib daddr type local",
    (
        expression("fib", ("NFTA_FIB_DREG", 1), ("NFTA_FIB_RESULT", _ADDRESS_TYPE), ("NFTA_FIB_FLAGS", 2)),
        compare(struct.pack("=I", 2)),
    ),
)


SPOOFED: Part = (  # no route leads to the source by the link that it comes from
    "fib saddr . iif oif 0",
    (
        expression("fib", ("NFTA_FIB_DREG", 1), ("NFTA_FIB_RESULT", 1), ("NFTA_FIB_FLAGS", 1 | 8)),
        compare(bytes(4)),
    ),
)
OF_FAMILY: Part = ("meta nfproto", (meta(15),))


def protocol(name: str) -> Part:
    return f"meta l4proto {name}", (meta(16), compare(bytes([PROTOCOLS[name]])))


TCP = protocol("tcp")
RESET: Part = ("reject with tcp reset", (expression("reject", ("NFTA_REJECT_TYPE", 1)),))
UNREACHABLE: Part = (
    "reject with icmpx port-unreachable",
    (expression("reject", ("NFTA_REJECT_TYPE", 2), ("NFTA_REJECT_ICMP_CODE", b"\x01")),),
)
PORT: tuple[str, tuple[Expression, ...]] = ("meta l4proto . th dport", (meta(16), load(2, 2, 2, 9)))
PORT_AT = ("ip daddr . meta l4proto . th dport", (load(1, 16, 4), meta(16, 9), load(2, 2, 2, 10)))


def tracked(words: str, key: int, bits: int) -> Part:
    value = struct.pack("=I", bits)
    loaded = expression("ct", ("NFTA_CT_DREG", 1), ("NFTA_CT_KEY", key))
    return words, (loaded, mask(value), compare(bytes(4), 1))


NEW = tracked("ct state new", 0, 8)
UNDER_WAY = tracked("ct state established,related", 0, 2 | 4)
TRANSLATED = tracked("ct status dnat", 2, 0x20)


def comes_from(name: str, *, inverted: bool = False) -> Part:
    return f"iifname {'!= ' if inverted else ''}@{name}", (meta(6), lookup(name, inverted=inverted))


def goes_to(name: str, *, inverted: bool = False) -> Part:
    return f"oifname {'!= ' if inverted else ''}@{name}", (meta(7), lookup(name, inverted=inverted))


def source(name: str) -> Part:
    return f"ip saddr @{name}", (load(1, 12, 4), lookup(name))


SAME_LINK: Part = ("iifname . oifname @same", (meta(6, 1), meta(7, 2), lookup("same")))


def is_in(key: Part, name: str) -> Part:
    return f"{key[0]} @{name}", (*key[1], lookup(name))


def choose(key: Part, name: str) -> Part:
    return f"{key[0]} vmap @{name}", (*key[1], lookup(name, 0))
