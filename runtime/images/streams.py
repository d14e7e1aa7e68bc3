"""Streams that layers are read through: counted, hashed, decompressed, and skipped forward in large pieces.

Made for threads that work side by side: each read is a wait for the interpreter's lock, so pieces are large, and
nothing is copied that need not be. Rules: synchronous; they never go back.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
import zlib
from collections.abc import Callable
from typing import IO, cast

from .errors import ImageError

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

ZstdError = zstd.ZstdError
MAX_BYTES = 256 << 30
PIECE = 1 << 18  # bytes that are read, or decompressed, at a time
Progress = Callable[[int], None]  # called with the number of bytes just read


class MeasuredStream(io.RawIOBase):
    """A stream whose bytes are counted and hashed; its first ones can be looked at before."""

    def __init__(
        self,
        source: IO[bytes],
        progress: Progress | None = None,
        limit: int = MAX_BYTES,
        copy: IO[bytes] | None = None,
    ) -> None:
        self._source, self._progress, self._limit, self._copy = source, progress, limit, copy
        self.sha, self.size = hashlib.sha256(), 0
        self._start = b""

    def readable(self) -> bool:
        return True

    def peek(self) -> bytes:
        while len(self._start) < 4 and (more := self._source.read(4 - len(self._start))):
            self._start += more
        return self._start

    def read(self, size: int = -1) -> bytes:
        data, self._start = self._start, b""
        if len(data) > size >= 0:
            data, self._start = data[:size], data[size:]
        elif not data or size < 0:
            data += self._source.read(size if size >= 0 else 1 << 20)
        self.sha.update(data)
        self.size += len(data)
        if self.size > self._limit:
            raise ImageError(f"it has more bytes than it may have: {self._limit}")
        if self._copy is not None:
            self._copy.write(data)
        if self._progress:
            self._progress(len(data))
        return data

    @property
    def digest(self) -> str:
        return "sha256:" + self.sha.hexdigest()


def compression(source: MeasuredStream) -> str:
    """Known by the first bytes."""
    magic = source.peek()
    return "gzip" if magic[:2] == b"\x1f\x8b" else "zstd" if magic == b"\x28\xb5\x2f\xfd" else ""


class Gunzip(io.RawIOBase):
    """One gzip member after another. Python's own asks for 8 KiB at a time: a wait for the interpreter's lock each."""

    def __init__(self, source: MeasuredStream) -> None:
        self._source, self._inflate = source, zlib.decompressobj(wbits=31)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """About that many bytes; none at the end."""
        while True:
            if self._inflate.eof:
                rest = self._inflate.unused_data or self._source.read(PIECE)
                rest = rest.lstrip(b"\0")  # padding is no member
                if not rest:
                    return b""
                self._inflate = zlib.decompressobj(wbits=31)
            else:
                rest = self._inflate.unconsumed_tail or self._source.read(PIECE)
                if not rest:
                    raise EOFError("it ends in the middle of a gzip stream")
            if data := self._inflate.decompress(rest, size if size > 0 else PIECE):
                return data


class Unzstd(io.RawIOBase):
    """One zstd frame after another, with windows of at most 128 MiB, as libzstd has it unless told otherwise."""

    def __init__(self, source: MeasuredStream) -> None:
        self._source, self._frame = source, zstd.ZstdDecompressor()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """At most that many bytes; none at the end."""
        while True:
            packed = b""
            if self._frame.eof:
                packed = self._frame.unused_data or self._source.read(PIECE)
                if not packed:
                    return b""
                self._frame = zstd.ZstdDecompressor()
            elif self._frame.needs_input:
                packed = self._source.read(PIECE)
                if not packed:
                    raise EOFError("it ends in the middle of a zstd frame")
            if data := self._frame.decompress(packed, size if size > 0 else PIECE):
                return data


def plain(source: MeasuredStream) -> IO[bytes]:
    """The uncompressed stream: gzip and zstd are known by their first bytes."""
    magic = source.peek()
    if magic[:2] == b"\x1f\x8b":
        return cast(IO[bytes], Gunzip(source))
    if magic == b"\x28\xb5\x2f\xfd":
        return cast(IO[bytes], Unzstd(source))
    if magic[:3] == b"BZh" or magic == b"\xfd7zX":
        raise ImageError("it is compressed with bzip2 or xz", "compress it with gzip or zstd")
    return cast(IO[bytes], source)


class Forward(io.RawIOBase):
    """A stream as tarfile wants a file: it can be told where it is, and skips; it never goes back.

    tarfile's own streams copy what they have buffered for every header.
    """

    def __init__(self, source: MeasuredStream) -> None:
        self._source, self._piece, self._at, self._start = source, b"", 0, 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._start + self._at

    def piece(self, size: int) -> memoryview:
        """At most that many of the next bytes; none at the end."""
        if self._at == len(self._piece):
            self._start += self._at
            self._piece, self._at = self._source.read(PIECE), 0
        view = memoryview(self._piece)[self._at : self._at + size]
        self._at += len(view)
        return view

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            raise ValueError("a size is wanted")
        data = bytes(self.piece(size))
        while len(data) < size and (more := self.piece(size - len(data))):
            data += more
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        left = offset - self.tell()
        if whence != os.SEEK_SET or left < 0:
            raise tarfile.ReadError("its parts are not one after another")
        while left and (skipped := self.piece(left)):
            left -= len(skipped)
        return self.tell()
