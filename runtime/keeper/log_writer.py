"""A container's output, from its FIFOs into its log in the CRI format, a chunk at a time.

    2016-10-06T00:17:09.669794202Z stdout F a whole line
    2016-10-06T00:17:09.669794202Z stdout P a part of a line; more follows

A chunk is moved from the FIFO into a spool file by one splice(2), stamped, and appended to the log; the spool's head
says how much of both is done. So a keeper that is killed between any two instructions loses no byte and writes none
twice: the next one cuts the log to what is done, and stamps the rest of the spool again (`Output._recover`).
A terminal's output cannot be spliced so, and goes to the log directly. A full disk loses output, never the container.
`stamp` is pure; `LogFile` writes and rotates (log, log.1, log.2, …).
"""

from __future__ import annotations

import errno
import os
import struct
import time
from contextlib import suppress

from pycompose.log_lines import note

CHUNK = 1 << 17  # bytes taken from one stream before the others have their turn
HEAD = struct.Struct("<QQQQ")  # inode and size of the log, bytes of the spool that are in it, stream
START = 64  # where the spool's bytes begin
SPOOL = 1 << 18  # bytes; then it begins anew
STREAMS = (b"stdout", b"stderr")
STREAM_SIZE = 1 << 20  # bytes of output that is not kept, for who is attached; twice as much may be there
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS, errno.ENOMEM)


def now() -> bytes:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return b"%s.%09dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode(), nanoseconds)


def stamp(chunk: bytes, stream: bytes, when: bytes) -> bytes:
    """The lines of the log for a chunk that is not empty; one `replace`, whatever the number of lines."""
    whole, newline, part = chunk.rpartition(b"\n")
    head = b"%s %s F " % (when, stream)
    text = head + whole.replace(b"\n", b"\n" + head) + b"\n" if newline else b""
    return text + b"%s %s P %s\n" % (when, stream, part) if part else text


