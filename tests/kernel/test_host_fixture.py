"""The machine that the kernel tests run on is their own."""

from __future__ import annotations

import os

from .conftest import Machine, leaks


def test_a_test_sees_loopback_alone_and_up(host: Machine) -> None:
    assert host.run("cat", "/proc/net/dev").stdout.count(":") == 1
    host.python("import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())")


def test_what_a_test_mounts_is_not_seen_outside(host: Machine) -> None:
    host.run("touch", f"{host.state}/inside")
    assert os.listdir(host.state) == []


def test_a_mount_left_behind_is_told(host: Machine) -> None:
    host.run("mkdir", f"{host.state}/left")
    host.run("mount", "-t", "tmpfs", "left", f"{host.state}/left")
    assert leaks(host) == [f"mount {host.state}/left"]
    host.run("umount", f"{host.state}/left")
    assert leaks(host) == []
