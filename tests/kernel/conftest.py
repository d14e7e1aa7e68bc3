"""A machine of its own for each kernel test: fresh mount and network namespaces, with our folders on a tmpfs.

A child process holds the namespaces; a test's commands join them with `nsenter`. Cgroups and process numbers are the
machine's own, so the leak check compares them before and after. What it does not do: hide the machine's files.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .service_tools import Described

CGROUPS = Path("/sys/fs/cgroup")
NUMBERS = itertools.count()
SLOWER = float(os.environ.get("PYCOMPOSE_TESTS_SLOWER", "1"))  # this machine's share in every time limit: tests/vm
HOLDER = """
set -e
mount --make-rprivate /
mkdir -p "$PYCOMPOSE_STATE" "$PYCOMPOSE_RUN"
mount -t tmpfs -o mode=0755 state "$PYCOMPOSE_STATE"
mount -t tmpfs -o mode=0700 run "$PYCOMPOSE_RUN"
echo ready
exec cat
"""
LOOPBACK_UP = (
    "import fcntl, socket, struct; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
    "fcntl.ioctl(s, 0x8914, struct.pack('16sH14x', b'lo', 0x41))"  # SIOCSIFFLAGS, IFF_UP|IFF_RUNNING: netdevice(7)
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a test's commands run; `state` and `run_folder` are empty tmpfs seen from inside alone."""

    pid: int
    state: str
    run_folder: str
    environment: Mapping[str, str]

    def entering(self, *command: str) -> list[str]:
        """The command that runs this one inside."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--net", "--wd=/", *command]

    def entering_pycompose(self, *arguments: str) -> list[str]:
        """The command that runs pycompose inside."""
        return self.entering(sys.executable, "-m", "pycompose", *arguments)

    def run(
        self, *command: str, check: bool = True, timeout: float = 60, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside; raises CalledProcessError (with what it said) and TimeoutExpired (seconds)."""
        done = subprocess.run(
            self.entering(*command),
            env=dict(self.environment),
            input=input if input is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout * SLOWER,
        )
        if check and done.returncode:
            raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def python(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-c", program, *arguments, check=check)

    def pycompose(
        self, *arguments: str, check: bool = True, timeout: float = 60, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "pycompose", *arguments, check=check, timeout=timeout, input=input)


def cgroups(tree: str) -> set[str]:
    """Every cgroup of the test's own tree, on whatever hierarchies there are."""
    roots = [CGROUPS, *(path for path in CGROUPS.iterdir() if path.is_dir())]
    return {str(root / tree) for root in roots if (root / tree).is_dir()}


def processes(state: str) -> set[int]:
    """Processes that were told of this test's folders: their environment names them."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if f"PYCOMPOSE_STATE={state}".encode() in environment:
                found.add(int(entry.name))
    return found


def _told(pid: int) -> str:
    """What the kernel tells of a process that should not be there."""
    told = []
    for name in ("cmdline", "wchan", "status"):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/{name}").read_text(errors="replace")
            told += [line for line in text.replace("\0", " ").splitlines() if ":" not in line or "PPid" in line]
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            told.append(f"{fd}={os.readlink(f'/proc/{pid}/fd/{fd}')}")
    return " ".join(told)


def leaks(machine: Machine) -> list[str]:
    """What is left inside and on the machine, in words."""
    left = [f"cgroup {path}" for path in sorted(cgroups(machine.environment["PYCOMPOSE_CGROUP"]))]
    left += [f"process {pid} {_told(pid)}" for pid in sorted(processes(machine.state) - {machine.pid})]
    folders = (machine.state, machine.run_folder)
    for line in machine.run("cat", "/proc/self/mounts").stdout.splitlines():
        place = line.split()[1]
        if place not in folders and place.startswith(tuple(folder + "/" for folder in folders)):
            left.append(f"mount {place}")
    for line in machine.run("cat", "/proc/net/dev").stdout.splitlines()[2:]:
        name = line.partition(":")[0].strip()
        if name.startswith(("pc-", "pyc", "veth", "br-")):
            left.append(f"link {name}")
    if shutil.which("nft"):
        left += [
            f"nft {line}" for line in machine.run("nft", "list", "tables").stdout.splitlines() if "pycompose" in line
        ]
    return left


def clear(state: str, tree: str, holder: int) -> None:
    """End what a failed test left: helpers by their environment, containers by their cgroups."""
    left = processes(state) - {holder}
    for root in cgroups(tree):
        for folder, _, _ in os.walk(root, topdown=False):
            left |= {int(pid) for pid in (Path(folder) / "cgroup.procs").read_text().split()}
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 5
    for root in cgroups(tree):
        for folder, _, _ in os.walk(root, topdown=False):
            while time.monotonic() < end:
                try:
                    os.rmdir(folder)
                    break
                except OSError:
                    time.sleep(0.01)


@pytest.fixture
def host(root: None, tmp_path: Path) -> Iterator[Machine]:
    state, run_folder = str(tmp_path / "state"), str(tmp_path / "run")
    tree = f"pycompose-test-{os.getpid()}-{next(NUMBERS)}"
    environment = {**os.environ, "PYCOMPOSE_STATE": state, "PYCOMPOSE_RUN": run_folder, "PYCOMPOSE_CGROUP": tree}
    holder = subprocess.Popen(
        ["unshare", "--mount", "--net", "sh", "-c", HOLDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"ready\n", "the test's own namespaces could not be made"
        machine = Machine(holder.pid, state, run_folder, environment)
        machine.python(LOOPBACK_UP)
        yield machine
        left = leaks(machine)
        clear(state, tree, holder.pid)
        assert left == [], f"the test left something behind: {left}"
    finally:
        holder.stdin.close()
        holder.stdout.close()
        holder.wait()


@pytest.fixture
def project(host: Machine, tmp_path: Path) -> Iterator[Described]:
    """A compose file to be described, on a machine of its own; the project is taken down at the end."""
    from .service_tools import Described

    described = Described(host, tmp_path / "compose.yaml")
    yield described
    described("down", "-v", "-t", "0", "--remove-orphans")