class LogFile:
    """`max_size` (bytes; 0 is without limit) is kept to the line, unless one line alone is longer."""

    def __init__(self, path: str, max_size: int, max_files: int) -> None:
        self.path, self.max_size, self.max_files = path, max_size, max_files
        self.limit = max_size  # more while there is no room for another file
        self.lost = 0
        self._use(os.open(path, FLAGS, 0o600))

    def _use(self, fd: int) -> None:
        self.fd = fd
        there = os.fstat(fd)
        self.size, self.inode = there.st_size, there.st_ino

    def unfinished(self) -> list[bool]:
        """Of each stream, whether the log's last line is a part, as far as the log's end tells."""
        with open(self.path, "rb") as file:
            file.seek(max(0, self.size - (1 << 16)))
            tags = dict(line.split(b" ", 3)[1:3] for line in file.read().splitlines() if line.count(b" ") >= 2)
        return [tags.get(stream) == b"P" for stream in STREAMS]

    def cut(self, size: int) -> None:
        os.ftruncate(self.fd, size)
        self.size = size

    def fit(self, chunk: bytes, begun: bool = False) -> int:
        """How many bytes of a chunk go into the file now, at a line's end; the file is rotated first if it is full.

        `begun`: the chunk begins with the rest of a line, which goes where its beginning is.
        """
        if not self.max_size:
            return len(chunk)
        lines = chunk.count(b"\n") + (not chunk.endswith(b"\n"))
        stamped = len(chunk) + 40 * lines
        room = self.limit - self.size
        if stamped <= room:
            return len(chunk)
        cut = chunk.rfind(b"\n", 0, room * len(chunk) // stamped) + 1 if room > 0 else 0
        if not cut and self.size and not begun and self._rotate():
            return self.fit(chunk)
        return cut or chunk.find(b"\n") + 1 or len(chunk)

    def write(self, data: bytes) -> None:
        if self.lost:
            data = b"%s stderr F pycompose: %d bytes of log were lost, there was no room\n" % (now(), self.lost) + data
        view, written = memoryview(data), 0
        try:
            while written < len(view):
                written += os.write(self.fd, view[written:])
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            if not self.lost:
                note(f"{self.path}: {error.strerror}; output is being lost")
            self.lost += len(data)
            with suppress(OSError):
                os.ftruncate(self.fd, self.size)  # no half line
            return
        self.size += written
        self.lost = 0

    def _rotate(self) -> bool:
        """Begin a new file; False where there is no room for one, which is tried again after as much output."""
        try:
            if self.max_files <= 1:
                self.cut(0)
                return True
            new = f"{self.path}.new"  # first, for there may be no room for it
            fd = os.open(new, FLAGS | os.O_TRUNC, 0o600)
            try:
                for number in range(self.max_files - 1, 0, -1):
                    older = self.path if number == 1 else f"{self.path}.{number - 1}"
                    with suppress(FileNotFoundError):
                        os.rename(older, f"{self.path}.{number}")
                os.rename(new, self.path)
            except OSError:
                os.close(fd)
                raise
        except OSError as error:  # better too large a file than a lost line
            note(f"{self.path} cannot be rotated: {error.strerror}")
            self.limit = self.size + self.max_size
            return False
        os.close(self.fd)
        self._use(fd)
        self.limit = self.max_size
        return True

    def close(self) -> None:
        os.close(self.fd)


def discard_stream(path: str) -> None:
    """Remove what is left of the output of one of which no log is kept."""
    for name in (path, f"{path}.1"):
        with suppress(FileNotFoundError):
            os.unlink(name)


class Output:
    """The way of one container's output into its log; the spool lies at `spool` until `close`."""

    def __init__(self, log: LogFile, spool: str) -> None:
        self.log, self.path = log, spool
        self.stream = 0
        self.begun = self.log.unfinished()
        self.spool = os.open(spool, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.end = self.done = START
        self._recover()

    def _recover(self) -> None:
        head = os.pread(self.spool, HEAD.size, 0)
        end = os.fstat(self.spool).st_size
        if len(head) < HEAD.size:
            self._commit()
            return
        inode, size, done, stream = HEAD.unpack(head)
        if self.log.inode != inode:
            size = 0  # killed while it rotated: nothing counts in the new file yet
        if self.log.size > size:
            self.log.cut(size)
            self.begun = self.log.unfinished()
        self.stream = min(stream, 1)
        self.end = max(end, START)
        self.done = min(done, self.end)
        if self.done < self.end:
            self._append(os.pread(self.spool, self.end - self.done, self.done), self.stream)

    def _commit(self) -> None:
        with suppress(OSError):  # no room for it: then a kill may cost or double a chunk
            os.pwrite(self.spool, HEAD.pack(self.log.inode, self.log.size, self.done, self.stream), 0)

    def take(self, fd: int, stream: int) -> bool | None:
        """Move a chunk; False when there is none now, None when there will be none any more."""
        if stream != self.stream:
            self.stream = stream
            self._commit()
        if self.end > SPOOL:
            os.ftruncate(self.spool, START)
            self.end = self.done = START
            self._commit()
        try:
            # SPLICE_F_NONBLOCK
            count = os.splice(fd, self.spool, CHUNK, offset_dst=self.end, flags=2)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            return self.read(fd, stream)
        if not count:
            return None
        chunk = os.pread(self.spool, count, self.end)
        self.end += count
        self._append(chunk, stream)
        return True

    def read(self, fd: int, stream: int) -> bool | None:
        """The same without the spool."""
        try:
            chunk = os.read(fd, CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last one closed the terminal
            return None
        if not chunk:
            return None
        self._append(chunk, stream, spooled=False)
        return True

    def _append(self, chunk: bytes, stream: int, spooled: bool = True) -> None:
        while chunk:
            count = self.log.fit(chunk, self.begun[stream])
            if self.log.size == 0:
                self._commit()  # a new file, of which nothing is done
            self.log.write(stamp(chunk[:count], STREAMS[stream], now()))
            self.begun[stream] = chunk[count - 1] != 10  # no newline at its end
            self.done += count if spooled else 0
            chunk = chunk[count:]
            self._commit()

    def close(self) -> None:
        for stream, begun in enumerate(self.begun):
            if begun:  # nothing more follows: the line is whole
                self.log.write(stamp(b"\n", STREAMS[stream], now()))
        os.close(self.spool)
        self.log.close()
        with suppress(FileNotFoundError):
            os.unlink(self.path)
