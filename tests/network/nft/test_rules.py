"""The firewall's table in nft's own words. The kernel tests show that the kernel understands the same (`nft list`)."""

from dataclasses import replace
from pathlib import Path

from pycompose.network.nft.guard import GuardedPort, GuardTable, link_local
from pycompose.network.nft.rules import IPV4, BridgeRules, Kind, Message, PortRules, Table, table_name

TABLE, GUARD = Table("t"), GuardTable("t")
FRONT, BACK = BridgeRules("br-front", "10.0.0.0/16", False), BridgeRules("br-back", "10.1.0.0/16", True)
WEB = PortRules(None, 8080, "tcp", 80, ("10.0.0.2", "10.0.0.3"))


def words(messages: list[Message]) -> list[str]:
    return [message.text for message in messages]


def test_the_table_is_the_golden_one() -> None:
    golden = Path(__file__).with_name("golden_table.txt").read_text()
    assert "\n".join(words(TABLE.skeleton())) + "\n" == golden


def test_the_table_of_bridges_is_the_golden_one() -> None:
    golden = Path(__file__).with_name("golden_guard.txt").read_text()
    assert "\n".join(words(GUARD.skeleton())) + "\n" == golden


def test_a_port_speaks_for_what_its_container_was_given() -> None:
    gateway = GuardedPort("", "02:42:0a:00:00:01", ("10.0.0.1",))
    assert words(GUARD.add([gateway])) == [
        "add element bridge t macs { 02:42:0a:00:00:01 }",
        "add element bridge t known4 { 10.0.0.1 }",
    ]
    place = GuardedPort("pc1", "02:42:0a:00:00:02", ("10.0.0.2", "fd00::2"))
    assert words(GUARD.add([place])) == [
        "add element bridge t macs { 02:42:0a:00:00:02 }",
        'add element bridge t ports { "pc1" }',
        'add element bridge t places { "pc1" . 02:42:0a:00:00:02 }',
        "add element bridge t known4 { 10.0.0.2 }",
        'add element bridge t places4 { "pc1" . 10.0.0.2 }',
        "add element bridge t known6 { fd00::2 }",
        'add element bridge t places6 { "pc1" . fd00::2 }',
    ]
    assert 'add element bridge t trusted { "pc1" }' in words(GUARD.add([replace(place, trusted=True)]))
    added, removed = words(GUARD.add([place])), words(GUARD.remove([place]))
    assert removed[::2] == added, "added before, for it may be gone"
    assert removed[1::2] == [word.replace("add", "delete", 1) for word in added]


def test_a_links_own_ipv6_address_is_made_of_its_mac() -> None:
    assert link_local("02:42:ac:11:00:02") == "fe80::42:acff:fe11:2"


def test_what_is_forwarded_for_others_is_said_by_an_element() -> None:
    assert words(TABLE.close(closed=True)) == ["add element inet t closed { ipv4 }"]
    assert words(TABLE.close(closed=False))[1] == "delete element inet t closed { ipv4 }"


def test_a_network_is_elements_and_no_rule() -> None:
    assert words(TABLE.add_network(FRONT)) == [
        'add element inet t bridges { "br-front" }',
        'add element inet t same { "br-front" . "br-front" }',
        "add element inet t subnets { 10.0.0.0/16 }",
        "add element inet t masquerading { 10.0.0.0/16 }",
    ]
    assert words(TABLE.add_network(BACK))[-1] == 'add element inet t internal { "br-back" }'
    assert not any(m.kind == Kind.NEW_RULE for m in TABLE.add_network(FRONT) + TABLE.remove_network(BACK))


def test_a_port_is_a_chain_and_a_map_of_its_own() -> None:
    assert words(TABLE.publish(WEB)) == [
        "add chain inet t tcp_8080",
        "add map inet t to_tcp_8080 { type integer : ipv4_addr; }",
        "flush chain inet t tcp_8080",
        "flush map inet t to_tcp_8080",
        "add element inet t published { tcp . 8080 }",
        "add element inet t anywhere { tcp . 8080 : goto tcp_8080 }",
        "add element inet t to_tcp_8080 { 0 : 10.0.0.2 }",
        "add element inet t to_tcp_8080 { 1 : 10.0.0.3 }",
        "add rule inet t tcp_8080 meta nfproto ipv4 meta l4proto tcp dnat ip to numgen inc mod 2 map @to_tcp_8080:80",
    ]
    nobody = PortRules("127.0.0.1", 53, "udp", 53, ())
    assert words(TABLE.publish(nobody))[-1] == (
        "add element inet t somewhere { 127.0.0.1 . udp . 53 : goto udp_53_127.0.0.1 }"
    ), "no rule: it falls through to be refused"


def test_what_is_deleted_is_added_before_so_that_it_may_be_gone_already() -> None:
    told = words(TABLE.unpublish(WEB)) + words(TABLE.remove_network(BACK))
    for number, line in enumerate(told):
        if line.startswith("delete"):
            thing = line.removeprefix("delete ").split(" {")[0]
            assert any(before.startswith(f"add {thing}") for before in told[:number]), line


def test_a_container_s_resolver_is_reached_by_rewriting_both_ways() -> None:
    assert words(Table("t", IPV4).redirect_dns("127.0.0.11", 4001, 4002))[4:] == [
        "add rule ip t dns ip daddr 127.0.0.11 meta l4proto udp udp dport 53 udp dport set 4001",
        "add rule ip t dns ip saddr 127.0.0.11 meta l4proto udp udp sport 4001 udp sport set 53",
        "add rule ip t dns ip daddr 127.0.0.11 meta l4proto tcp tcp dport 53 tcp dport set 4002",
        "add rule ip t dns ip saddr 127.0.0.11 meta l4proto tcp tcp sport 4002 tcp sport set 53",
    ]


def test_two_folders_have_two_tables() -> None:
    assert table_name("/a") != table_name("/b")
    assert table_name("/a").startswith("pycompose_")
