"""What only this guest can show; run inside it by guest.py, and collected nowhere else (the name matches no pattern).

Containers here live on cgroup v2 alone, under a systemd that owns the tree above them, with AppArmor on.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..kernel.conftest import Machine, host  # noqa: TID252
from ..kernel.service_tools import until  # noqa: TID252

__all__ = ["host"]  # the fixture

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "dask"
LIMITED = """
name: limited
services:
  box:
    image: host
    init: true
    command: [sh, -c, "while :; do :; done"]
    mem_limit: 96m
    memswap_limit: 96m
    cpus: 0.25
    cpu_shares: 512
    cpuset: "0"
    pids_limit: 20
"""
FILES = ("memory.max", "memory.swap.max", "cpu.max", "cpu.weight", "cpuset.cpus", "pids.max")
THIRSTY = """
name: thirsty
services:
  thesis:
    image: host
    command: [python3, -c, "held = b'x' * (200 << 20); print('nobody stopped me')"]
    mem_limit: 48m
    memswap_limit: 48m
"""
PROGRAM = """
import os, socket, subprocess
def tell(name, action, *arguments):
    try:
        action(*arguments)
        print(name, "allowed")
    except OSError as error:
        print(name, error.strerror)
for process in ("self", 1):
    print(open(f"/proc/{process}/attr/current").read().strip())
os.umask(0)
tell("kill", os.kill, 1, 0)
tell("alg", socket.socket, 38, 5)
for path in ("/srv/file", "/proc/self/oom_score_adj", "/proc/sys/kernel/shmmni", "/sys/fs/cgroup/cgroup.max.depth"):
    tell(path, os.open, path, os.O_WRONLY | (os.O_CREAT if path == "/srv/file" else 0))
denied = "/proc/sys/kernel/panic /proc/sys/net/ipv4/ip_forward /proc/sys/vm/swappiness /proc/sysrq-trigger"
denied += " /proc/irq/default_smp_affinity /sys/devices/virtual/net/lo/mtu /sys/module/apparmor/parameters/mode"
for path in denied.split():
    tell(path, os.open, path, os.O_WRONLY)
tell("firmware", os.listdir, "/sys/firmware/acpi")
print("mount", subprocess.run(["mount", "-t", "tmpfs", "none", "/mnt"], stderr=subprocess.DEVNULL).returncode)
"""
TRIED = """
pycompose-default (enforce)
pycompose-default (enforce)
kill allowed
alg Permission denied
/srv/file allowed
/proc/self/oom_score_adj allowed
/proc/sys/kernel/shmmni allowed
/sys/fs/cgroup/cgroup.max.depth allowed
/proc/sys/kernel/panic Permission denied
/proc/sys/net/ipv4/ip_forward Permission denied
/proc/sys/vm/swappiness Permission denied
/proc/sysrq-trigger Permission denied
/proc/irq/default_smp_affinity Permission denied
/sys/devices/virtual/net/lo/mtu Permission denied
/sys/module/apparmor/parameters/mode Permission denied
firmware Permission denied
mount 32
"""
# Who is privileged has no profile, unless the file asks for one: then nothing but AppArmor holds it back.
WORN: dict[str, dict[str, object]] = {
    "plain": {},
    "free": {"privileged": True},
    "held": {
        "privileged": True,
        "init": True,
        "security_opt": ["apparmor=pycompose-default"],
        "command": ["python3", "-c", PROGRAM],
    },
}
KEPT = """
name: kept
services:
  box: {image: host, tty: true, restart: always, command: [sh, -c, "echo up; exec sleep 1000"]}
"""


def cgroup_of(machine: Machine, project: str) -> Path:
    """The one container's folder."""
    (folder,) = (
        path
        for path in Path("/sys/fs/cgroup", machine.environment["PYCOMPOSE_CGROUP"], project).iterdir()
        if path.is_dir() and path.name != "helpers"
    )
    return folder


def rows(machine: Machine, *arguments: str) -> list[dict[str, Any]]:
    said = machine.pycompose(*arguments, "--format", "json").stdout
    return [json.loads(line) for line in said.splitlines()]


def test_the_guest_is_the_other_kind_of_machine() -> None:
    assert platform.release().startswith("6.1.")
    assert Path("/proc/1/comm").read_text() == "systemd\n"
    assert Path("/sys/module/apparmor/parameters/enabled").read_text() == "Y\n"
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    assert [(place, kind) for _, place, kind, *_ in mounts if "cgroup" in kind] == [("/sys/fs/cgroup", "cgroup2")]
    assert os.listdir("/sys/class/net") == ["lo"]


