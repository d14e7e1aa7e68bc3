"""`network connect` and `disconnect`: a container on one network more or less, while it runs and afterwards."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from .service_tools import Described, until
from .test_recovery import await_another, peer

pytestmark = pytest.mark.usefixtures("root", "ip_and_nft")

SLEEPER = 'image: host, command: [sleep, "600"], init: true'
OTHER = f"""
services: {{z: {{{SLEEPER}, networks: [n]}}}}
networks: {{n: {{ipam: {{config: [{{subnet: 10.213.7.0/24}}]}}}}}}
"""


@pytest.fixture
def theirs(project: Described, tmp_path: Path) -> Any:
    """Another project, with a network of its own."""
    other = tmp_path / "other.yaml"
    other.write_text(OTHER)
    words = ("-p", "q", "-f", str(other))
    project.machine.pycompose(*words, "up", "-d")
    yield words
    project("down", "-t", "0")
    project.machine.pycompose(*words, "down", "-t", "0")


def links(project: Described) -> list[str]:
    return project.inside("web", "ls /sys/class/net").split()


def own_names(project: Described) -> list[str]:
    """The lines of its own names in a container's /etc/hosts."""
    return project.inside("web", "grep -w $(cat /etc/hostname) /etc/hosts").splitlines()


def networks(project: Described) -> dict[str, Any]:
    (one,) = json.loads(project.machine.pycompose("inspect", "p-web-1").stdout)
    return dict(one["NetworkSettings"]["Networks"])


def finds(project: Described, theirs: tuple[str, ...], name: str) -> bool:
    """Whether the other project's container knows that name."""
    return not project.machine.pycompose(*theirs, "exec", "-T", "z", "getent", "hosts", name, check=False).returncode


def test_a_running_container_joins_and_leaves_another_projects_network(
    project: Described, theirs: tuple[str, ...]
) -> None:
    project.describe(f"services: {{web: {{{SLEEPER}}}, db: {{{SLEEPER}}}}}")
    project("up", "-d")
    pycompose = project.machine.pycompose
    routes = project.inside("web", "ip route show default")
    pycompose("network", "connect", "--alias", "shop", "--ip", "10.213.7.77", "q_n", "p-web-1")
    assert "eth1" in links(project)
    assert project.inside("web", "ip route show default") == routes
    assert "10.213.7.77/24" in project.inside("web", "ip -o -4 addr show dev eth1")
    assert [line.split()[0] for line in own_names(project)][1:] == ["10.213.7.77"], "after the one that it had"
    assert project.inside("web", "getent hosts z"), "it knows who is there"
    assert finds(project, theirs, "shop")
    assert finds(project, theirs, "p-web-1")
    assert networks(project)["q_n"]["IPAddress"] == "10.213.7.77"
    assert project.ps()["web-1"]["Networks"] == "p_default,q_n"
    (network,) = json.loads(pycompose("network", "inspect", "q_n").stdout)
    assert "p-web-1" in {one["Name"] for one in network["Containers"].values()}
    again = pycompose("network", "connect", "q_n", "p-web-1", check=False)
    assert (again.returncode, "endpoint with name p-web-1 already exists in network q_n" in again.stderr) == (1, True)

    refused = pycompose("network", "connect", "--ip", "10.213.7.1", "q_n", "p-db-1", check=False)
    assert (refused.returncode, "10.213.7.1" in refused.stderr) == (1, True)
    assert project.inside("db", "ls /sys/class/net").split() == ["eth0", "lo"]
    assert project.ps()["db-1"]["Networks"] == "p_default", "nothing of it stays"

    project("restart", "-t", "0")
    assert networks(project)["q_n"]["IPAddress"] == "10.213.7.77"
    assert finds(project, theirs, "shop")
    project("up", "-d")
    assert "q_n" in networks(project), "up leaves it as it is"

    pycompose("network", "disconnect", "q_n", "p-web-1")
    assert "eth1" not in links(project)
    assert len(own_names(project)) == 1
    assert not any(line.startswith("10.213.7.77") for line in own_names(project))
    assert list(networks(project)) == ["p_default"]
    assert not finds(project, theirs, "shop")
    leases = [path.name for path in Path(project.machine.state).rglob("q_n/leases/*")]
    assert "10.213.7.77" not in leases
    left = pycompose("network", "disconnect", "q_n", "p-web-1", check=False)
    assert (left.returncode, "is not connected to network q_n" in left.stderr) == (1, True)
    pycompose("network", "disconnect", "-f", "q_n", "p-web-1")


