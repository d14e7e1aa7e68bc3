"""Processes that join a running container: what they are given, and what a hostile one gets of those that make them.

Needs root.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pycompose.runtime.client.blocking import BlockingKeeper, connect_keeper
from pycompose.runtime.client.process import exec_detached, exec_interactive
from pycompose.runtime.errors import StartFailed
from pycompose.runtime.init.mounts import takes_pid_namespace
from pycompose.runtime.keeper import messages
from pycompose.runtime.keeper.messages import Exec, ExecEnded, Executing, Streams
from pycompose.runtime.linux.capabilities import mask
from pycompose.runtime.policy import profile
from pycompose.runtime.policy.cgroup import Cgroup
from pycompose.runtime.spec import Process, to_json
from pycompose.runtime.state import container_record

from .box import ENVIRONMENT, Box, boxed
from .conftest import SLOWER
from .service_tools import until

pytestmark = pytest.mark.usefixtures("root")
SECRET = "a-secret-of-whoever-called-first"
TRACING: dict[str, Any] = {"cap_add": ("SYS_PTRACE",)}
OURS = re.compile(r"pipe:\[\d+\]$|/dev/pts/\d+$|/dev/null$|\S*/(in|out|err)$")  # the last are FIFOs of its own


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    monkeypatch.setenv("A_TOKEN", SECRET)
    with boxed(tmp_path, monkeypatch) as made:
        yield made


def process(*arguments: str, **more: object) -> Process:
    return Process(arguments, ENVIRONMENT, capabilities=profile.capabilities(), **more)  # type: ignore[arg-type]


def captured(box: Box, container_id: str, *arguments: str) -> tuple[int, bytes]:
    """As a health check or a hook is run: (exit code, output)."""
    request = Exec(container_id, json.loads(to_json(process(*arguments))), Streams.CAPTURED, bound=True)
    with BlockingKeeper(box.places, 20) as keeper:
        _, (reader,) = keeper.ask(request, Executing)
        code = keeper.hear(ExecEnded)[0].code
        os.set_blocking(reader, False)
        output = os.read(reader, 1 << 16)
        os.close(reader)
    return code, output


# --- what stands inside the pid namespace, seen by a container that may trace ---

# Attaches to process numbers before they are given, so that it has whoever gets one from the first moment on. Which are
# next it reads again and again (man 5 proc_loadavg): while it does not run, numbers go by.
TRACER = """
import ctypes, json, os, re, sys
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long] * 2 + [ctypes.c_void_p] * 2
SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17

def look(pid):
    facts = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status").read().splitlines())
    report = {name: facts[name].strip() for name in ("CapPrm", "CapEff", "Seccomp", "NSpid")}
    report["exe"] = os.readlink(f"/proc/{pid}/exe")
    report["fds"] = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    report["environ"] = open(f"/proc/{pid}/environ", "rb").read().decode("latin")
    memory = b""
    with open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in open(f"/proc/{pid}/maps"):
            if "rw" in line or "[stack]" in line:
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                try:
                    mem.seek(start)
                    memory += mem.read(end - start)
                except OSError:
                    pass
    report["secret"] = sys.argv[1].encode() in memory
    report["root"] = os.listdir(f"/proc/{pid}/root/") == os.listdir("/")
    print(json.dumps(report), flush=True)

print("ready", flush=True)
last, numbers, turn = os.getpid(), os.open("/proc/loadavg", os.O_RDONLY), 0
while True:
    turn += 1
    if turn % 100 == 0:
        last = max(last, int(os.pread(numbers, 100, 0).split()[-1]))
    for pid in range(last + 1, last + 4):
        if ptrace(SEIZE, pid, None, None) == 0:
            last = pid
            ptrace(INTERRUPT, pid, None, None)
            _, status = os.waitpid(pid, 0x40000000)
            if os.WIFSTOPPED(status):
                try:
                    look(pid)
                except OSError as error:
                    print(json.dumps({"failed": str(error)}), flush=True)
                ptrace(DETACH, pid, None, None)
