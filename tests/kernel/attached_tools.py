"""Commands that stay attached, inside a test's machine: on a terminal of their own, or as a script starts them."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress

from .conftest import Machine

PATIENCE = 20.0


def in_background(host: Machine, *arguments: str) -> subprocess.Popen[str]:
    """A command as a script starts it with `&`: SIGINT is ignored, and its output goes down one pipe."""

    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    return subprocess.Popen(
        host.entering_pycompose(*arguments),
        env=dict(host.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=ignore,
    )


def read_until(command: subprocess.Popen[str], text: str) -> str:
    """Its output up to a line with `text`. Raises AssertionError if it ends without."""
    assert command.stdout is not None
    lines = []
    for line in command.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"it ended without {text!r}:\n{''.join(lines)}")


class OnTerminal:
    """A command on a pty of its own."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, {**environment, "TERM": "xterm"})
        self.seen = ""

    def until(self, text: str, times: int = 1) -> None:
        """Read until `text` was there that often. Raises AssertionError after a while."""
        end = time.monotonic() + PATIENCE
        while self.seen.count(text) < times:
            ready, _, _ = select.select([self.master], [], [], max(end - time.monotonic(), 0))
            assert ready, f"{text!r} did not come:\n{self.seen}"
            with suppress(OSError):
                if data := os.read(self.master, 65536):
                    self.seen += data.decode()
                    continue
            raise AssertionError(f"it ended without {text!r}:\n{self.seen}")

    def press(self, key: bytes) -> None:
        os.write(self.master, key)

    def break_off(self, key: bytes = b"\x03") -> int:
        """Press a key until it ends, for Python does not hear of a signal just before it reads; the exit code."""
        end = time.monotonic() + 3 * PATIENCE
        while time.monotonic() < end:
            self.press(key)
            if self._ends(2):
                break
        return self.end()

    def _ends(self, patience: float) -> bool:
        """Read until it ends, or says nothing for so many seconds."""
        with suppress(OSError):
            while select.select([self.master], [], [], patience)[0]:
                if not (data := os.read(self.master, 65536)):
                    return True
                self.seen += data.decode()
            return False
        return True

    def end(self) -> int:
        """Read to the end; the command's exit code. Raises AssertionError where it says nothing and goes on."""
        with suppress(OSError):
            while True:
                assert select.select([self.master], [], [], PATIENCE)[0], f"it goes on:\n{self.seen}"
                if not (data := os.read(self.master, 65536)):
                    break
                self.seen += data.decode()
        os.close(self.master)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def hang_up(self) -> int:
        """Close the terminal; the command's exit code."""
        os.close(self.master)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class Terminal(OnTerminal):
    """pycompose on a pty of its own, inside the test's machine."""

    def __init__(self, host: Machine, *arguments: str) -> None:
        super().__init__(host.entering_pycompose(*arguments), host.environment)
