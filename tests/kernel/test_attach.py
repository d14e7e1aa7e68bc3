"""`attach`: typing, keys that leave, the size of a terminal, signals that are passed on. Needs root."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .attached_tools import Terminal
from .service_tools import Described, until

pytestmark = pytest.mark.usefixtures("root")
SHELL = """
services:
  web:
    {image: host, tty: true, stdin_open: true, init: true, command: [bash, --norc, --noprofile, -i]}
"""
TRAPS = """
services:
  web:
    image: host
    command:
      - bash
      - -c
      - trap 'echo int' INT; trap 'echo term; exit 6' TERM; trap 'echo usr1' USR1; while :; do sleep 0.1; echo .; done
"""
Attach = Callable[..., Terminal]


@pytest.fixture
def attach(project: Described) -> Iterator[Attach]:
    terminals: list[Terminal] = []

    def begin(*options: str) -> Terminal:
        terminals.append(Terminal(project.machine, "-p", "p", "-f", str(project.file), "attach", *options, "web"))
        fcntl.ioctl(terminals[-1].master, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
        return terminals[-1]

    yield begin
    for terminal in terminals:
        terminal.kill()


def test_what_is_typed_reaches_it_and_keys_leave(project: Described, attach: Attach) -> None:
    project.describe(SHELL)
    project("up", "-d")
    terminal = attach()
    terminal.press(b"echo $((40+2)); stty size\r")
    terminal.until("42\r\n")
    terminal.until("31 97")
    terminal.press(b"sh -c 'echo sl\"\"eeps; exec sleep 1000'\r")
    terminal.until("sleeps\r\n")
    terminal.press(b"\x03")
    terminal.until("^C")
    time.sleep(0.2)  # what is typed before the kernel is done with ^C, it throws away
    terminal.press(b"echo code=$?\r")
    terminal.until("code=130")
    terminal.press(b"\x10\x11")
    assert terminal.end() == 0
    assert project.states() == {"web-1": "running"}


def test_the_size_is_passed_on_as_it_changes(project: Described, attach: Attach) -> None:
    project.describe(SHELL)
    project("up", "-d")
    terminal = attach()
    terminal.press(b"trap 'stty size' WINCH; echo re''ady\r")
    terminal.until("ready\r\n")
    fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 144, 0, 0))
    os.kill(terminal.pid, signal.SIGWINCH)
    terminal.until("44 144")


def test_other_keys_leave_where_they_are_chosen(project: Described, attach: Attach, tmp_path: Path) -> None:
    project.describe(SHELL)
    project("up", "-d")
    terminal = attach("--detach-keys", "ctrl-a,d")
    terminal.press(b"echo $((40+2))\r")
    terminal.until("42\r\n")
    terminal.press(b"\x01d")
    assert terminal.end() == 0
    (tmp_path / "config.json").write_text('{"detachKeys": "ctrl-x"}')
    project.machine.environment["DOCKER_CONFIG"] = str(tmp_path)  # type: ignore[index]
    terminal = attach()
    terminal.press(b"echo $((40+3))\r")
    terminal.until("43\r\n")
    terminal.press(b"\x18")
    assert terminal.end() == 0
    wrong = project("attach", "--detach-keys", "ctrl-ü", "web", check=False)
    assert (wrong.returncode, "is no key" in wrong.stderr) == (1, True)


def begun(project: Described, *options: str) -> subprocess.Popen[bytes]:
    command = project.machine.entering_pycompose("-p", "p", "-f", str(project.file), "attach", *options, "web")
    environment = dict(project.machine.environment)
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


def test_signals_are_passed_on(project: Described) -> None:
    project.describe(TRAPS)
    project("up", "-d")
    with begun(project) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for number, word in ((signal.SIGINT, b"int\n"), (signal.SIGUSR1, b"usr1\n"), (signal.SIGTERM, b"term\n")):
            process.send_signal(number)
            assert word in iter(process.stdout.readline, b"")
        assert process.wait(20) == 6
    until(lambda: project.states() == {"web-1": "exited"})


def test_signals_are_not_passed_on_where_that_is_not_wanted(project: Described) -> None:
    project.describe(TRAPS)
    project("up", "-d")
    with begun(project, "--sig-proxy=false") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert project.states() == {"web-1": "running"}
