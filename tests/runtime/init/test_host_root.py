"""Where overlays of the host's files begin, and which of them hides what. The kernel's part is tests/kernel's."""

from __future__ import annotations

import pytest
from pycompose.runtime.init import host_root
from pycompose.runtime.spec import HostRoot


def root(hidden: tuple[str, ...] = (), shown: tuple[str, ...] = ()) -> HostRoot:
    return HostRoot("/var/lib/pycompose/x/host", hidden=hidden, shown=shown)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", True),
        ("/root", False),
        ("/root/a", False),
        ("/root/app", True),
        ("/root/app/b", True),
        ("/rootless", True),
    ],
)
def test_what_is_shown_is_what_the_nearest_says(path: str, expected: bool) -> None:
    assert host_root.is_shown(path, root(("/root",), ("/root/app",))) == expected


def test_overlays_begin_at_disks_that_are_seen_and_at_what_is_shown_in_what_is_hidden() -> None:
    wanted = root(("/var/log", "/root", "/home", "/var/lib/pycompose"), ("/root/app", "/home/me", "/home/me/data/x"))
    disks = ["/boot", "/home", "/home/me/data", "/home/you", "/var/lib/pycompose/x/host/d", "/var/log"]
    assert host_root.tops(wanted, disks) == ["/", "/boot", "/home/me", "/root/app", "/home/me/data"]


def test_a_disk_that_is_hidden_as_a_whole_is_left_out() -> None:
    assert host_root.tops(root(("/data",)), ["/data", "/data/inner"]) == ["/"]


def test_the_innermost_folder_is_the_longest() -> None:
    folders = ("/", "/home", "/home/me", "/homes")
    assert host_root.innermost("/home/me/x", folders) == "/home/me"
    assert host_root.innermost("/home/me", folders) == "/home"
    assert host_root.innermost("/homes2", folders) == "/"
    assert host_root.innermost("/", folders) == ""
