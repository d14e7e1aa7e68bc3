"""The program that gives birth: what the child is, what is told of it, and what it does not have. Runs without root."""

from __future__ import annotations

import os
import pty
import time
from collections.abc import Sequence

import pytest
from pycompose.runtime.init import birth
from pycompose.runtime.init.birth import Birth

pytestmark = pytest.mark.skipif(
    os.uname().machine not in ("x86_64", "aarch64"), reason="no machine code is known for this machine"
)


def born(
    arguments: Sequence[str], stdio: Sequence[int] = (0, 1, 2), path: bytes = b"", terminal: bool = False
) -> tuple[int, Birth]:
    """(exit code of the one that gave birth, what it told); who was born is this process's own child."""
    outcome, program = birth.outcome_file(), birth.sealed()
    parent = os.fork()
    if parent == 0:
        try:
            moved = [os.dup(fd) for fd in stdio]
            for number, fd in enumerate(moved):
                os.dup2(fd, number)
            high = os.dup(program) + 200
            os.dup2(program, high, inheritable=False)
            os.dup2(outcome, birth.OUTCOME)
            os.closerange(birth.OUTCOME + 1, high)
            os.closerange(high + 1, 1 << 12)
            birth.become(high, path or os.fsencode(arguments[0]), arguments, {b"NAME": b"value"}, terminal)
        finally:
            os._exit(99)
    _, status = os.waitpid(parent, 0)
    told = birth.birth_of(outcome)
    os.close(outcome)
    return os.waitstatus_to_exitcode(status), told


def output(*arguments: str) -> str:
    reader, writer = os.pipe()
    code, told = born(arguments, (0, writer, writer))
    os.close(writer)
    assert (code, told.errno) == (0, 0)
    with open(reader) as pipe:
        text = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(told.pid, 0)[1]) == 0
    return text


def test_the_child_is_the_parents_parents_with_arguments_and_environment() -> None:
    text = output("/bin/sh", "-c", 'echo "$0 $1 $NAME $PPID"; env | grep -c =', "zero", "one")
    assert text.splitlines()[0] == f"zero one value {os.getpid()}"


def test_it_leads_a_session() -> None:
    fields = output("/bin/cat", "/proc/self/stat").rpartition(")")[2].split()
    pid = int(output("/bin/sh", "-c", "echo $$"))
    assert pid
    assert fields[2] == fields[3], "its process group is its session"


def test_descriptors_0_to_2_are_all_that_it_has() -> None:
    listed = output("/bin/sh", "-c", "for fd in /proc/$$/fd/*; do [ -e $fd ] && echo ${fd##*/}; done; true")
    assert listed.split() == ["0", "1", "2"]


@pytest.mark.parametrize(("path", "errno"), [(b"/no/such", 2), (b"/etc/passwd", 13), (b"/", 13)])
def test_what_cannot_be_executed_is_told_with_its_errno(path: bytes, errno: int) -> None:
    code, told = born(["x"], path=path)
    assert (code, told.errno) == (0, errno)
    assert os.waitpid(told.pid, 0)


def test_descriptor_0_becomes_the_controlling_terminal() -> None:
    master, slave = pty.openpty()
    _, told = born(["/bin/sh", "-c", "tty; echo from >/dev/tty"], (slave, slave, slave), terminal=True)
    name = os.ttyname(slave)
    text = b""
    deadline = time.monotonic() + 10
    while b"from" not in text and time.monotonic() < deadline:
        text += os.read(master, 100)
    os.waitpid(told.pid, 0)
    os.close(slave)
    os.close(master)
    assert text.split() == [name.encode(), b"from"]


def test_nobody_can_change_the_program() -> None:
    for flags in (os.O_WRONLY, os.O_RDWR):
        with pytest.raises(OSError, match=r"denied|not permitted|busy"):
            os.write(os.open(f"/proc/self/fd/{birth.sealed()}", flags), b"x")


def test_it_is_a_few_hundred_bytes_for_each_machine() -> None:
    for machine in ("x86_64", "aarch64"):
        assert len(birth.description(machine).program()) < 1024
