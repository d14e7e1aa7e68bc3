"""pyroute2 is whole for everybody beside us, and what is asked of a kernel is answered."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pycompose.network import netlink, rtnetlink


@pytest.mark.parametrize("first", ["pycompose.network.netlink", "pyroute2"])
def test_pyroute2_is_whole_beside_us(first: str) -> None:
    code = f"import {first}, pycompose.network.netlink, pyroute2; pyroute2.IPRoute; pyroute2.NDB; pyroute2.netlink.core"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_networks_are_imported_without_pyroute2() -> None:
    code = "import sys, pycompose.network.networks; sys.exit('pyroute2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_conntrack_question_is_a_message_of_pyroute2() -> None:
    message = netlink._conntrack(netlink.GET_TUPLE, rtnetlink.DUMP, [])
    read = netlink._read_tracked(message)
    assert read["header"]["type"] == netlink.CONNTRACK | netlink.GET_TUPLE
    assert read["header"]["flags"] == rtnetlink.DUMP | rtnetlink.REQUEST


def test_the_loopback_is_found_by_name_and_by_index() -> None:
    with netlink.open_route() as sock:
        loopback = netlink.link(sock, "lo")
        assert loopback is not None
        assert netlink.link(sock, index=loopback.index) == loopback
        assert netlink.index(sock, "lo") == loopback.index
        assert netlink.link(sock, "no-such-link") is None
        with pytest.raises(OSError, match="No such device"):
            netlink.index(sock, "no-such-link")
