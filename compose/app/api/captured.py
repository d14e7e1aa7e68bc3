"""Commands in containers whose streams are bytes of the caller's: `exec` and `run` of the Python API.

A stream is a file in memory, never one of the caller's descriptors: the command line's operations copy into it as they
copy into a terminal.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pycompose import interruption
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

Command = str | Sequence[str]  # words, or a line for `sh -c`
Input = str | bytes | None


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that has ended; `returncode` is 128 + n where signal n ended it."""

    command: tuple[str, ...]
    returncode: int
    stdout_bytes: bytes
    stderr_bytes: bytes

    @property
    def stdout(self) -> str:
        """As text (UTF-8; what is none is replaced)."""
        return self.stdout_bytes.decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        return self.stderr_bytes.decode("utf-8", "replace")

    def check(self) -> Completed:
        """Itself. Raises CommandFailed if it ended with anything but 0."""
        if self.returncode:
            raise CommandFailed(self)
        return self


class CommandFailed(PycomposeError):
    """A command in a container ended with another code than 0; `completed` is all of it."""

    def __init__(self, completed: Completed) -> None:
        last = completed.stderr.strip().splitlines()[-1:]
        text = f"`{shlex.join(completed.command)}` ended with {completed.returncode}"
        super().__init__(f"{text}: {last[0]}" if last else text, exit_code=completed.returncode)
        self.completed = completed


class CommandTimeout(PycomposeError, TimeoutError):
    """A command in a container did not end in time, and was killed; what it wrote until then is in `completed`."""

    def __init__(self, completed: Completed, seconds: float) -> None:
        super().__init__(f"`{shlex.join(completed.command)}` did not end in {seconds:g} s, and was killed")
        self.completed = completed


def words(command: Command) -> tuple[str, ...]:
    return ("sh", "-c", command) if isinstance(command, str) else tuple(command)


class MemoryStreams:
    """Files in memory in place of descriptors 0 to 2; `numbers` are theirs."""

    def __init__(self, content: Input) -> None:
        self.numbers = (_memory("stdin"), _memory("stdout"), _memory("stderr"))
        data = content.encode() if isinstance(content, str) else content or b""
        with open(self.numbers[0], "wb", closefd=False) as file:
            file.write(data)
        os.lseek(self.numbers[0], 0, os.SEEK_SET)

    def completed(self, command: tuple[str, ...], returncode: int) -> Completed:
        return Completed(command, returncode, _content(self.numbers[1]), _content(self.numbers[2]))

    def close(self) -> None:
        for number in self.numbers:
            os.close(number)


def _memory(name: str) -> int:
    return os.memfd_create(f"pycompose-{name}", os.MFD_CLOEXEC)


def _content(descriptor: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        return file.read()


@contextmanager
def streams(content: Input) -> Iterator[MemoryStreams]:
    opened = MemoryStreams(content)
    try:
        yield opened
    finally:
        opened.close()


def captured(
    command: tuple[str, ...], content: Input, timeout: float | None, run: Callable[[tuple[int, int, int]], int]
) -> Completed:
    """Have `run` copy the streams of a command until it ends. Raises CommandTimeout, and what `run` does."""
    with streams(content) as files:
        if timeout is None:
            return files.completed(command, run(files.numbers))
        with interruption.after(timeout) as ring:
            try:
                code = run(files.numbers)
            except KeyboardInterrupt:
                if not ring.over:
                    raise
                raise CommandTimeout(files.completed(command, 137), timeout) from None
        if ring.over and code == 137:  # it was killed, and its streams copied to their end
            raise CommandTimeout(files.completed(command, code), timeout)
        return files.completed(command, code)
