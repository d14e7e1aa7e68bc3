"""Descriptors 0 to 2 of a container from outside: copied into its log, or taken by the client that runs it.

What is not taken goes through FIFOs that the container holds open itself, so that a keeper may die: writes wait then,
and never fail. A taker's stdin is a pipe, which ends when the taker closes it or dies; its outputs have no reader but
the taker and the keeper, who is told (`drop`) when nobody reads one any more. A taker that is gone leaves the outputs
to the log. Of one that ran when a keeper before this one died, the outputs wait a while for the taker to come back.
Nothing here waits.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress

from pycompose import shortages
from pycompose.runtime.spec import Bundle

from . import messages
from .connection import Refused
from .household import Household, Taker
from .log_writer import STREAM_SIZE, LogFile, Output, discard_stream
from .messages import Answer, Done, StreamsTaken

NAMES = ("out", "err")  # FIFOs in its folder
PIPE = 1 << 18  # bytes that a container may print while its keeper is away
RETURN = 5.0  # seconds in which the taker of a keeper before this one comes back
F_SETPIPE_SZ = 1031


class ContainerStreams:
    def __init__(self, keeper: Household, container_id: str, folder: str, bundle: Bundle) -> None:
        self.keeper, self.id, self.folder, self.bundle = keeper, container_id, folder, bundle
        self.terminal = bundle.spec.process.terminal
        self.taker: Taker | None = None
        self._awaited = False  # a taker that had them when a keeper before this one died
        self._log: Output | None = None
        self._readers: dict[int, int] = {}  # descriptor -> stdout (0) or stderr (1)
        self._early: dict[str, int] = {}  # outputs that have a reader before the container is there, by NAMES
        self._input = -1  # what a taker writes to, until it has it
        self._master = -1

    # --- its beginning ---

    def inside(self) -> tuple[int, int, int]:
        """The container's descriptors. Raises OSError; none of them is open then."""
        self.taker = self.keeper.taker(self.id)
        with ExitStack() as opened:

            def open_one(path: str, flags: int) -> int:
                descriptor = os.open(path, flags | os.O_CLOEXEC)
                opened.callback(os.close, descriptor)
                return descriptor

            out, err = (f"{self.folder}/{name}" for name in NAMES)
            piped = self.taker is not None and not self.terminal
            stdin, flags = f"{self.folder}/in" if self.bundle.stdin_open else "/dev/null", os.O_RDWR
            if piped:
                flags = os.O_WRONLY
                for name, path in zip(NAMES, (out, err), strict=True):
                    self._early[name] = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            if piped and self.bundle.stdin_open:
                descriptor, self._input = os.pipe2(os.O_CLOEXEC)
                opened.callback(os.close, descriptor)
            else:
                descriptor = open_one(stdin, os.O_RDWR)
            descriptors = descriptor, open_one(out, flags), open_one(err, flags)
            opened.pop_all()
            return descriptors

    def begin(self, master: int, kept: Mapping[str, int] | None = None, *, taken: bool = False) -> None:
        """Read what it prints, from the descriptors `kept` or newly opened FIFOs. Raises OSError.

        `taken`: by somebody who may come back.
        """
        self._master = master
        if taken:
            self._awaited = True
            self.keeper.loop.later(RETURN, self._left_alone)
        early, self._early = {**self._early, **(kept or {})}, {}
        if self.taker is not None and master >= 0 and self.taker.rows:
            size = struct.pack("HHHH", self.taker.rows, self.taker.columns, 0, 0)
            fcntl.ioctl(master, termios.TIOCSWINSZ, size)
        if self.bundle.log_max_files:
            log = LogFile(f"{self.folder}/log", self.bundle.log_max_size, self.bundle.log_max_files)
        else:
            if not kept:  # it is of the last run
                discard_stream(self.keeper.places.stream(self.id))
            log = LogFile(self.keeper.places.stream(self.id), STREAM_SIZE, 2)
        self._log = Output(log, self.keeper.places.output(self.id))
        if master >= 0:
            self._read(master, 0)
        if not self.terminal:
            for stream, name in enumerate(NAMES):
                flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
                fd = early[name] if name in early else os.open(f"{self.folder}/{name}", flags)
                with suppress(OSError):  # the user may have no more room for pipes
                    fcntl.fcntl(fd, F_SETPIPE_SZ, PIPE)
                self._read(fd, stream)

    def _read(self, fd: int, stream: int) -> None:
        os.set_blocking(fd, False)
        self._readers[fd] = stream
        if self.taker is None and not self._awaited:
            self.keeper.loop.watch(fd, self._copier(fd))

    # --- while it runs ---

    def hand_over(self, pidfd: int) -> None:
        """Its program runs: let the taker have its streams, which nobody here reads then."""
        if self.taker is not None:
            inputs = [self._input] if self._input >= 0 else []
            self.taker.reply(StreamsTaken(), [pidfd, *self._readers, *inputs])
        self._close_unused()

    def take_again(self, taker: Taker, pidfd: int) -> None:
        """The taker comes back. Raises Refused where none is awaited."""
        if not self._awaited:
            raise Refused("it is started already", "attach")
        self._awaited, self.taker = False, taker
        taker.reply(Done())
        self.hand_over(pidfd)

    def _left_alone(self) -> None:
        if self._awaited:
            self._awaited = False
            self.take_back()

    def take_back(self) -> None:
        """The taker is gone: what is printed from now on is logged."""
        self.taker = None
        for fd in self._readers:
            self.keeper.loop.watch(fd, self._copier(fd))

    def drop(self, stream: int) -> None:
        """Nobody reads an output (1 or 2) any more. Raises Refused where nobody has taken it."""
        if self.taker is None:
            raise Refused("nobody has taken its streams", "attach")
        for fd in [fd for fd, number in self._readers.items() if number == stream - 1 and fd != self._master]:
            del self._readers[fd]
            os.close(fd)

    def tell_taker(self, answer: Answer) -> None:
        if self.taker is not None:
            self.taker.reply(answer)

    def open_input(self) -> int:
        """A descriptor by which its stdin is written to. Raises Refused where it is not open, OSError."""
        if not self.bundle.stdin_open:
            raise Refused("its stdin is not open", "attach")
        if self.terminal:
            if self._master < 0:
                raise Refused("its terminal is gone", "attach")
            return os.dup(self._master)
        try:
            return os.open(f"{self.folder}/in", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            raise Refused("its stdin is that of the command that runs it", "attach") from None

    def lasting(self) -> dict[str, int]:
        """What outlives the keeper, by name."""
        descriptors = {"master": self._master} if self._master >= 0 else {}
        return descriptors | {NAMES[stream]: fd for fd, stream in self._readers.items() if fd != self._master}

    def _copier(self, fd: int) -> Callable[[int], object]:
        return lambda _: self._copy(fd)

    def _copy(self, fd: int) -> bool:
        """Copy a chunk; False when there is none."""
        assert self._log is not None
        stream = self._readers[fd]
        try:
            there = self._log.read(fd, stream) if fd == self._master else self._log.take(fd, stream)
        except Exception as error:
            self.keeper.loop.unwatch(fd)
            if not shortages.number(error):
                raise
            self.keeper.loop.later(shortages.PAUSE, lambda: self._copy_again(fd))  # else its container would wait
            return False
        if there is None:
            self.keeper.loop.unwatch(fd)
        return bool(there)

    def _copy_again(self, fd: int) -> None:
        if fd in self._readers and self._log is not None:
            self.keeper.loop.watch(fd, self._copier(fd))

    # --- its end ---

    def finish(self) -> None:
        """All of its processes are gone: log what is left, but for a taker, who has it."""
        if self._log is None:
            return
        for fd in list(self._readers) if self.taker is None and not self._awaited else ():
            self._drain(fd)
        self._log.close()

    def _drain(self, fd: int) -> None:
        """What is in it now, and no more: someone may go on writing."""
        left = PIPE
        with suppress(OSError):
            left = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0]
        while left > 0 and self._copy(fd):
            left -= 1 << 12 if fd == self._master else 1 << 17

    def close(self) -> None:
        for fd in {*self._readers, self._master} - {-1}:
            self.keeper.loop.unwatch(fd)
            os.close(fd)
        self._readers.clear()
        self._master, self._awaited = -1, False
        self._close_unused()

    def _close_unused(self) -> None:
        messages.close_all([fd for fd in (self._input, *self._early.values()) if fd >= 0])
        self._input, self._early = -1, {}
