"""The caller's terminal while a process has one: raw, of the same size, and afterwards as it was, whatever happens."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
from collections.abc import Iterator

import pytest
from pycompose.runtime.client import terminal_copy
from pycompose.runtime.client.stream_copy import Flow, copy_until


class Terminals:
    """The caller's terminal (`keyboard` is the user's side, `ours` the command's) and a container's (`master`)."""

    def __init__(self) -> None:
        self.keyboard, self.ours = pty.openpty()
        self.master, self.slave = pty.openpty()

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.ours)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)


@pytest.fixture
def terminals() -> Iterator[Terminals]:
    terminals = Terminals()
    yield terminals
    for fd in (terminals.keyboard, terminals.ours, terminals.master, terminals.slave):
        os.close(fd)


def test_it_is_raw_and_of_the_same_size_meanwhile(terminals: Terminals) -> None:
    terminals.resize(33, 101)
    before = termios.tcgetattr(terminals.ours)
    with terminal_copy.raw(terminals.ours, terminals.master):
        assert terminals.is_raw()
        assert terminal_copy.size(terminals.slave) == (33, 101)
        terminals.resize(44, 77)
        os.kill(os.getpid(), signal.SIGWINCH)
        assert terminal_copy.size(terminals.slave) == (44, 77)
    assert termios.tcgetattr(terminals.ours) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_us_leaves_it_as_it_was(terminals: Terminals, number: signal.Signals) -> None:
    before, handler = termios.tcgetattr(terminals.ours), signal.getsignal(number)
    with pytest.raises(SystemExit) as left, terminal_copy.raw(terminals.ours, terminals.master):
        os.kill(os.getpid(), number)
    assert left.value.code == 128 + number
    assert termios.tcgetattr(terminals.ours) == before
    assert signal.getsignal(number) is handler


def test_going_on_after_a_stop_makes_it_raw_again(terminals: Terminals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "tcgetpgrp", lambda fd: os.getpgrp())
    before = termios.tcgetattr(terminals.ours)
    with terminal_copy.raw(terminals.ours, terminals.master):
        termios.tcsetattr(terminals.ours, termios.TCSANOW, before)  # as a shell does
        terminals.resize(10, 20)
        os.kill(os.getpid(), signal.SIGCONT)
        assert terminals.is_raw()
        assert terminal_copy.size(terminals.slave) == (10, 20)


def test_going_on_in_the_background_leaves_it_alone(terminals: Terminals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "tcgetpgrp", lambda fd: os.getpgrp() + 1)
    before = termios.tcgetattr(terminals.ours)
    with terminal_copy.raw(terminals.ours, terminals.master):
        termios.tcsetattr(terminals.ours, termios.TCSANOW, before)
        os.kill(os.getpid(), signal.SIGCONT)
        assert not terminals.is_raw()


def test_what_is_no_terminal_is_left_alone() -> None:
    reader, writer = os.pipe()
    assert terminal_copy.size(reader) == (0, 0)
    with terminal_copy.raw(reader, writer):
        pass
    os.close(reader)
    os.close(writer)


def test_what_is_typed_and_what_is_shown_pass_until_the_end(terminals: Terminals) -> None:
    ended, end = os.pipe()
    with terminal_copy.raw(terminals.ours, terminals.master):
        os.write(terminals.keyboard, b"typed\n")
        flows = (
            Flow(terminals.ours, terminals.master, os.dup(terminals.master), terminal=True),
            Flow(terminals.master, terminals.ours, os.dup(terminals.master), terminal=True),
        )
        while flows[0].step() == 0 or not os.read(terminals.slave, 100).startswith(b"typed"):
            pass
        os.write(terminals.slave, b"last words\n")
        os.write(end, b"x")
        assert copy_until(ended, lambda: 5, flows[:1], flows[1:]) == 5
    shown = b""
    while b"last words" not in shown:
        assert select.select([terminals.keyboard], [], [], 10)[0], shown
        shown += os.read(terminals.keyboard, 1000)
    for flow in flows:
        flow.end()
    os.close(ended)
    os.close(end)
