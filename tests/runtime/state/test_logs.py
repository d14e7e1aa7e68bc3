"""Logs as they are and as they grow: parts, rotation, tails, and files that are not there yet."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest
from pycompose.runtime.keeper.log_writer import now, stamp
from pycompose.runtime.state import logs
from pycompose.runtime.state.line_follower import LineFollower


def line(number: int, text: str = "", tag: str = "F", stream: str = "stdout") -> bytes:
    return f"2026-01-01T00:00:00.{number:09d}Z {stream} {tag} {text or number}\n".encode()


@pytest.fixture
def follower() -> Iterator[LineFollower]:
    one = LineFollower()
    yield one
    one.close()


def come(follower: LineFollower) -> bytes:
    return b"".join(block for _, block in follower.new())


def wakes(follower: LineFollower) -> bool:
    return bool(select.select([follower.fileno()], [], [], 0)[0])


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_all_that_there_is_and_then_what_comes(tmp_path: Path, follower: LineFollower) -> None:
    log = tmp_path / "log"
    (tmp_path / "log.1").write_bytes(line(1))
    log.write_bytes(line(2))
    follower.add("", str(log), logs.last(str(log), None))
    assert come(follower) == line(1) + line(2)
    append(log, line(3))
    assert wakes(follower)
    assert come(follower) == line(3)
    assert not wakes(follower)


@pytest.mark.parametrize(("tail", "first"), [(None, 1), (0, 5), (1, 4), (3, 2), (9, 1)])
def test_a_tail_begins_in_the_file_that_holds_it(tmp_path: Path, follower: LineFollower, tail: int, first: int) -> None:
    (tmp_path / "log.1").write_bytes(line(1) + line(2))
    (tmp_path / "log").write_bytes(line(3) + line(4))
    follower.add("", str(tmp_path / "log"), logs.last(str(tmp_path / "log"), tail))
    assert come(follower) == b"".join(map(line, range(first, 5)))


def test_a_line_without_its_end_is_kept_back(tmp_path: Path, follower: LineFollower) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"")
    follower.add("", str(log))
    append(log, line(1)[:20])
    assert come(follower) == b""
    append(log, line(1)[20:])
    assert come(follower) == line(1)


def test_no_line_is_lost_over_any_number_of_rotations(tmp_path: Path, follower: LineFollower) -> None:
    log = tmp_path / "log"
    log.write_bytes(line(0))
    follower.add("", str(log))
    for number in range(1, 4):  # nobody reads meanwhile
        append(log, line(number))
        for older in range(3, 0, -1):
            if (tmp_path / f"log.{older}").exists():
                os.rename(tmp_path / f"log.{older}", tmp_path / f"log.{older + 1}")
        os.rename(log, tmp_path / "log.1")
        log.write_bytes(b"")
    append(log, line(4))
    assert come(follower) == b"".join(map(line, range(1, 5)))
    append(log, line(5))
    assert wakes(follower)
    assert come(follower) == line(5)


def test_a_file_and_its_folders_may_come_later_and_again(tmp_path: Path, follower: LineFollower) -> None:
    log = tmp_path / "a" / "b" / "log"
    follower.add("", str(log))
    assert come(follower) == b""
    for number in (1, 2):
        log.parent.mkdir(parents=True)
        assert wakes(follower)
        assert come(follower) == b""
        append(log, line(number))
        assert come(follower) == line(number)
        append(log, line(7))
        log.unlink()
        log.parent.rmdir()
        log.parent.parent.rmdir()
        assert come(follower) == line(7)


def test_a_file_that_was_emptied_is_read_from_its_beginning(tmp_path: Path, follower: LineFollower) -> None:
    log = tmp_path / "log"
    log.write_bytes(line(1) * 3)
    follower.add("", str(log), logs.last(str(log), None))
    assert come(follower) == line(1) * 3
    log.write_bytes(b"")
    append(log, line(2)[:30])
    assert come(follower) == b""
    append(log, line(2)[30:])
    assert come(follower) == line(2)


def test_a_folder_that_changed_is_told_apart_from_a_line(tmp_path: Path, follower: LineFollower) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"")
    follower.add("", str(log))
    list(follower.new())
    follower.folder_changed()
    append(log, line(1))
    assert not follower.folder_changed()
    (tmp_path / "exit.json").write_text("{}")
    assert follower.folder_changed()


def test_a_line_that_was_heard_of_beside_a_folder_is_not_forgotten(tmp_path: Path, follower: LineFollower) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"")
    follower.add("a", str(path))
    list(follower.new())
    assert follower.idle()
    path.write_bytes(b"late\n")
    assert not follower.folder_changed()
    assert not follower.idle(), "nobody is woken by it a second time"
    assert list(follower.new()) == [("a", b"late\n")]
    assert follower.idle()


def test_parts_are_joined_by_stream() -> None:
    lines = logs.LogLines()
    block = line(1, "a", "P") + line(2, "x", "P", "stderr") + line(3, "b") + line(4, "y", "P")
    assert [(err, text) for _, err, text in lines.take(block)] == [(False, b"ab")]
    assert sorted(lines.unfinished()) == [b"x", b"y"]


def test_lines_between_two_times(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"".join(map(line, range(1, 6))))
    since, until = (line(n)[:30].decode() for n in (2, 4))
    assert [one.text for one in logs.read(str(tmp_path / "log"), since=since, until=until)] == ["2", "3"]


def test_pieces_are_what_was_written_as_it_came() -> None:
    block = stamp(b"prompt> ", b"stdout", now()) + stamp(b"ls\r\nfile\r\n$ ", b"stdout", now())
    assert b"".join(text for _, _, text in logs.LogPieces().take(block)) == b"prompt> ls\r\nfile\r\n$ "


def test_a_rotation_while_it_is_read_hides_no_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    texts = [b"2016-10-06T00:17:09.669794202Z stdout F %d\n" % number for number in range(4)]
    for name, text in zip(("log.2", "log.1", "log"), texts, strict=False):
        (tmp_path / name).write_bytes(text)
    reading = logs.read(str(log))
    assert next(reading).text == "0"
    os.rename(tmp_path / "log.1", tmp_path / "log.2")
    os.rename(log, tmp_path / "log.1")
    log.write_bytes(texts[3])
    assert [line.text for line in reading] == ["1", "2"]
