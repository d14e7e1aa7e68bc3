"""What a container reaches of the host's devices where nobody controls them, and what of the host's lies inside it.

Each feature that controls devices is taken away in turn: all cgroups, and bpf(2) where cgroup v2 alone is there.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pycompose.runtime.policy.cgroup import hierarchies

from .conftest import Machine

NO_CGROUPS = "umount -R /sys/fs/cgroup && ! grep -q cgroup /proc/self/mounts"
ONLY_V2 = "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup"
# A filter that the keeper inherits: bpf(2) ends with EPERM.
WITHOUT_BPF = """
import os, sys
from pycompose.runtime.linux import seccomp, syscalls
from pycompose.runtime.spec import Seccomp, SeccompRule
rules = (SeccompRule(("bpf",), "SCMP_ACT_ERRNO", 1),)
syscalls.seccomp_filter(seccomp.compile(Seccomp("SCMP_ACT_ALLOW", None, (), rules), ()))
os.execv(sys.executable, [sys.executable, "-m", "pycompose", *sys.argv[1:]])
"""
ATTACK = """
number=$(cat /sys/block/*/dev | head -n 1)
for folder in /srv /dev /dev/shm /scratch /volume /bound; do
  mknod $folder/disk b ${number%:*} ${number#*:} 2>/dev/null && echo "made in $folder"
  head -c 1 $folder/disk >/dev/null 2>&1 && echo "read in $folder"
  mknod $folder/zero c 1 5 2>/dev/null && echo "made in $folder"
done
head -c 1 /bound/left | od -An -tx1
for node in null zero full random urandom; do chmod 0 /dev/$node 2>/dev/null && echo "changed $node"; done
head -c 1 /dev/zero | od -An -tx1; echo x > /dev/null && echo usable; head -c 1 /dev/urandom | wc -c
mknod /srv/pipe p && echo pipes
"""


@dataclass(frozen=True, slots=True)
class Bare:
    """A machine without control of devices, and a project on it."""

    machine: Machine
    file: Path
    bpf: bool

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        arguments = ("-p", "p", "-f", str(self.file), *arguments)
        if self.bpf:
            return self.machine.pycompose(*arguments, check=check)
        return self.machine.run(sys.executable, "-c", WITHOUT_BPF, *arguments, check=check)


@pytest.fixture(params=["no cgroups", "no bpf"])
def bare(host: Machine, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bare]:
    if request.param == "no bpf" and not hierarchies().unified:
        pytest.skip("this machine has no cgroup v2")
    host.run("sh", "-c", NO_CGROUPS if request.param == "no cgroups" else ONLY_V2)
    bare = Bare(host, tmp_path / "compose.yaml", request.param == "no cgroups")
    yield bare
    bare("down", "-v", "-t", "0")


def test_no_disk_is_reached_where_nobody_controls_devices(bare: Bare) -> None:
    (bare.file.parent / "bound").mkdir()
    os.mknod(bare.file.parent / "bound" / "left", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    (bare.file.parent / "attack.sh").write_text(ATTACK)
    bare.file.write_text("""
services:
  attacker:
    image: host
    tmpfs: [/scratch]
    volumes: [volume:/volume, ./bound:/bound]
    configs: [{source: attack, target: /attack.sh}]
    command: [sh, /attack.sh]
configs: {attack: {file: ./attack.sh}}
volumes: {volume: {}}
""")
    done = bare("up", "--no-color", "--no-log-prefix", check=False)
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert [line for line in lines if line.startswith(("made", "read", "changed"))] == []
    assert lines.count("00") == 1, done.stdout  # /dev/zero, and not what lay in the folder that is bound
    assert {"usable", "1", "pipes"} <= set(lines)
    assert "nobody controls devices" in done.stderr
    assert ("(bpf: Operation not permitted)" in done.stderr) == (not bare.bpf)
    assert "MKNOD is taken away" in done.stderr


def test_a_further_process_makes_no_device_either(bare: Bare) -> None:
    bare.file.write_text("services: {one: {image: host, command: [sh, -c, 'read x'], stdin_open: true}}\n")
    bare("up", "-d")
    done = bare("exec", "-T", "one", "sh", "-c", "mknod /srv/zero c 1 5; grep CapBnd /proc/self/status", check=False)
    assert "Operation not permitted" in done.stderr
    assert done.stdout.split() == ["CapBnd:", "00000000a00425fb"]
    bare("exec", "-T", "one", "sh", "-c", "echo > /proc/1/fd/0", check=False)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [("cap_add: [SYS_ADMIN]", "with SYS_ADMIN"), ("devices: ['/dev/zero:/dev/mine:r']", "to the access `r`")],
)
def test_what_cannot_be_confined_is_refused_with_the_way_out(bare: Bare, wanted: str, reason: str) -> None:
    bare.file.write_text(f"services: {{one: {{image: host, command: 'true', {wanted}}}}}\n")
    done = bare("up", "-d", check=False)
    assert done.returncode == 1
    assert reason in done.stderr
    assert "cgroup" in done.stderr
    assert "privileged: true" in done.stderr


def test_a_privileged_container_needs_nobody_to_control_devices(bare: Bare) -> None:
    bare.file.write_text(
        "services: {one: {image: host, privileged: true, command: [sh, -c, 'mknod /srv/z c 1 5 && head -c1 /srv/z']}}"
    )
    assert "exited with code 0" in bare("up", "--no-color").stdout


def test_a_named_device_is_there_and_usable(bare: Bare) -> None:
    bare.file.write_text("""
services:
  one:
    image: host
    devices: ["/dev/zero:/dev/a/mine"]
    command: [sh, -c, "head -c1 /dev/a/mine | od -An -tx1; ls /dev"]
""")
    lines = bare("up", "--no-color", "--no-log-prefix").stdout.split()
    assert "00" in lines
    assert {"null", "ptmx", "pts", "shm", "stdin", "fd", "tty"} <= set(lines)


# --- nothing of the host's /dev inside ---

TAKE = """
for path in /proc/keys /proc/timer_list /proc/kcore /proc/interrupts /dev/stdin /proc/self/fd/0 /dev/null; do
  chmod 0 $path 2>/dev/null; chown 7:7 $path 2>/dev/null; touch $path 2>/dev/null
done
for path in /proc/keys /proc/timer_list /proc/kcore; do
  [ -e $path ] && chmod 600 $path 2>/dev/null && echo "changed $path"
done
readlink /proc/self/fd/0
cat /proc/self/mountinfo
"""


def status(path: str) -> tuple[int, int, int, int]:
    now = os.stat(path)
    return now.st_mode, now.st_uid, now.st_gid, now.st_mtime_ns


@pytest.mark.parametrize(
    "wanted",
    ["", "tty: true", "read_only: true", "ipc: host", "devices: [/dev/zero]", "pid: host", "init: true"],
)
def test_no_node_of_the_hosts_dev_is_inside(host: Machine, tmp_path: Path, wanted: str) -> None:
    file = tmp_path / "compose.yaml"
    (tmp_path / "take.sh").write_text(TAKE)
    file.write_text(f"""
services:
  one:
    image: host
    command: [sh, /take.sh]
    configs: [{{source: take, target: /take.sh}}]
    {wanted}
configs: {{take: {{file: ./take.sh}}}}
""")
    before = [status(path) for path in ("/dev/null", "/proc/keys", "/proc/timer_list", "/dev/zero")]
    done = host.pycompose("-p", "p", "-f", str(file), "up", "--no-color", "--no-log-prefix")
    host.pycompose("-p", "p", "-f", str(file), "down", "-t", "0")
    assert before == [status(path) for path in ("/dev/null", "/proc/keys", "/proc/timer_list", "/dev/zero")]
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert [line for line in lines if line.startswith("changed")] == []
    rows = [line.split(" - ") for line in lines if " - " in line and line.split()[0].isdigit()]
    assert len(rows) > 5, done.stdout
    assert [row for row in rows if row[1].split()[0] == "devtmpfs"] == []
    if not wanted or wanted == "init: true":
        assert "/dev/null" in lines
