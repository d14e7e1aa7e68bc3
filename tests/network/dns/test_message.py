"""DNS messages: what is read as a question, and what an answer looks like on the wire."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycompose.network.dns.message import (
    ANY,
    FORMERR,
    LARGEST,
    NXDOMAIN,
    PLAIN_SIZE,
    SERVFAIL,
    A,
    Question,
    answers_to,
    header,
    pointed_address,
    question,
    record,
    refusal,
    wire_name,
)


def query(name: str, kind: int = A, *, extra: bytes = b"", class_: int = 1, flags: bytes = b"\1\0") -> bytes:
    head = b"\x12\x34" + flags + struct.pack(">HHHH", 1, 0, 0, 1 if extra else 0)
    return head + wire_name(name) + struct.pack(">HH", kind, class_) + extra


def opt(size: int) -> bytes:
    return struct.pack(">BHHIH", 0, 41, size, 0, 0)


def asked_in(data: bytes) -> Question:
    asked = question(data)
    assert asked is not None
    return asked


def test_a_question_is_read_with_its_name_in_lower_case() -> None:
    data = query("Web.Front", ANY)
    assert asked_in(data) == Question("web.front", ANY, len(data), PLAIN_SIZE, False)


def test_what_an_asker_takes_over_udp_is_kept_between_the_plain_size_and_the_largest() -> None:
    for offered, taken in ((0, PLAIN_SIZE), (1232, 1232), (65535, LARGEST)):
        asked = asked_in(query("a", extra=opt(offered)))
        assert (asked.size, asked.edns) == (taken, True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        query("a")[:-1],
        query("a", flags=b"\x81\0"),  # an answer
        query("a", flags=b"\x28\0"),  # opcode UPDATE
        query("a", class_=3),
        query("a")[:4] + b"\0\2" + query("a")[6:],  # two questions
        query("a")[:12] + b"\xc0\x0c\0\1\0\1",  # a compressed name
        query(".".join(["x" * 63] * 4)),  # a name of 257 bytes
    ],
)
def test_what_is_not_one_question_of_the_internet_is_no_question(data: bytes) -> None:
    assert question(data) is None


def test_a_name_may_be_as_long_as_the_protocol_allows() -> None:
    name = ".".join(["x" * 63] * 3 + ["y" * 61])  # 255 bytes on the wire: RFC 1035 section 2.3.4
    assert asked_in(query(name)).name == name


def test_a_record_points_to_the_name_of_the_question() -> None:
    assert record(A, bytes([10, 0, 0, 2])) == struct.pack(">HHHIH", 0xC00C, A, 1, 0, 4) + bytes([10, 0, 0, 2])


def test_the_head_of_an_answer_says_what_it_is() -> None:
    assert header(0, 1, desired=1, cut=False, edns=False) == b"\x81\x80\0\1\0\1\0\0\0\0"
    assert header(NXDOMAIN, 0, desired=0, cut=False, edns=False)[:2] == b"\x80\x83"
    assert header(0, 7, desired=0, cut=True, edns=True) == b"\x82\x80\0\1\0\7\0\0\0\1"


def test_a_question_that_cannot_be_answered_is_servfail_and_what_is_none_is_formerr() -> None:
    assert refusal(query("web"))[3] & 15 == SERVFAIL
    assert refusal(query("web", extra=opt(PLAIN_SIZE))).endswith(opt(LARGEST)), "EDNS is answered with EDNS"
    for data in (b"", b"\7", b"\7\7rubbish"):
        answer = refusal(data)
        assert len(answer) == 12
        assert answer[:2] == data[:2].ljust(2, b"\0")
        assert answer[3] & 15 == FORMERR


@given(st.binary(max_size=80))
def test_no_bytes_break_the_reader_and_every_refusal_is_an_answer(data: bytes) -> None:
    for datagram in (data, b"\0\0\1\0\0\1\0\0\0\0\0\0" + data):
        asked = question(datagram)
        assert asked is None or asked.end <= len(datagram)
        assert refusal(datagram)[2] & 0x80


def test_an_answer_counts_when_it_repeats_id_and_question_whatever_the_case_of_letters() -> None:
    sent = query("example.org")
    asked = asked_in(sent)
    truth = sent[:2] + b"\x81\x80" + sent[4:]
    assert answers_to(sent, asked, truth)
    assert answers_to(sent, asked, truth[:12] + truth[12:].replace(b"example", b"ExAmPlE"))
    assert not answers_to(sent, asked, sent), "a question is no answer"
    assert not answers_to(sent, asked, b"\x12\x35" + truth[2:])
    assert not answers_to(sent, asked, truth.replace(b"example", b"exampel"))
    assert not answers_to(sent, asked, truth[:-1])
    assert not answers_to(sent, asked, b"")


@given(st.ip_addresses())
def test_every_address_is_found_again_in_its_reverse_name(address: object) -> None:
    assert pointed_address(ip_address(str(address)).reverse_pointer) == str(address)


@pytest.mark.parametrize("name", ["web", "x.in-addr.arpa", "1.2.3.in-addr.arpa", "0.0.ip6.arpa", "in-addr.arpa"])
def test_other_names_stand_for_no_address(name: str) -> None:
    assert pointed_address(name) is None
