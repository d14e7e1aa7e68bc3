"""The bytes of nftables messages: their numbers are those that pyroute2 has, and their form is netlink's."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pycompose.network import netlink
from pycompose.network.nft.encode import NUMBERS, message
from pycompose.network.nft.guard import GuardedPort, GuardTable
from pycompose.network.nft.rules import BRIDGE, IPV4, Table
from pycompose.network.nft.table import USUAL
from pyroute2.netlink.nfnetlink import nftsocket  # type: ignore[import-untyped]


def maps(scope: Any) -> dict[str, int]:
    """Every attribute's name and number in the classes of a module, and in those inside them."""
    found: dict[str, int] = {}
    for one in vars(scope).values():
        if isinstance(one, type) and one.__module__ == nftsocket.__name__:
            listed = one.__dict__.get("nla_map", ())
            if isinstance(listed, tuple):
                found |= {entry[0]: number for number, entry in enumerate(listed)}
            found |= maps(one)
    return found


def test_every_number_is_pyroute2s() -> None:
    known = maps(nftsocket)
    assert {name: known.get(name) for name in NUMBERS} == NUMBERS


def test_a_message_is_a_header_and_padded_attributes() -> None:
    made = message(
        0xA06, 0xC01, 1, (("NFTA_RULE_TABLE", "t"), ("NFTA_RULE_EXPRESSIONS", ((("NFTA_EXPR_NAME", "masq"),),)))
    )
    header = struct.pack("=IHHIIBBH", len(made), 0xA06, 0xC01, 0, 0, 1, 0, 0)
    name = struct.pack("=HH", 9, 1) + b"masq\0\0\0\0"
    element = struct.pack("=HH", 16, 1 | 0x8000) + name
    assert made == header + struct.pack("=HH", 6, 1) + b"t\0\0\0" + struct.pack("=HH", 20, 4 | 0x8000) + element


def test_numbers_are_big_endian_and_may_be_negative() -> None:
    hook = (("NFTA_HOOK_HOOKNUM", 3), ("NFTA_HOOK_PRIORITY", -300))
    assert message(0, 0, 1, hook).endswith(struct.pack("=HH", 8, 2) + struct.pack(">i", -300))


def test_a_batch_begins_and_ends_with_the_subsystem_in_network_order() -> None:
    batch = netlink.batch(netlink.encode_rules(Table("t").none(), 1))
    assert [struct.unpack_from("=H", one, 4)[0] for one in (batch[0], batch[-1])] == [0x10, 0x11]
    assert [bool(struct.unpack_from("=H", one, 6)[0] & 4) for one in batch] == [False, False, True, False], "one answer"
    assert {bytes(one[18:20]) for one in (batch[0], batch[-1])} == {b"\x00\x0a"}


@given(st.integers(1, 65535), st.integers(1, 65535))
def test_a_template_that_is_filled_is_what_would_have_been_encoded(udp: int, tcp: int) -> None:
    table, marks = Table("t", IPV4), (b"\x5a\x5a", b"\x6b\x6b")
    template = netlink.Template(table.redirect_dns("127.0.0.11", 0x5A5A, 0x6B6B), IPV4, marks)
    filled = template.filled([udp.to_bytes(2, "big"), tcp.to_bytes(2, "big")])
    assert filled == netlink.encode_rules(table.redirect_dns("127.0.0.11", udp, tcp), IPV4)


@given(st.integers(0, 255), st.sampled_from(["add", "remove"]))
def test_a_usual_port_is_encoded_by_a_template(number: int, change: str) -> None:
    table = GuardTable("t")
    port = GuardedPort(f"pc{number:013x}", f"02:42:ac:11:00:{number:02x}", (f"172.17.0.{number}",))
    template = netlink.Template(getattr(table, change)([USUAL]), BRIDGE, table.keys(USUAL))
    assert template.filled(table.keys(port)) == netlink.encode_rules(getattr(table, change)([port]), BRIDGE)
