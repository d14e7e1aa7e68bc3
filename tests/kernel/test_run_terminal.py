"""`run` on a terminal: size, keys, job control, detaching, hanging up. Needs root."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from .attached_tools import Terminal
from .service_tools import Described, until

pytestmark = pytest.mark.usefixtures("root")
ONE = """
services:
  web: {image: host, command: [sleep, "1000"], init: true, environment: {PS1: "$$ "}}
"""
SHELL = ("bash", "--norc", "--noprofile", "-i")


class Run(Terminal):
    """A `run` on a terminal of 30 rows and 100 columns."""

    def __init__(self, project: Described, *arguments: str) -> None:
        project.describe(ONE)
        super().__init__(project.machine, "-p", "p", "-f", str(project.file), "run", *arguments)
        self.resize(30, 100)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, line: str) -> None:
        self.press(line.encode() + b"\r")

    def after(self, line: str, answer: str) -> None:
        """Type a line whose answer is not in it."""
        assert answer not in line
        before = self.seen.count(answer)
        self.type(line)
        self.until(answer, before + 1)


@pytest.fixture
def ended() -> Iterator[list[Terminal]]:
    terminals: list[Terminal] = []
    yield terminals
    for terminal in terminals:
        terminal.kill()


def begun(ended: list[Terminal], project: Described, *arguments: str) -> Run:
    terminal = Run(project, *arguments)
    ended.append(terminal)
    return terminal


def test_it_has_a_terminal_as_large_as_the_callers(project: Described, ended: list[Terminal]) -> None:
    terminal = begun(ended, project, "--rm", "web", "sh", "-c", "tty; stty size; exit 4")
    assert terminal.end() == 4
    assert "/dev/pts/" in terminal.seen
    assert "30 100" in terminal.seen
    assert project.states() == {}


def test_it_hears_of_a_new_size(project: Described, ended: list[Terminal]) -> None:
    terminal = begun(
        ended,
        project,
        "--rm",
        "web",
        "bash",
        "-c",
        "trap 'stty size' WINCH; trap exit INT; echo re\"\"ady; while :; do sleep 0.1; done",
    )
    terminal.until("ready")
    terminal.resize(41, 123)
    os.kill(terminal.pid, signal.SIGWINCH)
    terminal.until("41 123")
    terminal.press(b"\x03")
    terminal.end()


def test_keys_are_the_containers(project: Described, ended: list[Terminal]) -> None:
    """^C and ^Z are its own shell's, not ours."""
    terminal = begun(ended, project, "--rm", "web", *SHELL)
    terminal.after("echo re''ady", "ready")
    terminal.after("sh -c 'echo fi\"\"rst; exec sleep 1000'", "first")
    terminal.press(b"\x03")
    terminal.until("^C")
    time.sleep(0.2)  # what is typed before the kernel is done with ^C, it throws away
    terminal.after("echo rc''=$?", "rc=130")
    terminal.after("sh -c 'echo sec\"\"ond; exec sleep 1000'", "second")
    terminal.press(b"\x1a")
    terminal.until("Stopped")
    time.sleep(0.2)
    # A shell that does not know yet that a stopped job was killed says so instead of ending.
    terminal.after("kill -KILL %1; disown %1; echo go''ne", "gone")
    terminal.type("exit 0")
    assert terminal.end() == 0
    assert project.states() == {}


def test_keys_that_detach_leave_it_and_its_output_goes_to_the_log(project: Described, ended: list[Terminal]) -> None:
    terminal = begun(ended, project, "web", *SHELL)
    terminal.after("echo re''ady", "ready")
    terminal.type("sleep 1; echo la''ter")
    terminal.press(b"\x10\x11")  # ctrl-p, ctrl-q
    assert terminal.end() == 0
    assert terminal.seen.endswith("\r\n"), "the shell's prompt has a line of its own"
    assert list(project.states().values()) == ["running"]
    log = f"cat {project.machine.state}/projects/p/containers/*/log"
    until(lambda: "later" in project.machine.run("sh", "-c", log).stdout)


def test_the_terminal_is_as_it_was(project: Described, ended: list[Terminal]) -> None:
    terminal = begun(ended, project, "--rm", "web", *SHELL)
    before = termios.tcgetattr(terminal.master)
    terminal.after("echo re''ady", "ready")
    assert termios.tcgetattr(terminal.master) != before
    terminal.type("exit 3")
    until(lambda: termios.tcgetattr(terminal.master) == before)
    assert terminal.end() == 3


def test_a_terminal_that_hangs_up_is_left(project: Described, ended: list[Terminal]) -> None:
    terminal = begun(ended, project, "web", "sh", "-c", "trap '' HUP; echo re''ady; sleep 1000")
    terminal.until("ready")
    terminal.hang_up()
    assert list(project.states().values()) == ["running"]


def test_a_signal_to_the_command_reaches_it(project: Described, ended: list[Terminal]) -> None:
    script = 'trap \'echo te""rm; exit 6\' TERM; echo re""ady; while :; do sleep 0.1; done'
    terminal = begun(ended, project, "--rm", "web", "bash", "-c", script)
    terminal.until("ready")
    os.kill(_inner(terminal.pid), signal.SIGTERM)
    assert terminal.end() == 6
    assert "term" in terminal.seen


def test_it_is_stopped_and_goes_on_as_a_job(project: Described, ended: list[Terminal]) -> None:
    terminal = begun(ended, project, "--rm", "web", *SHELL)
    terminal.after("echo re''ady", "ready")
    os.kill(_inner(terminal.pid), signal.SIGSTOP)
    terminal.press(b"echo an''swer\r")
    time.sleep(0.3)
    os.kill(_inner(terminal.pid), signal.SIGCONT)
    terminal.until("answer")
    terminal.type("exit 0")  # ctrl-d is lost between two modes of the terminal
    assert terminal.end() == 0


def test_without_a_terminal_where_there_is_one(project: Described, ended: list[Terminal]) -> None:
    terminal = begun(ended, project, "--rm", "-T", "web", "sh", "-c", "tty || echo no''ne")
    assert terminal.end() == 0
    assert "not a tty" in terminal.seen


def test_a_terminal_is_refused_where_stdin_is_none(project: Described) -> None:
    project.describe(ONE)
    done = project("run", "--rm", "-t", "web", "true", check=False)
    assert done.returncode == 1
    assert "cannot attach stdin to a TTY-enabled container because stdin is not a terminal" in done.stderr
    assert "can't be used together" in project("run", "-t", "-T", "web", "true", check=False).stderr


def _inner(pid: int) -> int:
    """nsenter executes: it is that process itself."""
    with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        assert re.search(rb"pycompose", file.read())
    return pid
