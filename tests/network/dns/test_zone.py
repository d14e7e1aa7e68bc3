"""Names: what is answered to whom. Pure."""

import struct
from ipaddress import ip_address
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pycompose.network.dns.message import AAAA, ANY, NXDOMAIN, PTR, SERVFAIL, A, question, refusal
from pycompose.network.dns.zone import Zone
from pycompose.network.spec import Endpoint


def endpoint(network: str, owner: str, *addresses: str, names: tuple[str, ...] = ()) -> Endpoint:
    return Endpoint(network, owner, "eth0", addresses, "", None, ("web", owner, *names))


def query(name: str, kind: int = A, *, edns: int | None = None, class_: int = 1, flags: bytes = b"\1\0") -> bytes:
    labels = b"".join(bytes([len(p)]) + p.encode() for p in name.split("."))
    extra = struct.pack(">BHHIH", 0, 41, edns, 0, 0) if edns is not None else b""
    head = b"\x12\x34" + flags + struct.pack(">HHHH", 1, 0, 0, 1 if extra else 0)
    return head + labels + b"\0" + struct.pack(">HH", kind, class_) + extra


def answers(data: bytes, asked: bytes) -> tuple[int, list[str]]:
    """The code, and the records' data."""
    found, parsed = [], question(asked)
    assert parsed
    at = parsed.end
    for _ in range(struct.unpack_from(">H", data, 6)[0]):
        length = struct.unpack_from(">H", data, at + 10)[0]
        value = data[at + 12 : at + 12 + length]
        found.append(str(ip_address(value)) if length in (4, 16) else value[1 : 1 + value[0]].decode())
        at += 12 + length
    return data[3] & 15, found


def zone() -> Zone:
    made = Zone()
    made.add_network("front", False)
    made.add_network("back", True)
    made.add(endpoint("front", "a", "10.0.0.2/24", "fd00::2/64"))
    made.add(endpoint("front", "b", "10.0.0.3/24", "fd00::3/64", names=("Alias",)))
    made.add(endpoint("back", "b", "10.1.0.3/24"))
    made.add(endpoint("back", "c", "10.1.0.4/24"))
    return made


def ask(made: Zone, owner: str, name: str, kind: int = A, **more: Any) -> tuple[int, list[str]] | None:
    asked = query(name, kind, **more)
    answer = made.answer(owner, asked)
    return None if answer is None else answers(answer, asked)


def test_who_asks_sees_its_own_networks() -> None:
    made = zone()
    assert ask(made, "a", "b") == (0, ["10.0.0.3"])
    assert ask(made, "c", "b") == (0, ["10.1.0.3"])
    assert ask(made, "b", "c") == (0, ["10.1.0.4"])
    assert ask(made, "a", "a") == (0, ["10.0.0.2"])
    assert ask(made, "a", "ALIAS") == ask(made, "a", "alias.front") == (0, ["10.0.0.3"])
    assert ask(made, "a", "c") is None, "upstream may know it"
    assert ask(made, "c", "a") == (NXDOMAIN, []), "an internal network asks nobody"


def test_all_replicas_are_answered_each_first_in_turn() -> None:
    made = zone()
    seen = [ask(made, "a", "web") for _ in range(4)]
    assert {tuple(sorted(s[1])) for s in seen if s} == {("10.0.0.2", "10.0.0.3")}
    assert {s[1][0] for s in seen if s} == {"10.0.0.2", "10.0.0.3"}
    assert len(ask(made, "a", "web", ANY)[1]) == 2, "of one kind"  # type: ignore[index]
    made.remove("b")
    assert ask(made, "a", "web") == (0, ["10.0.0.2"])


def test_a_name_without_the_asked_kind_exists() -> None:
    made = zone()
    assert ask(made, "c", "c", AAAA) == (0, [])
    assert ask(made, "a", "b", AAAA) == (0, ["fd00::3"])
    assert ask(made, "a", "b", 33) == (0, [])


def test_an_address_leads_back_to_the_name() -> None:
    made = zone()
    assert ask(made, "a", "3.0.0.10.in-addr.arpa", PTR) == (0, ["b"])
    six = ip_address("fd00::3").reverse_pointer
    assert ask(made, "a", six, PTR) == (0, ["b"])
    assert ask(made, "a", "4.0.1.10.in-addr.arpa", PTR) is None, "of a network that it is not on"
    assert ask(made, "a", "x.in-addr.arpa", PTR) is None


