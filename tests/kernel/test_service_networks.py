"""Networks as services have them: what a file says of addresses, ports and names is what containers see. Needs root."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from .service_tools import Described, until

pytestmark = pytest.mark.usefixtures("root", "ip_and_nft")


def parameters(project: Described, service: str, link: str, names: str) -> list[str]:
    return project.inside(
        service, f"cd /proc/sys/net; for n in {names}; do cat ${{n%/*}}/conf/{link}/${{n#*/}}; done"
    ).split()


def test_a_neighbour_steers_no_interface_inside(project: Described) -> None:
    project.describe("""
services:
  four: {image: host, command: [sleep, "600"], init: true}
  six: {image: host, command: [sleep, "600"], init: true, networks: [six]}
  own: {image: host, command: [sleep, "600"], init: true, sysctls: {net.ipv6.conf.default.accept_ra: 2}}
networks: {six: {enable_ipv6: true}}
""")
    project("up", "-d")
    names = "ipv4/accept_redirects ipv6/accept_ra ipv6/autoconf ipv6/accept_redirects ipv6/disable_ipv6"
    assert parameters(project, "four", "eth0", names) == ["0", "0", "0", "0", "1"]
    assert parameters(project, "four", "all", "ipv4/accept_redirects") == ["0"]
    assert parameters(project, "four", "lo", "ipv6/disable_ipv6") == ["0"], "::1 is there"
    assert parameters(project, "six", "eth0", names) == ["0"] * 5
    assert parameters(project, "own", "eth0", "ipv6/accept_ra") == ["2"], "what a file asks for, it gets"


def addresses(project: Described, service: str, count: int) -> set[str]:
    said = [project("exec", "-T", "--index", str(n), service, "hostname", "-i").stdout for n in range(1, count + 1)]
    return {address for text in said for address in text.split()}


def test_an_address_that_a_file_fixes_is_kept_free(project: Described, tmp_path: Path) -> None:
    project.describe("""
services:
  first: {image: host, command: [sleep, "600"], init: true, scale: 3, networks: [n]}
  fixed:
    image: host
    command: [sleep, "600"]
    init: true
    depends_on: [first]
    networks: {n: {ipv4_address: 10.213.8.3, ipv6_address: "fd13::4"}}
  asleep: {image: host, command: [sleep, "600"], profiles: [x], networks: {n: {ipv4_address: 10.213.8.2}}}
networks: {n: {enable_ipv6: true, ipam: {config: [{subnet: 10.213.8.0/24}, {subnet: "fd13::/64"}]}}}
""")
    project("up", "-d", "first")
    assert addresses(project, "first", 3) == {f"10.213.8.{n}" for n in (5, 6, 7)} | {f"fd13::{n}" for n in (5, 6, 7)}
    project("up", "-d")
    assert addresses(project, "fixed", 1) == {"10.213.8.3", "fd13::4"}
    project("stop", "-t", "0", "fixed")
    project("up", "-d", "--scale", "first=5", "first")
    project("start", "fixed")
    project("stop", "-t", "0", "fixed")
    # somebody else's file does not say it
    other = tmp_path / "other.yaml"
    other.write_text("""
services: {z: {image: host, command: [sleep, "600"], init: true, scale: 3, networks: [n]}}
networks: {n: {external: true, name: p_n}}
""")
    theirs = ("-p", "q", "-f", str(other))
    project.machine.pycompose(*theirs, "up", "-d")
    project("start", "fixed")
    project("up", "-d", "--force-recreate", "fixed")
    assert addresses(project, "fixed", 1) == {"10.213.8.3", "fd13::4"}
    project("rm", "-sf", "fixed")
    assert not list(Path(project.machine.state).rglob("reserved/*")), "its end is the end of it"
    project.machine.pycompose(*theirs, "down", "-t", "0")


def test_beside_a_fixed_ipv4_address_is_no_ipv6_one_that_is_anothers(project: Described) -> None:
    project.describe("""
services:
  as_another: {image: host, command: [sleep, "600"], init: true, networks: {n: {ipv4_address: 10.213.8.20}}}
  as_gateway: {image: host, command: [sleep, "600"], init: true, networks: {n: {ipv4_address: 10.213.8.48}}}
  six:
    image: host
    command: [sleep, "600"]
    init: true
    depends_on: [as_another, as_gateway]
    networks: {n: {ipv6_address: "fd13::14"}}