"""


def test_a_container_that_may_trace_gets_nothing_of_who_joins_it(box: Box) -> None:
    container_id, failed = box.start("/usr/bin/env", "python3", "-c", TRACER, SECRET, profile=TRACING)
    assert not failed
    box.await_output(container_id, "ready")
    caught: list[dict[str, Any]] = []
    end = time.monotonic() + 30 * SLOWER
    while time.monotonic() < end:
        assert box.enter(container_id, "true") == (0, "")
        assert captured(box, container_id, "true") == (0, b"")
        exec_detached(box.places, container_id, process("true"))
        caught = [json.loads(line) for line in box.output(container_id).splitlines() if line.startswith("{")]
        if len([report for report in caught if "memfd:" in report.get("exe", "")]) > 1:
            break
    else:
        pytest.fail("it never was in time: this test shows nothing")
    box.kill(container_id)
    assert_nothing_taken(caught)


def assert_nothing_taken(reports: list[dict[str, Any]]) -> None:
    held = mask(profile.capabilities(("SYS_PTRACE",)).bounding)
    for report in reports:
        if "failed" not in report:  # it had ended when it was looked at
            assert int(report["CapPrm"], 16) & ~held == 0, report
            assert report["Seccomp"] == "2", report
            assert all(OURS.match(name) for name in report["fds"]), report
            assert SECRET not in report["environ"], report
            assert not report["secret"], report


def test_who_is_held_by_a_tracer_ends_with_its_client_and_holds_up_nobody(box: Box) -> None:
    hold = TRACER.replace(
        " " * 20 + "look(pid)", " " * 20 + "print('held', flush=True); __import__('time').sleep(1000)"
    )
    container_id, _ = box.start("/usr/bin/env", "python3", "-c", hold, "-", profile=TRACING)
    box.await_output(container_id, "ready")
    request = Exec(container_id, json.loads(to_json(process("sleep", "1000"))), Streams.CAPTURED, bound=True)
    with closing(connect_keeper(box.places)) as connection:
        messages.send(connection, request)
        box.await_output(container_id, "held")
        (held,) = [pid for pid in Cgroup(f"test/{container_id}", box.tree).processes() if _is_traced(pid)]
        gone = os.pidfd_open(held)
    assert select.select([gone], [], [], 20)[0]
    os.close(gone)
    assert box.running() == (container_id,), "the keeper answers"
    box.kill(container_id)


def _is_traced(pid: int) -> bool:
    try:
        return "TracerPid:\t0" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # one of those that the join needed for a moment
        return False


# --- descriptors ---


def _sleeps(pid: int) -> bool:
    """Whether it is in nanosleep, or clock_nanosleep of x86_64 or aarch64 (man 2 syscall)."""
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] in ("35", "230", "115")


@pytest.mark.parametrize("kind", Streams)
def test_what_joins_has_pipes_made_for_it_and_nothing_else(box: Box, kind: Streams) -> None:
    container_id, _ = box.start("sleep", "100")
    request = Exec(container_id, json.loads(to_json(process("sleep", "100"))), kind, bound=True)
    with BlockingKeeper(box.places, 20) as keeper:
        executing, ours = keeper.ask(request, Executing)
        until(lambda: _sleeps(executing.pid))  # the loader of its program opens files of its own, and closes them
        names = [os.readlink(f"/proc/{executing.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{executing.pid}/fd")]
        messages.close_all(ours)
    assert len(names) == 3
    assert [name for name in names if not (name == "/dev/null" if kind is Streams.DETACHED else OURS.match(name))] == []


def test_a_terminal_is_of_the_containers_own(box: Box) -> None:
    container_id, _ = box.start("sleep", "100")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            look = process(
                "sh", "-c", "stty size; tty; readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2", terminal=True
            )
            os._exit(exec_interactive(box.places, container_id, look, (slave, slave, slave)))
        finally:
            os._exit(99)
    os.close(slave)
    text = b""
    while select.select([master], [], [], 10)[0]:
        try:
            text += os.read(master, 1 << 12)
        except OSError:
            break
    os.close(master)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert text.decode().split("\r\n") == ["24 100", *["/dev/pts/0"] * 4, ""]


def test_files_of_the_caller_are_read_and_written_but_never_in_the_containers_hands(box: Box, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text("precious")
    source.chmod(0o400)
    target.write_text("old\n")
    container_id, _ = box.start("sleep", "100")
    attack = (
        "cat; for fd in 0 1; do chown 1000 /proc/self/fd/$fd; chmod 777 /proc/self/fd/$fd; done; : >/proc/self/fd/1"
    )
    flags = (os.O_RDONLY, os.O_WRONLY | os.O_APPEND)
    stdio = [os.open(path, flag) for path, flag in zip((source, target), flags, strict=True)]
    exec_interactive(box.places, container_id, process("sh", "-c", attack), (stdio[0], stdio[1], stdio[1]))
    messages.close_all(stdio)
    assert (source.read_text(), source.stat().st_mode & 0o777, source.stat().st_uid) == ("precious", 0o400, 0)
    assert target.read_text().startswith("old\nprecious")
    assert (target.stat().st_mode & 0o111, target.stat().st_uid) == (0, 0)


# --- its life ---


def test_an_exec_ends_with_its_process_and_no_word_is_lost(box: Box, tmp_path: Path) -> None:
    container_id, _ = box.start("sleep", "100")
    said = box.enter(container_id, "sh", "-c", "sleep 50 & seq 20000; exit 7")
    assert said == (7, "\n".join(map(str, range(1, 20001))))
    assert captured(box, container_id, "sh", "-c", "sleep 50 & echo said; exit 3") == (3, b"said\n")


def test_exit_codes_and_failures(box: Box) -> None:
    container_id, _ = box.start("sleep", "100")
    for script, code in (("exit 42", 42), ("kill -9 $$", 137), ("kill -TERM $$", 143)):
        assert box.enter(container_id, "sh", "-c", script)[0] == code
    assert box.enter(container_id, "no-such-command")[0] == 127
    assert box.enter(container_id, "/no/such/command")[0] == 127
    assert box.enter(container_id, "/etc/passwd")[0] == 126
    assert box.enter(container_id, "true", cwd="/no/such/folder")[0] == 126
    assert box.enter(container_id, "test", "-e", "/no")[0] == 1, "no folder has been made"
    with pytest.raises(StartFailed):
        exec_detached(box.places, container_id, process("no-such-command"))


def test_a_privileged_one_has_all_capabilities_and_the_containers_filter(box: Box) -> None:
    container_id, _ = box.start("sleep", "100")
    look = ("sh", "-c", "grep -E 'Cap(Eff|Prm|Bnd|Amb)|Seccomp:|NoNewPrivs' /proc/self/status")
    _, plain = box.enter(container_id, *look)
    _, text = box.enter(container_id, *look, privileged=True)
    facts = dict(line.split(":\t") for line in text.splitlines())
    ours = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines() if "\t" in line)
    assert facts["CapEff"] == facts["CapPrm"] == facts["CapBnd"] == ours["CapEff"]
    assert dict(line.split(":\t") for line in plain.splitlines())["CapEff"] == "00000000a80425fb"
    assert facts["Seccomp"] == "2", "moby leaves the container's filter as it is"
    assert box.enter(container_id, "sh", "-c", "echo x >/proc/sysrq-trigger", privileged=True)[0] != 0


def test_a_caller_that_is_killed_leaves_nobody_waiting(box: Box) -> None:
    """`$(timeout 1 pycompose exec …)`: whoever reads the output is not kept by the process inside."""
    container_id, _ = box.start("sleep", "100")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os._exit(exec_interactive(box.places, container_id, process("sh", "-c", "echo up; sleep 50"), (0, writer, 2)))
    os.close(writer)
    assert os.read(reader, 10) == b"up\n"
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    assert os.read(reader, 10) == b""
    os.close(reader)


def test_nobody_reads_any_more_and_the_process_hears_of_it(box: Box) -> None:
    container_id, _ = box.start("sleep", "100")
    program = "import sys; sys.exit(0)"
    reader, writer = os.pipe()
    other = subprocess.Popen([sys.executable, "-c", program], stdin=reader)
    os.close(reader)
    other.wait()
    null = os.open("/dev/null", os.O_RDWR)
    assert exec_interactive(box.places, container_id, process("yes"), (null, writer, null)) == 128 + signal.SIGPIPE
    messages.close_all([null, writer])


# --- a first process that is born into another container's pid namespace ---


def beside(box: Box, donor: str, *arguments: str, **wanted: Any) -> str:
    """A container in the pid namespace of another one."""
    box.count += 1
    container_id = f"c{box.count}"
    folder = Path(box.places.container(container_id))
    folder.mkdir(parents=True)
    bundle = box.bundle(folder, *arguments, profile={"shared": ("pid",)}, **wanted)
    (folder / "bundle.json").write_text(to_json(replace(bundle, shared={"pid": donor})))
    container_record.write(f"{folder}/state.json", {"name": container_id, "created": 1})
    box.go(container_id)
    return container_id


@pytest.mark.skipif(os.geteuid() == 0 and not takes_pid_namespace(), reason="procfs takes no pid namespace here")
def test_a_container_that_may_trace_gets_nothing_of_who_starts_another_beside_it(box: Box) -> None:
    donor, failed = box.start("/usr/bin/env", "python3", "-c", TRACER, SECRET, profile=TRACING)
    assert not failed
    box.await_output(donor, "ready")
    end = time.monotonic() + 30 * SLOWER
    while time.monotonic() < end:
        assert box.wait(beside(box, donor, "true")) == 0
        reports = [json.loads(line) for line in box.output(donor).splitlines() if line.startswith("{")]
        if any("memfd:" in report.get("exe", "") for report in reports):
            break
    else:
        pytest.fail("it never was in time: this test shows nothing")
    box.kill(donor)
    assert_nothing_taken(reports)


def test_a_container_beside_another_is_as_any(box: Box) -> None:
    donor, _ = box.start("sleep", "100")
    one = beside(box, donor, "sh", "-c", "echo $$; cat /proc/1/comm; exit 5")
    assert box.wait(one) == 5
    number, name = box.output(one).split()
    assert int(number) > 1
    assert name == "sleep"
    lasting = beside(box, donor, "sleep", "77")
    assert "sleep 77" in box.enter(donor, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")[1]
    assert box.enter(lasting, "readlink", "/proc/self/ns/pid") == box.enter(donor, "readlink", "/proc/self/ns/pid")
    pid = container_record.read(f"{box.places.container(lasting)}/process.json")["pid"]
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x0077\0"
    assert box.kill(lasting) == 137
    for arguments, code in ((("no-such",), 127), (("/etc/passwd",), 126)):
        with pytest.raises(StartFailed) as failure:
            beside(box, donor, *arguments)
        assert failure.value.exit_code == code
    assert box.running() == (donor,)
