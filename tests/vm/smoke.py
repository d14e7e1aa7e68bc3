"""What only this guest can show; run inside it by guest.py, and collected nowhere else (the name matches no pattern).

Containers here live on cgroup v2 alone, under a systemd that owns the tree above them, with AppArmor on.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path


def test_the_guest_is_the_other_kind_of_machine() -> None:
    assert platform.release().startswith("6.1.")
    assert Path("/proc/1/comm").read_text() == "systemd\n"
    assert Path("/sys/module/apparmor/parameters/enabled").read_text() == "Y\n"
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    assert [(place, kind) for _, place, kind, *_ in mounts if "cgroup" in kind] == [("/sys/fs/cgroup", "cgroup2")]
    assert os.listdir("/sys/class/net") == ["lo"]
