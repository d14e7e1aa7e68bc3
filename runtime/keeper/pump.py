"""A container's output, from its FIFOs into its log in the CRI format, a chunk at a time.

    2016-10-06T00:17:09.669794202Z stdout F a whole line
    2016-10-06T00:17:09.669794202Z stdout P a part of a line; more follows

`stamp` is pure; `Log` writes and rotates (log, log.1, log.2, …).
"""

from __future__ import annotations

import os
import time


def now() -> bytes:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return b"%s.%09dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode(), nanoseconds)


def stamp(chunk: bytes, stream: bytes, when: bytes) -> bytes:
    """The lines of the log for a chunk that is not empty; one `replace`, whatever the number of lines."""
    whole, newline, part = chunk.rpartition(b"\n")
    head = b"%s %s F " % (when, stream)
    text = head + whole.replace(b"\n", b"\n" + head) + b"\n" if newline else b""
    return text + b"%s %s P %s\n" % (when, stream, part) if part else text


class Log:
    def __init__(self, path: str, max_size: int, max_files: int) -> None:
        self.path, self.max_size, self.max_files = path, max_size, max_files
        self._open()

    def _open(self) -> None:
        self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self.size = os.fstat(self.fd).st_size

    def write(self, data: bytes) -> None:
        if self.max_size and self.size and self.size + len(data) > self.max_size:
            self._rotate()
        self.size += len(data)
        while data:
            data = data[os.write(self.fd, data) :]

    def _rotate(self) -> None:
        os.close(self.fd)
        if self.max_files <= 1:
            os.truncate(self.path, 0)
        for number in range(self.max_files - 1, 0, -1):
            older = self.path if number == 1 else f"{self.path}.{number - 1}"
            if os.path.exists(older):
                os.rename(older, f"{self.path}.{number}")
        self._open()

    def close(self) -> None:
        os.close(self.fd)