def test_an_answer_that_is_too_large_has_what_fits_unless_the_asker_takes_it() -> None:
    made = Zone()
    for n in range(1, 101):
        made.add(endpoint("front", f"o{n}", f"10.0.0.{n}/24"))
    for edns, found, cut in ((None, 30, 2), (400, 30, 2), (4096, 100, 0)):
        asked = query("web", edns=edns)
        answer = made.answer("o1", asked)
        assert answer
        assert (struct.unpack_from(">H", answer, 6)[0], answer[2] & 2) == (found, cut)
        assert len(answer) <= (edns or 512 if edns != 400 else 512)
        assert (answer[10:12] == b"\0\1") == (edns is not None), "EDNS is answered with EDNS"
    firsts = {answer[30:46] for _ in range(100) if (answer := made.answer("o1", query("web")))}
    assert len(firsts) == 100, "each has its turn"
    stream = made.answer("o1", query("web"), stream=True)
    assert stream
    assert struct.unpack_from(">H", stream, 6)[0] == 100


def test_what_is_remembered_of_an_asker_is_bounded_in_bytes_and_its_own() -> None:
    made = zone()
    assert ask(made, "b", "alias") == (0, ["10.0.0.3"])
    kept = made._answers["b"].answers.copy()
    for number in range(3000):
        odd = "".join(letter.upper() if number >> at & 1 else letter for at, letter in enumerate("aliasalias"))
        ask(made, "a", "ALIAS", number, edns=512 + number)
        made.answer("a", query(odd[:5]))
        made.answer("a", query("b", flags=bytes([1, number & 0x7F])))
    memory = made._answers["a"]
    assert memory.size <= 65536
    assert memory.size == sum(len(key) + len(known.records) + 500 for key, known in memory.answers.items())
    assert made._answers["b"].answers == kept


def test_a_question_is_remembered_whatever_its_letters_and_options() -> None:
    made = zone()
    for asked in (query("alias"), query("ALIAS"), query("aLiAs", edns=1232), query("alias", edns=4096)):
        answer = made.answer("a", asked)
        assert answer is not None
        assert answer[12 : 12 + 11] == asked[12 : 12 + 11], "the question is repeated as it was"
        assert answers(answer, asked) == (0, ["10.0.0.3"])
    assert len(made._answers["a"].answers) == 1


def test_what_is_remembered_is_forgotten_with_a_change() -> None:
    made = zone()
    assert ask(made, "a", "d") is None
    assert ask(made, "a", "b") == (0, ["10.0.0.3"])
    made.add(endpoint("front", "b", "10.0.0.9/24"))
    made.add(endpoint("front", "d", "10.0.0.8/24"))
    assert ask(made, "a", "b") == (0, ["10.0.0.9"])
    assert ask(made, "a", "d") == (0, ["10.0.0.8"])
    made.remove_network("front")
    assert made.networks_of("a") == ()
    assert made.networks_of("b") == ("back",)


@given(st.binary(max_size=60))
def test_no_datagram_breaks_it(data: bytes) -> None:
    made = zone()
    for datagram in (data, b"\0\0\1\0\0\1\0\0\0\0\0\0" + data):
        answer = made.answer("a", datagram)
        assert answer is None or answer[:2] == datagram[:2]
        assert refusal(datagram)[3] & 15 in (1, SERVFAIL)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["front", "back"]), st.integers(0, 4)), max_size=30))
def test_any_order_of_joining_and_leaving_ends_in_what_is_there(steps: list[tuple[bool, str, int]]) -> None:
    made, there = Zone(), set[tuple[str, int]]()
    for joins, network, number in steps:
        if joins:
            made.add(endpoint(network, f"o{number}", f"10.{network == 'back':d}.0.{number}/24"))
            there.add((network, number))
        else:
            made.discard(network, f"o{number}")
            there.discard((network, number))
    for number in range(5):
        networks = {network for network, who in there if who == number}
        expected = {f"10.{net == 'back':d}.0.{who}" for net, who in there if net in networks}
        assert set(made.addresses(f"o{number}", "web")) == expected
        assert set(made.networks_of(f"o{number}")) == networks


def test_what_is_no_question_of_ours_is_left_alone() -> None:
    made = zone()
    assert made.answer("a", b"") is None
    assert made.answer("a", query("b", class_=3)) is None
    assert made.answer("a", b"\0\0\x80\0" + query("b")[4:]) is None, "an answer"
    assert refusal(query("b"))[3] & 15 == SERVFAIL