networks:
  n: {enable_ipv6: true, ipam: {config: [{subnet: 10.213.8.0/24}, {subnet: "fd13::/64", gateway: "fd13::30"}]}}
""")
    project("up", "-d")
    assert "fd13::14" in addresses(project, "six", 1)
    others = addresses(project, "as_another", 1) | addresses(project, "as_gateway", 1)
    assert {"10.213.8.20", "10.213.8.48"} < others
    assert len(others) == 4
    assert not others & {"fd13::14", "fd13::30"}


@pytest.mark.parametrize("address", ["10.213.9.0", "10.213.9.31", "10.213.9.1", "10.213.9.40", "10.213.9.5/27"])
def test_an_address_that_nobody_can_have_is_refused_with_its_place(project: Described, address: str) -> None:
    project.describe(f"""
services:
  a: {{image: host, command: [sleep, "600"], networks: {{n: {{ipv4_address: {address}}}}}}}
  b: {{image: host, command: [sleep, "600"], init: true, networks: [n]}}
networks: {{n: {{ipam: {{config: [{{subnet: 10.213.9.0/27}}]}}}}}}
""")
    failed = project("up", "-d", check=False)
    assert failed.returncode == 1
    assert f'compose.yaml:3:74: ipv4_address "{address}" of service "a" ' in failed.stderr
    project("up", "-d", "b")
    assert project.states() == {"b-1": "running"}


SERVER = """
import os, socket
s = socket.create_server(("", 8000), backlog=64)
while True:
    c, _ = s.accept()
    c.sendall(os.environ["HOSTNAME"].encode())
    c.close()
"""
ASK = """
import socket, sys
for port in sys.argv[2:]:
    try:
        with socket.create_connection((sys.argv[1], int(port)), 2) as s:
            print(s.recv(99).decode() or "closed")
    except OSError as error:
        print(type(error).__name__)
"""


def asked(project: Described, *ports: int, host: str = "127.0.0.1") -> list[str]:
    """Who answers on these ports of the machine."""
    return project.machine.python(ASK, host, *map(str, ports)).stdout.split()


def test_a_port_of_a_range_is_one_containers_and_a_single_one_is_everybodys(project: Described) -> None:
    project.file.with_name("server.py").write_text(SERVER)
    project.describe("""
services:
  web:
    image: host
    init: true
    scale: 3
    command: [python3, /srv/server.py]
    volumes: [./server.py:/srv/server.py]
    ports: ["8100-8103:8000", "8200:8000", "8000"]
""")
    project("up", "-d")
    names = {
        n: project("exec", "-T", "--index", str(n), "web", "printenv", "HOSTNAME").stdout.strip() for n in (1, 2, 3)
    }

    def ports(index: int) -> list[int]:
        shown = project.ps()[f"web-{index}"]["Publishers"]
        return sorted({int(one["PublishedPort"]) for one in shown if one["TargetPort"] == 8000})

    until(lambda: set(asked(project, *range(8100, 8103))) == set(names.values()))
    for index, name in names.items():
        first, balanced, ephemeral = ports(index)
        assert balanced == 8200
        assert 8100 <= first <= 8102
        assert asked(project, first, ephemeral) == [name] * 2
        assert asked(project, first, host="::1") == [name]
        assert project("port", "--index", str(index), "web", "8000").stdout == f"0.0.0.0:{first}\n"
    assert set(asked(project, *[8200] * 6)) == set(names.values()), "spread"
    assert asked(project, 8103) == ["ConnectionRefusedError"]
    # the range has room for one more
    project("up", "-d", "--scale", "web=4", "--no-recreate")
    assert len(set(until(lambda: [a for a in [asked(project, 8100, 8101, 8102, 8103)] if "closed" not in a])[0])) == 4
    failed = project("up", "-d", "--scale", "web=5", "--no-recreate", check=False)
    assert failed.returncode == 1
    assert 'port 8100-8103/tcp of 0.0.0.0 is in use (by service "web" of project "p")' in failed.stderr
    assert "the range has room for 4" in failed.stderr
    project("up", "-d", "--scale", "web=2", "--no-recreate")
    left = {ports(index)[0] for index in (1, 2)}
    assert asked(project, *({8100, 8101, 8102, 8103} - left)) == ["ConnectionRefusedError"] * 2
    project("restart", "-t", "0", "web")
    until(lambda: [asked(project, ports(index)[0]) for index in (1, 2)] == [[names[1]], [names[2]]])
    assert ports(1)[0] != ports(2)[0]
    project("up", "-d", "--force-recreate", "--scale", "web=2", "-t", "0")
    until(lambda: len({*asked(project, ports(1)[0], ports(2)[0])} - {"closed", "ConnectionRefusedError"}) == 2)


def test_a_network_that_others_use_is_left_with_a_word(project: Described, tmp_path: Path) -> None:
    project.describe("services: {a: {image: host, command: [sleep, '600'], init: true}}")
    project("up", "-d")
    other = tmp_path / "other.yaml"
    other.write_text("""
