"""Control groups against the kernel: as this machine has them, and as a v1-only or v2-only one would. Needs root."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pycompose.runtime.errors import LimitRefused
from pycompose.runtime.linux import syscalls
from pycompose.runtime.policy.cgroup import Cgroup, DeviceControl, Hierarchies, hierarchies
from pycompose.runtime.spec import CpuResources, DeviceRule, MemoryResources, Resources

pytestmark = pytest.mark.usefixtures("root")
MACHINE = hierarchies()
VIEWS = {"machine": MACHINE}
if MACHINE.version1:
    VIEWS["v1"] = Hierarchies("", MACHINE.version1)
    if MACHINE.unified:
        VIEWS["v2"] = Hierarchies(MACHINE.unified)
MEGABYTE = 1 << 20
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(params=VIEWS)
def group(request: pytest.FixtureRequest) -> Iterator[Cgroup]:
    """A group of a tree of its own, with nothing left of it afterwards."""
    made = Cgroup("project/container", f"pycompose-test-{os.getpid()}", VIEWS[request.param])
    assert made.create() == ()
    yield made
    made.kill_all()
    assert made.remove()
    for hierarchy in (MACHINE.unified, *MACHINE.v1_folders()):
        assert not hierarchy or not os.path.exists(f"{hierarchy}/{made.tree}")


@pytest.fixture
def start(group: Cgroup) -> Iterator[Start]:
    """Run a Python program in the group; it begins when it is in."""
    running: list[subprocess.Popen[str]] = []

    def begin(program: str) -> subprocess.Popen[str]:
        program = "import sys; sys.stdin.readline()\n" + program
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        group.enter(process.pid)
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        return process

    yield begin
    group.kill_all()
    for process in running:
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                with suppress(OSError):
                    stream.close()


def has(group: Cgroup, controller: str) -> bool:
    if controller in group.mounted.version1:
        return True
    unified = group.folders().get("unified", "")
    return bool(unified) and controller in Path(f"{unified}/cgroup.controllers").read_text().split()


def shown(group: Cgroup, name: str) -> str:
    for folder in group.folders().values():
        if os.path.exists(f"{folder}/{name}"):
            return Path(f"{folder}/{name}").read_text().strip()
    return ""


def test_a_folder_above_that_another_project_has_just_made_is_filled(group: Cgroup) -> None:
    """A v1 cpuset begins empty, and no process may enter it."""
    tree = f"{group.tree}-begun"
    for hierarchy in (group.mounted.unified, *group.mounted.v1_folders()):
        if hierarchy:
            os.makedirs(f"{hierarchy}/{tree}/project/one")
    one, two = (Cgroup(f"project/{name}", tree, group.mounted) for name in ("one", "two"))
    try:
        for each in (one, two):
            assert each.create() == ()
            with subprocess.Popen(["sleep", "20"]) as process:
                each.enter(process.pid)
                assert process.pid in each.processes()
                process.kill()
    finally:
        assert one.remove()
        assert two.remove()


def test_memory_cpu_and_process_limits_are_in_the_kernel(group: Cgroup) -> None:
    wanted = Resources(
        memory=MemoryResources(limit=64 * MEGABYTE, reservation=32 * MEGABYTE),
        cpu=CpuResources(shares=2048, quota=50_000, period=100_000, cpus="0"),
        pids_limit=25,
    )
    notes = group.apply(wanted)
    for controller, option, one, two in (
        ("memory", "mem_limit", ("memory.limit_in_bytes", str(64 * MEGABYTE)), ("memory.max", str(64 * MEGABYTE))),
        ("memory", "mem_reservation", ("memory.soft_limit_in_bytes", "33554432"), ("memory.low", "33554432")),
        ("cpu", "cpu_shares", ("cpu.shares", "2048"), ("cpu.weight", "174")),
        ("cpu", "cpus", ("cpu.cfs_quota_us", "50000"), ("cpu.max", "50000 100000")),
        ("cpuset", "cpuset", ("cpuset.cpus", "0"), ("cpuset.cpus", "0")),
        ("pids", "pids_limit", ("pids.max", "25"), ("pids.max", "25")),
    ):
        if has(group, controller):
            name, value = one if controller in group.mounted.version1 else two
            assert shown(group, name) == value, option
        else:
            assert any(f"{option} has no effect" in note for note in notes), notes


def test_a_limit_that_the_kernel_refuses_is_told_by_its_option(group: Cgroup) -> None:
    if not has(group, "cpuset"):
        pytest.skip("no cpuset controller in this view")
    with pytest.raises(LimitRefused, match=r"cpuset: the kernel refuses '9999' for cpuset.cpus"):
        group.apply(Resources(cpu=CpuResources(cpus="9999")))


def test_a_machine_without_cgroups_limits_nothing_and_says_so(tmp_path: Path) -> None:
    bare = Cgroup("project/one", "tree", Hierarchies())
    assert "no cgroup can be made" in bare.create()[0]
    wanted = Resources(memory=MemoryResources(limit=MEGABYTE), pids_limit=3)
    assert bare.apply(wanted) == (
        "there is no cgroup for memory here: mem_limit has no effect",
        "there is no cgroup for pids here: pids_limit has no effect",
    )
    assert bare.control_devices((DeviceRule(False),)) == DeviceControl("", "there is no cgroup for devices")
    bare.join()
    bare.kill_all()
    assert (bare.processes(), bare.oom_kills(), bare.oom_watch(), bare.descriptor()) == ([], 0, None, None)
    assert bare.stats().memory is None
    assert bare.remove()


def test_more_processes_than_the_limit_cannot_be_made(group: Cgroup, start: Start) -> None:
    if not has(group, "pids"):
        pytest.skip("no pids controller in this view")
    group.apply(Resources(pids_limit=3))
    program = "import os, time\nn = 0\ntry:\n while True:\n  if os.fork() == 0: time.sleep(100)\n  n += 1\n"
    process = start(program + "except OSError as error: print(n, error.errno, flush=True)\nsys.stdin.readline()")
    assert process.stdout is not None
    assert process.stdout.readline().split() == ["2", "11"]
    assert len(group.processes()) == 3
    assert group.stats().pids == 3
    assert group.stats().pids_limit == 3


def test_paused_processes_stand_still_and_go_on(group: Cgroup, start: Start) -> None:
    process = start("while line := sys.stdin.readline(): print(line.strip(), flush=True)")
    assert process.stdin is not None
    assert process.stdout is not None
    group.freeze()
    process.stdin.write("echo\n")
    process.stdin.flush()
    assert not select.select([process.stdout], [], [], 0.05)[0]
    group.freeze(False)
    assert process.stdout.readline() == "echo\n"


def test_a_kill_reaches_all_of_them_frozen_or_not(group: Cgroup, start: Start) -> None:
    program = "import os, time\nfor _ in range(20):\n if os.fork() == 0: time.sleep(100)\nprint(1, flush=True)\n"
    process = start(program + "time.sleep(100)")
    assert process.stdout is not None
    process.stdout.readline()
    assert len(group.processes()) == 21
    group.freeze()
    group.kill_all()
    assert process.wait(10) == -9
    assert group.remove()


def test_groups_made_inside_go_with_it(group: Cgroup, start: Start) -> None:
    for name, folder in group.folders().items():
        if name != "cpuset":  # one of these must be filled before anything may enter
            os.makedirs(f"{folder}/below/further")
    assert group.remove()
    assert group.folders() == {}


def test_a_group_with_a_process_in_it_is_not_discarded(group: Cgroup, start: Start) -> None:
    process = start("sys.stdin.readline()")
    assert not group.discard()
    assert group.processes() == [process.pid]


def test_the_project_stays_while_another_container_is_in_it(group: Cgroup) -> None:
    other = Cgroup("project/other", group.tree, group.mounted)
    other.create()
    assert group.remove()
    assert other.folders()
    assert other.remove()


def test_what_it_uses_is_counted(group: Cgroup, start: Start) -> None:
    process = start(f"held = bytearray({32 * MEGABYTE})\nfor _ in range(10**6): pass\nprint(1, flush=True)\ninput()")
    assert process.stdout is not None
    process.stdout.readline()
    stats = group.stats()
    assert stats.cpu_ns is not None
    assert stats.cpu_ns > 1_000_000
    if has(group, "memory"):
        assert stats.memory is not None
        assert 32 * MEGABYTE <= stats.memory < 64 * MEGABYTE
        group.apply(Resources(memory=MemoryResources(limit=128 * MEGABYTE)))
        assert group.stats().memory_limit == 128 * MEGABYTE
    else:
        assert stats.memory is None


def test_an_out_of_memory_kill_is_told(group: Cgroup, start: Start) -> None:
    if not has(group, "memory"):
        assert group.oom_watch() is None
        return
    group.apply(Resources(memory=MemoryResources(limit=32 * MEGABYTE, swap=32 * MEGABYTE)))
    watch = group.oom_watch()
    assert watch is not None
    with select.epoll() as poll:
        poll.register(watch, select.EPOLLIN)
        process = start(f"held = b'x' * {100 * MEGABYTE}")
        assert process.wait(20) == -9
        assert poll.poll(5)
    os.close(watch)
    assert group.oom_kills() == 1


def in_child(group: Cgroup, work: Callable[[], int]) -> int:
    """What `work` returns in a process that is born in the group."""
    descriptor = group.descriptor()
    pid, pidfd = syscalls.clone3(0, 17, descriptor)
    if pid == 0:
        try:
            group.join()
            os._exit(work())
        except BaseException:
            os._exit(99)
    os.close(pidfd)
    if descriptor is not None:
        os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_process_is_born_into_all_of_its_folders(group: Cgroup) -> None:
    def look() -> int:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        return sum(line.endswith(f"/{group.tree}/project/container") for line in lines)

    assert in_child(group, look) == len(group.folders())


def test_a_device_that_no_rule_names_cannot_be_opened(group: Cgroup, tmp_path: Path) -> None:
    if not (has(group, "devices") or group.mounted.unified):
        pytest.skip("no way to limit devices in this view")
    rules = (DeviceRule(False), DeviceRule(True, "c", 1, 3, "rw"), DeviceRule(True, "c", access="m"))
    control = group.control_devices(rules)
    if "bpf" in control.reason:
        pytest.skip(control.reason)
    assert control.controller == ("devices" if has(group, "devices") else "unified")
    assert control.reason == ""

    def look() -> int:
        os.close(os.open("/dev/null", os.O_RDWR))
        os.mknod(tmp_path / "node", 0o20600, os.makedev(1, 5))
        for path in ("/dev/zero", str(tmp_path / "node")):
            try:
                os.open(path, os.O_RDONLY)
            except PermissionError:
                continue
            return 1
        try:
            os.mknod(tmp_path / "disk", 0o60600, os.makedev(8, 0))
        except PermissionError:
            return 0
        return 2

    assert in_child(group, look) == 0
