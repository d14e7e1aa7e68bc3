"""Networks against the kernel: bridges, rules, published ports, DNS, and all of them after a SIGKILL. Needs root.

Every test has a machine of its own (`host`); containers are processes in namespaces of theirs, and the supervisor is
a process that can be killed. What the kernel holds is read with other tools (`nft -j`, `ip -j`).
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from .network_tools import Failed, Stage, stage

pytestmark = pytest.mark.usefixtures("root", "ip_and_nft")
__all__ = ["stage"]


def test_endpoints_meet_on_their_network_and_nowhere_else(stage: Stage) -> None:
    a, b, c = (stage.container(name) for name in "abc")
    stage.remote()
    # A new namespace takes it from the machine (net.core.devconf_inherit_init_net), where it may be on.
    stage.enter(stage.host.pid, "sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward")
    front = stage.tell('n.create(NetworkSpec("front", "p"))')
    assert "'172.17.0.0/16'" in front
    assert "mtu=1400" in front, "the uplink's"
    stage.tell('n.create(NetworkSpec("back", "p", internal=True))')
    (ip_a,) = stage.join(a, "a", "front")
    (ip_b, ip_b2) = stage.join(b, "b", "front", "back")
    (ip_c,) = stage.join(c, "c", "back")
    assert stage.ask("tcp", ip_b, 80, of=a) == ["b"]
    assert stage.ask("tcp", ip_c, 80, of=b) == ["c"]
    assert stage.ask("tcp", ip_c, 80, of=a) == ["timeout"], "another network"
    assert stage.ask("tcp", ip_a, 80, of=c) == ["ENETUNREACH"], "an internal network has no way out"
    assert stage.ask("tcp", ip_c, 80) == ["c"], "the host reaches all"
    assert stage.ask("tcp", "192.0.2.2", 80, of=a) == ["remote"], "out, masqueraded"
    link = json.loads(stage.enter(b.pid, "ip", "-j", "address", "show", "dev", "eth1"))[0]
    assert link["mtu"] == 1400
    assert link["address"] == "02:42:" + ":".join(f"{int(x):02x}" for x in ip_b2.split("."))
    assert stage.enter(stage.host.pid, "cat", "/proc/sys/net/ipv4/ip_forward") == "1"
    with pytest.raises(Failed, match="still has containers: "):
        stage.tell('n.remove("front")')
    for owner in "abc":
        stage.tell(f'n.detach("{owner}")')
    for network in ("front", "back"):
        stage.tell(f'n.remove("{network}")')
    assert stage.rules() == ""
    assert stage.enter(stage.host.pid, "cat", "/proc/sys/net/ipv4/ip_forward") == "0"


def test_a_published_port_leads_to_every_replica_from_everywhere(stage: Stage) -> None:
    a, b, c = (stage.container(name) for name in "abc")
    remote = stage.remote()
    stage.tell('n.create(NetworkSpec("front", "p"))')
    stage.tell('n.create(NetworkSpec("other", "p"))')
    (ip_a,), (ip_b,) = stage.join(a, "a", "front"), stage.join(b, "b", "front")
    stage.join(c, "c", "other")
    for protocol in ("tcp", "udp"):
        stage.tell(f'n.publish(Publication("p/web", None, 8080, 8080, "{protocol}", 80))')
        assert stage.ask(protocol, "127.0.0.1", 8080) == ["ECONNREFUSED"], "no backend yet"
        assert stage.ask(protocol, "192.0.2.1", 8080, of=remote) == ["ECONNREFUSED"]
    assert stage.ask("tcp", "::1", 8080) == ["ECONNRESET"]
    stage.tell(f'n.set_backends("p/web", [Backend("a", "{ip_a}"), Backend("b", "{ip_b}")])')
    for protocol in ("tcp", "udp"):
        for where, of in (("127.0.0.1", None), ("192.0.2.1", None), ("192.0.2.1", remote), ("::1", None)):
            assert sorted(stage.ask(protocol, where, 8080, 4, of=of)) == ["a", "a", "b", "b"], (protocol, where)
        assert sorted(stage.ask(protocol, "172.17.0.1", 8080, 4, of=a)) == ["a", "a", "b", "b"], "itself among them"
        assert sorted(stage.ask(protocol, "192.0.2.1", 8080, 2, of=c)) == ["a", "b"], "from another network"
    assert stage.ask("tcp", ip_a, 80, of=remote) == ["timeout"], "published is the port of the host, not the address"
    assert stage.ask("tcp", ip_a, 90, of=remote) == ["timeout"]
    # a flow of datagrams that has a replica goes to another when that has gone
    flow = (
        "import socket; s = socket.socket(2, 2); s.bind(('', 7777)); s.settimeout(2); "
        "s.sendto(b'?', ('192.0.2.1', 8080)); print(s.recv(9).decode())"
    )
    first = stage.enter(remote.pid, sys.executable, "-c", flow)
    assert stage.enter(remote.pid, sys.executable, "-c", flow) == first
    stage.tell(f'n.detach("{first}")')
    left = {"a": "b", "b": "a"}[first]
    assert stage.enter(remote.pid, sys.executable, "-c", flow) == left
    assert stage.ask("tcp", "192.0.2.1", 8080, 4, of=remote) == [left] * 4
    assert stage.ask("tcp", "::1", 8080, 2) == [left] * 2
    stage.tell('[n.unpublish(p) for p in n.published("p/web")]')
    assert stage.ask("tcp", "127.0.0.1", 8080) == ["ECONNREFUSED"]
    assert "8080" not in stage.rules()


def test_a_port_is_given_where_it_was_asked_and_a_taken_one_names_its_holder(stage: Stage) -> None:
    a = stage.container("a")
    remote = stage.remote()
    stage.tell('n.create(NetworkSpec("front", "p"))')
    (ip,) = stage.join(a, "a", "front")
    stage.tell('n.publish(Publication("p/local", "127.0.0.1", 8081, 8081, "tcp", 80))')
    ephemeral = stage.tell('(n.publish(Publication("p/local", "192.0.2.1", 0, 0, "tcp", 80))).port')
    ports = [stage.tell(f'(n.publish(Publication("p/{i}", None, 9000, 9001, "tcp", 80))).port') for i in range(2)]
    assert ports == ["9000", "9001"]
    with pytest.raises(
        Failed, match=r'9000-9001/tcp of 0.0.0.0 is in use \(by service "0" of project "p", service "1" '
    ):
        stage.tell('n.publish(Publication("p/3", None, 9000, 9001, "tcp", 80))')
    with pytest.raises(Failed, match=r'port 9000/tcp of 0.0.0.0 is in use \(by service "0" of project "p"\)'):
        stage.tell('n.publish(Publication("p/3", None, 9000, 9000, "tcp", 80))')
    holder = "import socket, sys; s = socket.create_server(('', 7000)); print('up', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        ["nsenter", f"--target={stage.host.pid}", "--net", sys.executable, "-c", holder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == b"up\n"
        before = stage.rules()
        with pytest.raises(Failed, match=rf"port 7000/tcp of 0.0.0.0 is in use \(by process python.*, pid {other.pid}"):
            stage.tell('n.publish(Publication("p/3", None, 7000, 7000, "tcp", 80))')
        assert stage.rules() == before, "nothing half made"
        other.kill()
    with pytest.raises(Failed, match=r"cannot listen on port 80/tcp of 192\.0\.2\.77"):
        stage.tell('n.publish(Publication("p/3", "192.0.2.77", 80, 80, "tcp", 80))')
    for group in ("p/local", "p/0"):
        stage.tell(f'n.set_backends("{group}", [Backend("a", "{ip}")])')
    assert stage.ask("tcp", "127.0.0.1", 8081) == ["a"]
    assert stage.ask("tcp", "192.0.2.1", 8081, of=remote) == ["ECONNREFUSED"], "local alone"
    assert stage.ask("tcp", "192.0.2.1", int(ephemeral), of=remote) == ["a"]
    assert stage.ask("tcp", "127.0.0.1", int(ephemeral)) == ["ECONNREFUSED"]
    assert stage.ask("tcp", "192.0.2.1", 9000, of=remote) == ["a"]


MARTIAN = """
import socket, struct, sys
mac = bytes.fromhex(sys.argv[1].replace(":", ""))
head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 29, 1, 0, 64, 17, 0, bytes([192, 0, 2, 2]), bytes([127, 0, 0, 1]))
total = sum(struct.unpack(">10H", head))
total = (total & 0xFFFF) + (total >> 16)
head = head[:10] + struct.pack(">H", 0xFFFF & ~total) + head[12:]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("up0", 0x800))
s.send(mac + bytes(6) + b"\\x08\\0" + head + struct.pack(">HHHH", 5555, 8081, 9, 0) + b"?")
"""


def test_what_is_published_on_the_loopback_address_cannot_be_reached_from_outside(stage: Stage) -> None:
    """A translation before routing, and route_localnet, would let a neighbour in (CVE-2020-8558)."""
    a = stage.container("a")
    remote = stage.remote()
    stage.tell('n.create(NetworkSpec("front", "p"))')
    (ip,) = stage.join(a, "a", "front")
    stage.tell('n.publish(Publication("p/local", "127.0.0.1", 8081, 8081, "udp", 80))')
    stage.tell(f'n.set_backends("p/local", [Backend("a", "{ip}")])')
    link = json.loads(stage.host.run("ip", "-j", "link", "show", "up0").stdout)[0]
    stage.enter(remote.pid, sys.executable, "-c", MARTIAN, link["address"])
    assert stage.ask("udp", "127.0.0.1", 8081) == ["a"], "sent later, so the first has had its time"
    received = stage.enter(a.pid, "grep", "Udp:", "/proc/net/snmp").splitlines()[1].split()[1]
    assert received == "1"


def test_names_lead_to_all_who_have_them_on_the_networks_of_who_asks(stage: Stage) -> None:
    a, b, c = (stage.container(name) for name in "abc")
    stage.tell('n.create(NetworkSpec("front", "p", ipv6=True))')
    stage.tell('n.create(NetworkSpec("back", "p", internal=True))')
    (ip_a,), (ip_b,) = stage.join(a, "a", "front"), stage.join(b, "b", "front")
    stage.join(c, "c", "back")
    assert stage.dns(a, "web") == f"0 {ip_a} {ip_b}"
    assert stage.dns(a, "web", 1, "tcp") == f"0 {ip_a} {ip_b}"
    assert stage.dns(a, "a") == f"0 {ip_a}", "its own name"
    assert stage.dns(a, "B.front") == f"0 {ip_b}"
    code, six = stage.dns(a, "b", 28).split()
    assert code == "0"
    assert stage.ask("udp", six, 81, of=a) == ["ECONNREFUSED"], "it is there over IPv6 (and serves IPv4 alone)"
    assert stage.dns(c, "c", 28) == "0", "NODATA"
    assert stage.dns(a, "c") == "2", "not on its networks, and no upstream"
    assert stage.dns(c, "a") == "3", "NXDOMAIN: an internal network asks nobody"
    assert stage.dns(a, ".".join([*reversed(ip_b.split(".")), "in-addr", "arpa"]), 12) == "0 b"
    stage.tell('n.detach("b")')
    assert stage.dns(a, "web") == f"0 {ip_a}"
    # another project's supervisor puts a container on this network
    d = stage.container("d")
    stage.supervisor("q")
    (ip_d,) = stage.join(d, "d", "front", project="q")
    assert stage.dns(a, "web") == " ".join(["0", *sorted([ip_a, ip_d])])
    assert stage.dns(d, "a") == f"0 {ip_a}"


def test_a_container_may_have_a_dns_server_of_its_own(stage: Stage) -> None:
    a = stage.container("a")
    stage.tell('n.create(NetworkSpec("front", "p"))')
    (ip,) = stage.join(a, "a", "front")
    own = (
        "import socket; s = socket.socket(2, 2); s.bind(('0.0.0.0', 53)); c = socket.socket(2, 2); c.settimeout(1); "
        "c.sendto(b'x', ('127.0.0.1', 53)); print(s.recv(5).decode())"
    )
    assert stage.enter(a.pid, sys.executable, "-c", own) == "x"
    assert stage.dns(a, "a") == f"0 {ip}"


def test_what_a_file_asks_of_addresses_is_given_or_refused_in_words(stage: Stage) -> None:
    a, b = stage.container("a"), stage.container("b")
    stage.remote()
    pools = 'pools=(Pool("10.9.0.0/24", "10.9.0.64/26", "10.9.0.254", ("10.9.0.64",)),)'
    stage.tell(f'n.create(NetworkSpec("front", "p", {pools}))')
    with pytest.raises(Failed, match=r'network "two": subnet 10.9.0.0/16 overlaps 10.9.0.0/24 of network "front"'):
        stage.tell('n.create(NetworkSpec("two", "p", pools=(Pool("10.9.0.0/16"),)))')
    with pytest.raises(Failed, match=r"subnet 192.0.2.0/25 overlaps 192.0.2.0/24 of a route of this host through up0"):
        stage.tell('n.create(NetworkSpec("two", "p", pools=(Pool("192.0.2.0/25"),)))')
    with pytest.raises(Failed, match="without IPv4 is not supported"):
        stage.tell('n.create(NetworkSpec("two", "p", ipv4=False, ipv6=True))')
    assert stage.tell("[r.name for r in n.records()]") == "['front']"
    more = ', ipv4_address="10.9.0.7", interface="net7", mac_address="02:00:00:00:00:07", default_route=True'
    assert stage.join(a, "a", "front", more=more) == ["10.9.0.7"]
    link = json.loads(stage.enter(a.pid, "ip", "-j", "address", "show", "dev", "net7"))[0]
    assert (link["address"], link["addr_info"][0]["local"]) == ("02:00:00:00:00:07", "10.9.0.7")
    route = json.loads(stage.enter(a.pid, "ip", "-j", "route", "show", "default"))[0]
    assert (route["gateway"], route["dev"]) == ("10.9.0.254", "net7")
    with pytest.raises(Failed, match=r"address 10.9.0.7 is already in use"):
        stage.join(b, "b", "front", more=', ipv4_address="10.9.0.7"')
    with pytest.raises(Failed, match=r"address 10.8.0.7 is not in subnet 10.9.0.0/24"):
        stage.join(b, "b", "front", more=', ipv4_address="10.8.0.7"')
    with pytest.raises(Failed, match='network "none" does not exist'):
        stage.join(b, "b", "front", "none")
    assert stage.tell("[e.owner for e in n.endpoints()]") == "['a']", "all or nothing"
    assert stage.join(b, "b", "front") == ["10.9.0.66"], (
        "the first of the range that was neither reserved nor just used"
    )


def test_after_a_kill_another_supervisor_has_everything_again(stage: Stage) -> None:
    a, b = stage.container("a"), stage.container("b")
    remote = stage.remote()
    stage.tell('n.create(NetworkSpec("front", "p"))')
    (ip_a,), (ip_b,) = stage.join(a, "a", "front"), stage.join(b, "b", "front")
    for protocol in ("tcp", "udp"):
        stage.tell(f'n.publish(Publication("p/web", None, 8080, 8080, "{protocol}", 80))')
    stage.tell(f'n.set_backends("p/web", [Backend("a", "{ip_a}"), Backend("b", "{ip_b}")])')
    stage.kill_supervisor()
    assert sorted(stage.ask("tcp", "192.0.2.1", 8080, 2, of=remote)) == ["a", "b"], "the kernel needs nobody"
    stage.supervisor()
    rules = stage.rules()
    stage.tell("n.recover()")
    for container, owner in ((a, "a"), (b, "b")):
        for _ in range(2):  # may be repeated
            stage.tell(f'n.adopt("{owner}", fds[0], fds[1], fds[2])', container.fds[2:])
    assert stage.rules() == rules, "what is there is not touched"
    assert stage.dns(a, "web") == f"0 {ip_a} {ip_b}"
    for protocol in ("tcp", "udp"):
        assert sorted(stage.ask(protocol, "::1", 8080, 4)) == ["a", "a", "b", "b"], "relayed again"
    with pytest.raises(Failed, match="PortTaken"):
        stage.tell('n.publish(Publication("p/other", None, 8080, 8080, "tcp", 80))')
    assert stage.tell('[b.owner for b in n.backends("p/web")]') == "['a', 'b']"
    stage.tell('n.detach("b")')
    assert stage.ask("tcp", "192.0.2.1", 8080, 2, of=remote) == ["a", "a"]


def test_rules_and_links_that_someone_deleted_are_made_again(stage: Stage) -> None:
    a = stage.container("a")
    remote = stage.remote()
    record = stage.tell('n.create(NetworkSpec("front", "p"))')
    (ip,) = stage.join(a, "a", "front")
    stage.tell('n.publish(Publication("p/web", None, 8080, 8080, "tcp", 80))')
    stage.tell(f'n.set_backends("p/web", [Backend("a", "{ip}")])')
    bridge = record.split("bridge='")[1].split("'")[0]
    rules = stage.rules()
    stage.kill_supervisor()
    stage.host.run("nft", "flush", "ruleset")
    stage.host.run("ip", "link", "delete", bridge)
    stage.supervisor()
    stage.tell("n.recover()")
    assert stage.rules() == rules
    assert stage.ask("tcp", "192.0.2.1", 8080, of=remote) == ["a"], "and its link is in the bridge again"


def test_two_projects_do_not_touch_each_other(stage: Stage) -> None:
    a, b = stage.container("a"), stage.container("b")
    stage.supervisor("q")
    stage.tell('n.create(NetworkSpec("p_default", "p"))')
    stage.tell('n.create(NetworkSpec("q_default", "q"))', project="q")
    (ip_a,), (ip_b,) = stage.join(a, "a", "p_default"), stage.join(b, "b", "q_default", project="q")
    assert ip_a != ip_b
    assert stage.ask("tcp", ip_b, 80, of=a) == ["timeout"]
    stage.tell('n.publish(Publication("p/web", None, 8080, 8080, "tcp", 80))')
    stage.tell(f'n.set_backends("p/web", [Backend("a", "{ip_a}")])')
    with pytest.raises(Failed, match=r'is in use \(by service "web" of project "p"\)'):
        stage.tell('n.publish(Publication("q/web", None, 8080, 8080, "tcp", 80))', project="q")
    stage.kill_supervisor("q")
    stage.supervisor("q")
    stage.tell("n.recover()", project="q")
    assert stage.tell("list(n._ports._held)", project="q") == "[]"
    stage.tell('n.detach("b")', project="q")
    stage.tell('n.remove("q_default")', project="q")
    assert stage.ask("tcp", "127.0.0.1", 8080) == ["a"]
    assert stage.ask("tcp", "::1", 8080) == ["a"]


def test_the_machines_bridge_is_there_while_anybody_is_on_it(stage: Stage) -> None:
    a, b = stage.container("a"), stage.container("b")
    stage.remote()
    stage.supervisor("q")
    with pytest.raises(Failed, match='"bridge" cannot be the name of a network'):
        stage.tell('n.create(NetworkSpec("bridge", "p"))')
    with pytest.raises(Failed, match='network "none" does not exist'):
        stage.join(a, "a", "bridge", "none")
    assert stage.tell("n.records()") == "[]", "nor is it there when nobody came"
    stage.join(a, "a", "bridge")
    (ip_b,) = stage.join(b, "b", "bridge", project="q")
    assert stage.ask("tcp", ip_b, 80, of=a) == ["b"], "of another project"
    assert stage.ask("tcp", "192.0.2.2", 80, of=a) == ["remote"]
    stage.tell('n.detach("a")')
    assert stage.ask("tcp", "192.0.2.2", 80, of=b) == ["remote"]
    stage.tell('n.detach("b")', project="q")
    assert stage.rules() == ""
    assert "br-" not in stage.enter(stage.host.pid, "ip", "link")