services: {z: {image: host, command: [sleep, "600"], init: true, networks: [e]}}
networks: {e: {external: true, name: p_default}}
""")
    theirs = ("-p", "q", "-f", str(other))
    project.machine.pycompose(*theirs, "up", "-d")
    down = project("down", "-t", "0")
    assert "network p_default is still used by q-z-1" in down.stderr
    assert project.machine.pycompose(*theirs, "exec", "-T", "z", "getent", "hosts", "z").stdout
    project.machine.pycompose(*theirs, "down", "-t", "0")
    assert "still used" not in project("down", "-t", "0").stderr, "it can go now"


def test_the_machines_bridge_is_every_projects_and_knows_no_names_but_links(project: Described, tmp_path: Path) -> None:
    project.file.with_name("server.py").write_text(SERVER)
    project.describe("""
services:
  db:
    image: host
    init: true
    network_mode: bridge
    command: [python3, /srv/server.py]
    volumes: [./server.py:/srv/server.py]
    ports: ["8300:8000"]
  web: {image: host, command: [sleep, "600"], init: true, network_mode: bridge, links: ["db", "db:database"]}
  alone: {image: host, command: [sleep, "600"], init: true}
""")
    project("up", "-d")
    ask = f"python3 -c '{ASK}'"
    db = project.inside("db", "hostname")
    for name in ("db", "database", "db-1", "p-db-1"):
        assert until(partial(project.inside, "web", f"{ask} {name} 8000")) == db
    until(lambda: asked(project, 8300) == [db])
    project.inside("db", "getent hosts web || echo none")
    assert project.inside("db", "getent hosts web p-web-1 || echo none") == "none", "names are the links' alone"
    assert project.inside("alone", "getent hosts db || echo none") == "none"
    address = project.inside("db", "hostname -i")
    gateway = project.inside("db", "ip route show default").split()[2]
    assert address.startswith(gateway.rpartition(".")[0])
    # another project on the same bridge, which outlives the first
    other = tmp_path / "other.yaml"
    other.write_text("services: {z: {image: host, command: [sleep, '600'], init: true, network_mode: bridge}}")
    theirs = ("-p", "q", "-f", str(other))
    project.machine.pycompose(*theirs, "up", "-d")
    reach = ("exec", "-T", "z", "python3", "-c", ASK)
    assert project.machine.pycompose(*theirs, *reach, address, "8000").stdout.strip() == db
    before = project.machine.pycompose(*theirs, "exec", "-T", "z", "hostname", "-i").stdout
    # who is linked to is found again where it is then
    project("stop", "-t", "0", "db")
    project.machine.pycompose(*theirs, "up", "-d", "--scale", "z=2")
    project("start", "db")
    assert project.inside("web", "grep -c 'db-1 p-db-1' /etc/hosts") == "2", "a line for each alias"
    until(lambda: project.inside("web", f"{ask} database 8000") == db)
    project("down", "-t", "0")
    assert project.machine.pycompose(*theirs, "exec", "-T", "z", "hostname", "-i").stdout == before
    assert project.machine.pycompose(*theirs, *reach, gateway, "9").stdout.strip() == "ConnectionRefusedError"
    project("up", "-d")
    project.machine.pycompose(*theirs, "down", "-t", "0")
    assert until(lambda: project.inside("web", f"{ask} db 8000")) == project.inside("db", "hostname")
