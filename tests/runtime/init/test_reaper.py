"""The program that stays as the first process: tini's cases, without root, on this machine's processor and on Arm's.

Without a pid namespace it is a subreaper of its own (as with `pid: host`), which is the same to it.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pycompose.runtime.errors import RuntimeFailure
from pycompose.runtime.init import reaper
from pycompose.runtime.linux import syscalls
from pycompose.runtime.linux.machine_code import MACHINES
from pycompose.runtime.linux.sealed_memory import seal

HERE = os.uname().machine
RUNNERS = {HERE: (), "aarch64": tuple(filter(None, [shutil.which("qemu-aarch64-static")]))}
SHELL = "/bin/sh"
# What is caught and forwarded; a shell and Python cannot catch the others, or the first process must not.
FORWARDABLE = sorted({*range(1, 65)} - {*reaper.FAULTS, signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, 32, 33})
LISTENER = f"""
import os, signal, sys
numbers = {FORWARDABLE!r}
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
os.write(1, b"ready\\n")
for _ in numbers:
    print(int(signal.sigwaitinfo(numbers).si_signo), flush=True)
"""


class Started:
    """One that runs; `channel` is the keeper's end."""

    def __init__(self, machine: str, *command: str, path: str = "", stdin: int | None = None) -> None:
        file = reaper.memory_file()
        program = shutil.which(command[0]) or command[0]
        content = reaper.description(machine).program(os.fsencode(path or program) + b"\0", reaper.PATH)
        os.write(file, content)
        seal(file)
        self.channel, channel = os.pipe()
        self.output, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                if stdin is not None:
                    os.dup2(stdin, 0)
                    os.close(os.open(os.ttyname(0), os.O_RDWR))
                os.dup2(writer, 1)
                os.dup2(writer, 2)
                os.dup2(channel, reaper.CHANNEL)
                os.closerange(4, file)
                os.closerange(file + 1, 1 << 12)
                os.set_inheritable(file, bool(RUNNERS[machine]))
                for number in set(range(1, 65)) - {signal.SIGKILL, signal.SIGSTOP}:  # as the keeper, whoever began it
                    syscalls.default_signal(number)
                signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
                words = [*RUNNERS[machine], *([f"/proc/self/fd/{file}"] if RUNNERS[machine] else [])]
                arguments = [*reaper.ARGUMENTS, *command]
                if words:
                    os.execve(words[0], [words[0], "-0", arguments[0], words[1], *arguments[1:]], os.environ)
                os.execve(file, arguments, os.environ)
            finally:
                os._exit(99)
        for descriptor in (writer, channel, file):
            os.close(descriptor)

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def line(self) -> str:
        text = b""
        while not text.endswith(b"\n"):
            assert select.select([self.output], [], [], 20)[0], "it prints nothing"
            byte = os.read(self.output, 1)
            assert byte, f"it printed {text!r} and ended"
            text += byte
        return text.decode().strip()

    def end(self) -> int:
        """Its exit code, or minus the signal that ended it."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def report(self) -> bytes:
        return os.read(self.channel, 100)

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        os.close(self.output)
        os.close(self.channel)


class Starter:
    def __init__(self, machine: str) -> None:
        self.machine, self.all = machine, list[Started]()

    def __call__(self, *command: str, path: str = "", stdin: int | None = None) -> Started:
        self.all.append(Started(self.machine, *command, path=path, stdin=stdin))
        return self.all[-1]


@pytest.fixture(params=sorted({HERE, "aarch64"}))
def start(request: pytest.FixtureRequest) -> Iterator[Starter]:
    machine = request.param
    if machine != HERE and not RUNNERS[machine]:
        pytest.skip("qemu-aarch64-static is not installed")
    if machine not in MACHINES:
        pytest.skip("no machine code is known for this machine")
    starter = Starter(machine)
    yield starter
    for started in starter.all:
        started.close()


def test_it_ends_with_its_childs_code(start: Starter) -> None:
    for code in (0, 1, 9, 127, 255):
        assert start(SHELL, "-c", f"exit {code}").end() == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGUSR1])
def test_a_childs_death_by_a_signal_is_128_and_its_number(start: Starter, number: int) -> None:
    assert start(SHELL, "-c", f"kill -{number} $$").end() == 128 + number


def test_a_child_that_dumps_core_ends_as_one_that_does_not(start: Starter) -> None:
    assert start(SHELL, "-c", "ulimit -c unlimited; cd /tmp; kill -ABRT $$").end() == 128 + signal.SIGABRT


def test_every_signal_is_forwarded(start: Starter) -> None:
    started = start(sys.executable, "-I", "-S", "-c", LISTENER)
    assert started.line() == "ready"
    heard = []
    for number in FORWARDABLE:
        started.send(number)
        heard.append(int(started.line()))
    assert heard == FORWARDABLE
    assert started.end() == 0


def test_a_signal_that_comes_before_its_program_runs_is_not_lost(start: Starter) -> None:
    started = start(SHELL, "-c", "sleep 20")
    started.send(signal.SIGTERM)  # blocked until it is ready to forward it
    assert started.end() in (128 + signal.SIGTERM, -signal.SIGTERM)


def test_the_child_blocks_and_ignores_no_signal_and_leads_a_group(start: Starter) -> None:
    chosen = "case $name in Sig*|NSpgid:|Pid:) echo $name $value;; esac"
    started = start(SHELL, "-c", f"while read -r name value; do {chosen}; done </proc/self/status; echo end")
    shown = {}
    while (line := started.line()) != "end":
        name, _, value = line.partition(" ")
        shown[name] = value.split()
    assert int(shown["SigBlk:"][0], 16) == 0
    assert int(shown["SigIgn:"][0], 16) == 0
    assert shown["NSpgid:"] == shown["Pid:"]
    assert started.end() == 0


def test_orphans_are_reaped(start: Starter) -> None:
    script = "for n in 1 2 3 4 5; do (sh -c 'echo $$; sleep 0.05' &) ; done; read never </dev/null; sleep 20"
    started = start(SHELL, "-c", script)
    orphans = [int(started.line()) for _ in range(5)]
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in orphans):
        assert time.monotonic() < end, "an orphan stays as a zombie"
        time.sleep(0.01)
    started.send(signal.SIGTERM)
    assert started.end() == 128 + signal.SIGTERM


def test_a_stopped_child_is_no_ended_one(start: Starter) -> None:
    started = start(SHELL, "-c", "trap 'echo again' USR1; echo $$; while :; do sleep 0.02; done")
    child = int(started.line())
    started.send(signal.SIGTSTP)
    end = time.monotonic() + 10
    while Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < end, "it is not stopped"
        time.sleep(0.01)
    assert os.waitpid(started.pid, os.WNOHANG) == (0, 0)
    started.send(signal.SIGCONT)
    started.send(signal.SIGUSR1)
    assert started.line() == "again"
    started.send(signal.SIGTERM)
    assert started.end() == 128 + signal.SIGTERM


def test_the_child_is_in_the_terminals_foreground(start: Starter) -> None:
    master, slave = pty.openpty()
    program = "import os; print(os.tcgetpgrp(0) == os.getpid(), flush=True); import time; time.sleep(20)"
    started = start(sys.executable, "-I", "-S", "-c", program, stdin=slave)
    assert started.line() == "True"
    os.write(master, b"\x03")
    assert started.end() in (1, 128 + signal.SIGINT)
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize(("path", "number"), [("/no/such", 2), ("/etc/passwd", 13), ("/", 13)])
def test_what_cannot_be_executed_is_told_with_its_errno(start: Starter, path: str, number: int) -> None:
    started = start("x", path=path)
    assert started.report() == number.to_bytes(4, sys.byteorder)
    assert started.end() == reaper.UNABLE


def test_the_channel_is_closed_when_the_program_runs_and_neither_has_it(start: Starter) -> None:
    started = start(SHELL, "-c", "echo $PPID $$; sleep 20")
    parent, child = started.line().split()
    assert started.report() == b""
    assert str(reaper.CHANNEL) not in os.listdir(f"/proc/{child}/fd")
    if start.machine == HERE:
        for pid in (parent, child):
            assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]


def test_its_name_and_command_line_are_docker_inits(start: Starter) -> None:
    started = start(SHELL, "-c", "echo $PPID; sleep 20", "word")
    parent = started.line()
    words = Path(f"/proc/{parent}/cmdline").read_bytes().split(b"\0")
    if start.machine != HERE:  # the emulator's is before it
        words = words[3:]
        words[0] = b"/sbin/docker-init"
    assert words[:4] == [b"/sbin/docker-init", b"--", SHELL.encode(), b"-c"]
    assert words[-2:] == [b"word", b""]
    assert Path(f"/proc/{parent}/comm").read_text() == "docker-init\n"


def test_it_takes_a_few_pages(start: Starter) -> None:
    if start.machine != HERE:
        pytest.skip("the emulator's memory is not the program's")
    started = start(SHELL, "-c", "echo $PPID; sleep 20")
    rollup = Path(f"/proc/{started.line()}/smaps_rollup").read_text()
    found = re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)
    assert found
    assert int(found[1]) < 100


# --- what is made of it ---


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_it_is_small_and_the_same_each_time(machine: str) -> None:
    program = reaper.description(machine).program(b"/bin/true\0", reaper.PATH)
    assert program == reaper.description(machine).program(b"/bin/true\0", reaper.PATH)
    assert len(program) < 1100
    assert program.endswith(b"/bin/true\0")


def test_nobody_can_change_what_is_sealed() -> None:
    file = reaper.memory_file()
    os.write(file, b"x")
    seal(file)
    with pytest.raises(PermissionError):
        os.write(file, b"y")
    os.close(file)


# --- another program ---


def test_a_program_that_images_cannot_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    for path, reason in (
        (str(tmp_path / "script"), "no 64-bit ELF program"),
        (os.path.realpath(SHELL), "linked dynamically"),
        (str(tmp_path / "none"), "No such file"),
    ):
        with pytest.raises(RuntimeFailure, match=reason):
            reaper.named(path)


def test_a_static_program_is_copied_and_sealed(tmp_path: Path) -> None:
    program = reaper.description().program(b"/bin/true\0", reaper.PATH)
    (tmp_path / "static").write_bytes(program)
    file = reaper.named(str(tmp_path / "static"))
    assert os.pread(file, len(program) + 1, 0) == program
    with pytest.raises(PermissionError):
        os.write(file, b"x")
    done = subprocess.run(["x", "--", "y"], executable=f"/proc/self/fd/{file}", pass_fds=(file,), check=False)
    assert done.returncode == 0
    os.close(file)