def test_limits_hold_while_systemd_rearranges_the_tree_above(host: Machine, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(LIMITED)
    project = ("-f", str(tmp_path / "compose.yaml"))
    try:
        host.pycompose(*project, "up", "-d")
        folder = cgroup_of(host, "limited")
        limits = {name: (folder / name).read_text().strip() for name in FILES}
        assert limits["memory.max"] == str(96 << 20)
        assert limits["memory.swap.max"] == "0"
        assert limits["cpu.max"] == "25000 100000"
        assert (limits["cpuset.cpus"], limits["pids.max"]) == ("0", "20")
        assert 1 < int(limits["cpu.weight"]) < 100
        # systemd goes through the controllers of all groups again, and drops those that none of its units wants
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        subprocess.run(["systemd-run", "--quiet", "--wait", "-p", "CPUWeight=50", "true"], check=True)
        assert {name: (folder / name).read_text().strip() for name in FILES} == limits
        times = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())
        assert int(times["nr_throttled"]) > 0, "the loop never met its quarter of a core"

        (used,) = rows(host, *project, "stats", "--no-stream")
        assert "96MiB" in used["MemUsage"]
        assert int(used["PIDs"]) == 2
        host.pycompose(*project, "pause")
        assert "frozen 1" in (folder / "cgroup.events").read_text().splitlines()
        before = (folder / "cpu.stat").read_text().split()[1]
        assert rows(host, *project, "ps")[0]["State"] == "paused"
        assert (folder / "cpu.stat").read_text().split()[1] == before
        host.pycompose(*project, "unpause")
        assert "frozen 0" in (folder / "cgroup.events").read_text().splitlines()
        host.pycompose(*project, "kill")
        assert rows(host, *project, "ps", "-a")[0]["ExitCode"] == 137
    finally:
        host.pycompose(*project, "down", "-t", "0")


def test_who_takes_too_much_memory_is_ended_and_it_is_told(host: Machine, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(THIRSTY)
    project = ("-f", str(tmp_path / "compose.yaml"))
    try:
        host.pycompose(*project, "up", "-d")
        host.pycompose(*project, "wait", "thesis", check=False)
        (thesis,) = rows(host, *project, "ps", "-a")
        assert thesis["ExitCode"] == 137
        assert "out of memory" in thesis["Status"]
        assert host.pycompose(*project, "logs").stdout == ""
    finally:
        host.pycompose(*project, "down", "-t", "0")


def test_apparmor_holds_back_as_in_docker(host: Machine, tmp_path: Path) -> None:
    services = {
        name: {"image": "host", "command": "cat /proc/self/attr/current", **more} for name, more in WORN.items()
    }
    (tmp_path / "compose.yaml").write_text(json.dumps({"name": "worn", "services": services}).replace("$", "$$"))
    project = ("-f", str(tmp_path / "compose.yaml"))
    try:
        host.pycompose(*project, "up")
        lines = [line.partition(" | ") for line in host.pycompose(*project, "logs").stdout.splitlines()]
        said = {name: [text for who, _, text in lines if who.startswith(f"{name}-1")] for name in WORN}
        assert said["plain"] == ["pycompose-default (enforce)"]
        assert said["free"] == ["unconfined"]
        assert said["held"] == TRIED.strip().splitlines()
    finally:
        host.pycompose(*project, "down", "-t", "0")


def test_a_project_outlives_the_unit_that_brought_it_up(host: Machine, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(KEPT)
    project = ("-f", str(tmp_path / "compose.yaml"))
    up = host.entering_pycompose(*project, "up", "-d")
    told = [f"--setenv={name}={value}" for name, value in host.environment.items() if name.startswith("PYCOMPOSE")]

    def box() -> int:
        (pid,) = (cgroup_of(host, "kept") / "cgroup.procs").read_text().split()
        return int(pid)

    try:
        # systemd ends all processes of a unit's group with it: those of this command, and no helper of the project
        subprocess.run(["systemd-run", "--pipe", "--quiet", "--wait", *told, *up], check=True)
        before = box()
        os.kill(before, signal.SIGKILL)
        until(lambda: host.pycompose(*project, "logs").stdout.count("up") == 2)
        assert box() != before
    finally:
        host.pycompose(*project, "down", "-t", "0")


def test_the_dask_example_computes_on_two_workers(host: Machine) -> None:
    """Two, for each of them imports Dask twice, which takes ten seconds here."""
    pycompose = (f"DASK_PYTHON={sys.executable}", sys.executable, "-m", "pycompose", "-p", "dask-distributed")
    try:
        host.run("env", *pycompose, "-f", f"{EXAMPLE}/compose.yaml", "up", "-d")
        host.run("env", *pycompose, "scale", "dask-worker=2")
        said = host.run(sys.executable, f"{EXAMPLE}/compute.py", "2").stdout
        assert "by 2 workers" in said
        assert said.count("1500 MB") == 2
    finally:
        host.run("env", *pycompose, "down")
