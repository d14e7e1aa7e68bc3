"""Networks as services have them: what a file says of addresses, ports and names is what containers see. Needs root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Machine
from .service_tools import Described

pytestmark = pytest.mark.usefixtures("root", "ip_and_nft")


@pytest.fixture
def project(host: Machine, tmp_path: Path) -> Iterator[Described]:
    described = Described(host, tmp_path / "compose.yaml")
    yield described
    described("down", "-v", "-t", "0", "--remove-orphans")


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