def test_a_stopped_container_joins_at_its_next_start_and_the_default_route_moves(
    project: Described, theirs: tuple[str, ...]
) -> None:
    project.describe(f"services: {{web: {{{SLEEPER}}}}}")
    project("up", "-d")
    project("stop", "-t", "0")
    pycompose = project.machine.pycompose
    pycompose("network", "connect", "q_n", "p-web-1")
    assert "is used by p-web-1" in pycompose("network", "rm", "q_n", check=False).stderr
    project("start")
    assert sorted(networks(project)) == ["p_default", "q_n"]
    pycompose("network", "disconnect", "p_default", "p-web-1")
    assert list(networks(project)) == ["q_n"]
    assert "10.213.7.1" in project.inside("web", "ip route show default")
    assert project.inside("web", "getent hosts z")
    pycompose("network", "connect", "--alias", "web", "p_default", "p-web-1")
    assert sorted(networks(project)) == ["p_default", "q_n"]
    pycompose("network", "disconnect", "p_default", "p-web-1")
    project("up", "-d", "-t", "0")
    assert list(networks(project)) == ["p_default"], "made anew, as its file has it"


def test_a_container_that_removed_its_links_leaves_and_joins_all_the_same(project: Described) -> None:
    """It may, with NET_ADMIN; what it has no more is no reason to stay on record as connected."""
    project.describe(
        f"services: {{web: {{{SLEEPER}, cap_add: [NET_ADMIN], networks: {{a: {{priority: 9}}, b: {{}}}}}}}}\n"
        "networks: {a: {}, b: {}}\n"
    )
    project("up", "-d")
    try:
        project.inside("web", "ip link del eth1")
        project.machine.pycompose("network", "disconnect", "p_a", "p-web-1")
        assert set(networks(project)) == {"p_b"}
        project.machine.pycompose("network", "connect", "p_a", "p-web-1")
        assert set(networks(project)) == {"p_a", "p_b"}
    finally:
        project("down", "-t", "0")


def test_published_ports_lead_to_the_network_that_is_left(project: Described, theirs: tuple[str, ...]) -> None:
    project.describe("""
services:
  web:
    image: host
    command: [python3, -m, http.server, "8000", --directory, /etc/hostname]
    init: true
    ports: ["127.0.0.1:8099:8000"]
""")
    project("up", "-d")
    pycompose = project.machine.pycompose
    pycompose("network", "connect", "q_n", "p-web-1")
    pycompose("network", "disconnect", "p_default", "p-web-1")
    asked = ("curl", "-s", "-o", "/dev/null", "--max-time", "20", "http://127.0.0.1:8099/")
    until(lambda: not project.machine.run(*asked, check=False).returncode, condition="an answer at the port")


def test_a_network_with_ipv6_needs_a_container_that_was_made_with_it(project: Described) -> None:
    project.describe(
        f"services: {{web: {{{SLEEPER}}}, six: {{{SLEEPER}, networks: [six]}}}}\n"
        "networks: {six: {enable_ipv6: true}}"
    )
    project("up", "-d")
    refused = project.machine.pycompose("network", "connect", "p_six", "p-web-1", check=False)
    assert (refused.returncode, "p-web-1 was made without IPv6" in refused.stderr) == (1, True)
    project.machine.pycompose("network", "connect", "p_default", "p-six-1")


@pytest.mark.parametrize("killed", ["p", "q"])
def test_a_connection_outlives_both_supervisors(project: Described, theirs: tuple[str, ...], killed: str) -> None:
    project.describe(f"services: {{web: {{{SLEEPER}}}}}")
    project("up", "-d")
    pycompose = project.machine.pycompose
    pycompose("network", "connect", "--alias", "shop", "q_n", "p-web-1")
    before = peer(project.machine, "control.sock", killed)
    os.kill(before, signal.SIGKILL)
    await_another(project.machine, "control.sock", before, killed)
    assert finds(project, theirs, "shop")
    assert project.inside("web", "getent hosts z")
    pycompose("network", "disconnect", "p_default", "p-web-1")
    assert list(networks(project)) == ["q_n"]
    assert project.inside("web", "getent hosts z")


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("host", "container cannot be disconnected from host network or connected to host network"),
        ("none", "container cannot be connected to multiple networks with one of the networks in private (none) mode"),
    ],
)
def test_a_container_without_networks_of_its_own_is_refused(
    project: Described, theirs: tuple[str, ...], mode: str, words: str
) -> None:
    project.describe(f"services: {{web: {{{SLEEPER}, network_mode: {mode}}}}}")
    project("up", "-d")
    refused = project.machine.pycompose("network", "connect", "q_n", "p-web-1", check=False)
    assert (refused.returncode, words in refused.stderr) == (1, True)
    missing = project.machine.pycompose("network", "connect", "nope", "p-web-1", check=False)
    assert (missing.returncode, "network nope not found" in missing.stderr) == (1, True)
    missing = project.machine.pycompose("network", "connect", "q_n", "nope", check=False)
    assert (missing.returncode, "No such container: nope" in missing.stderr) == (1, True)
