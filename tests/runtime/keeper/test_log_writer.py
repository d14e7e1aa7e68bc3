"""A container's output on its way into the log: stamped, rotated, and whole after a kill at any moment."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest
from pycompose.runtime.keeper import log_writer
from pycompose.runtime.keeper.log_writer import LogFile, Output, stamp

STAMP = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ", re.MULTILINE)


def lines(path: Path) -> list[bytes]:
    return STAMP.sub(b"", path.read_bytes()).splitlines()


def output(folder: Path, max_size: int = 0, max_files: int = 1) -> Output:
    return Output(LogFile(str(folder / "log"), max_size, max_files), str(folder / "spool"))


def feed(to: Output, data: bytes, stream: int = 0) -> None:
    reader, writer = os.pipe2(os.O_NONBLOCK)
    os.write(writer, data)
    while to.take(reader, stream):
        pass
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    ("chunk", "text"),
    [
        (b"a\n", b"T out F a\n"),
        (b"a\nb\n", b"T out F a\nT out F b\n"),
        (b"a", b"T out P a\n"),
        (b"a\nb", b"T out F a\nT out P b\n"),
        (b"\n\n", b"T out F \nT out F \n"),
    ],
)
def test_a_chunk_is_stamped_line_by_line(chunk: bytes, text: bytes) -> None:
    assert stamp(chunk, b"out", b"T") == text


def test_both_streams_come_into_one_log(tmp_path: Path) -> None:
    to = output(tmp_path)
    feed(to, b"one\n")
    feed(to, b"two\n", 1)
    feed(to, b"three")
    to.close()
    assert lines(tmp_path / "log") == [b"stdout F one", b"stderr F two", b"stdout P three", b"stdout F "]
    assert sorted(os.listdir(tmp_path)) == ["log"]


def test_the_end_of_a_pipe_is_told_from_one_that_is_empty(tmp_path: Path) -> None:
    to = output(tmp_path)
    reader, writer = os.pipe2(os.O_NONBLOCK)
    assert to.take(reader, 0) is False
    os.close(writer)
    assert to.take(reader, 0) is None
    os.close(reader)
    to.close()


def test_a_full_log_is_rotated_at_a_lines_end(tmp_path: Path) -> None:
    to = output(tmp_path, max_size=200, max_files=3)
    for number in range(12):
        feed(to, b"line %d\n" % number)
    to.close()
    files = [tmp_path / "log.2", tmp_path / "log.1", tmp_path / "log"]
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1", "log.2"]
    assert all(file.stat().st_size <= 200 for file in files)
    kept = [line for file in files for line in lines(file)]
    assert kept == [b"stdout F line %d" % number for number in range(12)][-len(kept) :]


def test_with_one_file_a_full_log_begins_anew(tmp_path: Path) -> None:
    to = output(tmp_path, max_size=100)
    for number in range(4):
        feed(to, b"line %d\n" % number)
    to.close()
    assert os.listdir(tmp_path) == ["log"]
    assert lines(tmp_path / "log")[-1] == b"stdout F line 3"
    assert (tmp_path / "log").stat().st_size <= 100


@pytest.mark.parametrize("kill", range(1, 12))
def test_a_kill_between_any_two_system_calls_neither_loses_nor_doubles_a_byte(tmp_path: Path, kill: int) -> None:
    class Killed(BaseException):
        pass

    reader, writer = os.pipe2(os.O_NONBLOCK)
    os.write(writer, b"first\nsecond\nthi")
    to = output(tmp_path)
    calls = 0
    with pytest.MonkeyPatch.context() as patch:
        for name in ("write", "pwrite", "pread", "splice", "ftruncate"):
            real = getattr(os, name)

            def counted(*given: object, real: object = real, **named: object) -> object:
                nonlocal calls
                calls += 1
                if calls == kill:
                    raise Killed
                return real(*given, **named)  # type: ignore[operator]

            patch.setattr(os, name, counted)
        try:
            while to.take(reader, 0):
                pass
        except Killed:
            pass
    os.close(to.spool)
    to.log.close()
    again = output(tmp_path)
    os.write(writer, b"rd\n")
    while again.take(reader, 0):
        pass
    again.close()
    os.close(reader)
    os.close(writer)
    text = b"".join(line[9:] + (b"\n" if line.startswith(b"stdout F") else b"") for line in lines(tmp_path / "log"))
    assert text == b"first\nsecond\nthird\n"


@pytest.mark.parametrize("files", [1, 3])
def test_where_there_is_no_room_for_another_file_the_log_grows_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    monkeypatch.setattr(log_writer, "note", lambda text: None)
    log = log_writer.LogFile(str(tmp_path / "log"), 200, files)
    real = os.open

    def full(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT and not os.path.exists(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", full)
    for _ in range(4):
        assert log.fit(b"x" * 100 + b"\n")
        log.write(b"x" * 150 + b"\n")
    monkeypatch.undo()
    assert (tmp_path / "log").stat().st_size == (151 if files == 1 else 4 * 151)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    for _ in range(2):
        assert log.fit(b"x" * 180 + b"\n")
        log.write(b"x" * 180 + b"\n")
    log.close()
    assert (tmp_path / "log").stat().st_size == 181, "with room again it is rotated again"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.ENOMEM])
def test_a_full_disk_loses_output_and_tells_how_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    to = output(tmp_path)
    monkeypatch.setattr(log_writer, "note", lambda text: None)
    with pytest.MonkeyPatch.context() as patch:

        def full(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        patch.setattr(os, "write", full)
        to._append(b"lost\n", 0)  # past the pipe, which needs `write` too
    feed(to, b"kept\n")
    to.close()
    first, second = lines(tmp_path / "log")
    assert re.fullmatch(rb"stderr F pycompose: \d+ bytes of log were lost, there was no room", first)
    assert second == b"stdout F kept"
