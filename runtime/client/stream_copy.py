"""Bytes between descriptors of the caller's and our ends of a process's streams, until the process ends. Blocking.

Of the caller's descriptors nothing is changed: others use them too. Rules: what a process has written before it ended
is copied to the last byte; nobody whom it left behind keeps us. What cannot be written any more is not read any more,
so that a process whose reader is gone hears of it as it would have done itself (SIGPIPE).
"""

from __future__ import annotations

import fcntl
import os
import select
import stat
import struct
import termios
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

CHUNK = 1 << 16  # bytes
Filter = Callable[[bytes], tuple[bytes, bool]]  # what was read -> what of it is passed on, and whether it asks to leave
SPLICE_F_NONBLOCK = 2
LONGEST_TERMINAL = 1 << 20  # bytes that a terminal may still show when its process has ended: more than it can hold


class Flow:
    """The way from `source` to `target`; it is over when either has no more to give or to take.

    It waits for one thing at a time: something to read or, while there is something, room to write. An end of ours
    (`ours`) is closed when the flow is over, which tells the process. Where both are pipes, or a pipe ends in a file,
    the kernel moves the pages (splice(2)); not so what goes in, where pages of the caller's files have no business.
    """

    def __init__(
        self, source: int, target: int, ours: int, *, terminal: bool = False, filtered: Filter | None = None
    ) -> None:
        self.source, self.target, self.ours, self._terminal = source, target, ours, terminal
        self._filtered = filtered
        self.over = False
        self.leaves = False  # what it has read asks to end all of it
        self.failure = 0  # errno of why no more could be written
        self._rest = b""  # read, and not yet written
        self._splices = not terminal and ours == source and _spliceable(target)
        self._full = False  # the target, so that it is waited for
        os.set_blocking(ours, False)

    def waits(self) -> tuple[int, int]:
        """Descriptor and event of poll(2)."""
        return (self.target, select.POLLOUT) if self._rest or self._full else (self.source, select.POLLIN)

    def step(self, most: int = CHUNK) -> int:
        """Move what can be moved now, once; how many bytes have left the source or reached the target."""
        try:
            count = self._splice(most) if self._splices else self._copy(most)
        except BlockingIOError:
            self._full = self._splices and not self._full  # whichever it was that let us wait: now the other one
            return 0
        except OSError:  # EPIPE, EIO of a terminal that hung up, EBADF of a descriptor that the caller has closed
            count = -1
        self._full = False
        if count < 0:
            self.end()
        return max(count, 0)

    def _splice(self, most: int) -> int:
        with self._noting():
            return os.splice(self.source, self.target, most, flags=SPLICE_F_NONBLOCK) or -1

    def _copy(self, most: int) -> int:
        if not self._rest:
            self._rest = os.read(self.source, most)
            if not self._rest:
                return -1
            if self._filtered is not None:
                self._rest, self.leaves = self._filtered(self._rest)
                if not self._rest:
                    return 0
        with self._noting():
            count = os.write(self.target, self._rest)
        self._rest = self._rest[count:]
        return count

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:
            raise
        except OSError as error:
            self.failure = error.errno or 0
            raise

    def drain(self) -> None:
        """Move what is in the source now, and no more: somebody may go on writing."""
        left = len(self._rest) + (LONGEST_TERMINAL if self._terminal else _waiting(self.source))
        while left > 0 and not self.over:
            moved = self.step(min(left, CHUNK))
            left -= moved
            if not moved and not self.over:
                if not self._splices and not self._rest:
                    return  # a terminal shows nothing more
                _poll([(self.target, select.POLLOUT)])

    def end(self) -> None:
        if not self.over:
            self.over = True
            os.close(self.ours)


_Code = TypeVar("_Code")


def copy_until(
    ended: int,
    code: Callable[[], _Code],
    inward: Sequence[Flow],
    outward: Sequence[Flow],
    closed: Callable[[Flow], bool] = lambda _: False,
) -> _Code | None:
    """Keep the flows going until `ended` is readable; then what `code` returns. What is left outward is copied.

    None where what was typed asks to leave, or `closed` does, which is asked of each outward flow that is over before.
    """
    reported: list[Flow] = []
    while True:
        flows = [flow for flow in (*inward, *outward) if not flow.over]
        ready = _poll([(ended, select.POLLIN), *(flow.waits() for flow in flows)])
        for flow in flows:
            if flow.waits()[0] in ready:
                flow.step()
        for flow in outward:
            if flow.over and flow not in reported:
                reported.append(flow)
                if closed(flow):
                    return None
        if any(flow.leaves for flow in inward):
            return None
        if ended in ready:
            outcome = code()
            for flow in outward:
                if not flow.over:
                    flow.drain()
            return outcome


def _poll(wanted: Sequence[tuple[int, int]]) -> set[int]:
    events: dict[int, int] = {}
    for descriptor, event in wanted:
        events[descriptor] = events.get(descriptor, 0) | event
    poll = select.poll()
    for descriptor, event in events.items():
        poll.register(descriptor, event)
    return {descriptor for descriptor, _ in poll.poll()}


def _spliceable(target: int) -> bool:
    with suppress(OSError):
        kind = os.fstat(target).st_mode
        appends = fcntl.fcntl(target, fcntl.F_GETFL) & os.O_APPEND  # EINVAL, says splice(2)
        return stat.S_ISFIFO(kind) or (stat.S_ISREG(kind) and not appends)
    return False


def _waiting(source: int) -> int:
    with suppress(OSError):
        return int(struct.unpack("i", fcntl.ioctl(source, termios.FIONREAD, bytes(4)))[0])
    return 0
