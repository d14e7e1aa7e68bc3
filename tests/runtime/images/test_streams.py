"""Streams are decompressed piece by piece, frame after frame, and never more than was asked for."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable

import pytest
from pycompose.runtime.images.streams import PIECE, MeasuredStream, Unzstd, ZstdError, plain, zstd

BOTH = pytest.mark.parametrize("packed", [gzip.compress, zstd.compress])
SKIPPABLE = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"  # RFC 8878, 3.1.2: a frame that holds no data


def through(data: bytes, size: int = PIECE) -> bytes:
    stream, pieces = plain(MeasuredStream(io.BytesIO(data))), []
    while piece := stream.read(size):
        assert len(piece) <= size
        pieces.append(piece)
    return b"".join(pieces)


@BOTH
def test_frames_one_after_another_are_one_stream(packed: Callable[[bytes], bytes]) -> None:
    assert through(packed(b"one") + packed(b"") + packed(b"two")) == b"onetwo"
    assert through(b"".join(packed(bytes([n])) for n in range(200))) == bytes(range(200))


def test_a_zstd_frame_without_data_is_passed_over() -> None:
    assert through(zstd.compress(b"one") + SKIPPABLE + zstd.compress(b"two") + SKIPPABLE) == b"onetwo"


@BOTH
def test_no_more_is_unpacked_than_is_asked_for(packed: Callable[[bytes], bytes]) -> None:
    assert through(packed(bytes(1 << 22)), 1000) == bytes(1 << 22)


@BOTH
def test_a_stream_that_ends_in_the_middle_is_an_error(packed: Callable[[bytes], bytes]) -> None:
    whole = packed(bytes(range(256)) * 100)
    for cut in (5, len(whole) // 2, len(whole) - 1):
        with pytest.raises(EOFError, match="ends in the middle"):
            through(whole[:cut])
    with pytest.raises(EOFError):
        through(whole + whole[:-1])


def test_a_window_beyond_128_mib_is_refused() -> None:
    # RFC 8878, 3.1.1.1: magic, a header without a single segment, a window of 2^28 bytes, one empty last block
    frame = b"\x28\xb5\x2f\xfd\x00" + bytes([(28 - 10) << 3]) + b"\x01\x00\x00"
    with pytest.raises(ZstdError, match="memory"):
        Unzstd(MeasuredStream(io.BytesIO(frame))).read(1)
    allowed = b"\x28\xb5\x2f\xfd\x00" + bytes([(27 - 10) << 3]) + b"\x01\x00\x00"
    assert Unzstd(MeasuredStream(io.BytesIO(allowed))).read(1) == b""


def test_garbage_after_a_zstd_frame_is_an_error() -> None:
    with pytest.raises(ZstdError):
        through(zstd.compress(b"one") + b"\0\0\0\0")
