"""Bytes between the caller's descriptors and a process's: none lost, none waited for in vain, nobody kept."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pycompose.runtime.client.stream_copy import Flow, copy_until

BIG = os.urandom(1 << 16) * 20


class Process:
    """A process's ends of its streams, played by the test; `end` is how the keeper tells that it has ended."""

    def __init__(self) -> None:
        self.stdin, self.our_stdin = os.pipe()
        self.our_stdout, self.stdout = os.pipe()
        self.ended, self._end = os.pipe()
        self.opened = [self.stdin, self.stdout, self.ended, self._end]

    def end(self) -> None:
        os.write(self._end, b"x")

    def inward(self, source: int) -> list[Flow]:
        return [Flow(source, self.our_stdin, self.our_stdin)]

    def outward(self, target: int) -> list[Flow]:
        return [Flow(self.our_stdout, target, self.our_stdout)]

    def copy(self, inward: list[Flow], outward: list[Flow]) -> int | None:
        return copy_until(self.ended, lambda: 6 + len(os.read(self.ended, 1)), inward, outward)

    def meanwhile(self, *work: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=lambda: [step() for step in work])
        thread.start()
        return thread


@pytest.fixture
def process() -> Iterator[Process]:
    process = Process()
    yield process
    for fd in process.opened:
        os.close(fd)


def read_all(fd: int) -> bytes:
    content = b""
    while piece := os.read(fd, 1 << 16):
        content += piece
    return content


def test_what_it_wrote_before_it_ended_is_copied_though_its_pipe_stays_open(process: Process, tmp_path: Path) -> None:
    os.write(process.stdout, b"last words")
    process.end()
    target = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    assert process.copy([], process.outward(target)) == 7
    os.close(target)
    assert (tmp_path / "out").read_bytes() == b"last words"


def test_somebody_who_goes_on_writing_does_not_keep_the_caller(process: Process) -> None:
    going = True

    def flood() -> None:
        while going:
            try:
                os.write(process.stdout, BIG[: 1 << 12])
            except BrokenPipeError:
                return

    target = os.open("/dev/null", os.O_WRONLY)
    thread = process.meanwhile(flood)
    process.end()
    flows = process.outward(target)
    assert process.copy([], flows) == 7
    flows[0].end()
    going = False
    thread.join(10)
    assert not thread.is_alive(), "the writer hears that nobody reads any more"
    os.close(target)


@pytest.mark.parametrize("kind", ["file", "append", "pipe", "null"])
def test_output_reaches_every_kind_of_target_whole(process: Process, tmp_path: Path, kind: str) -> None:
    reader = -1
    flags = os.O_WRONLY | os.O_CREAT
    if kind == "pipe":
        reader, target = os.pipe()
    elif kind == "null":
        target = os.open("/dev/null", os.O_WRONLY)
    else:
        target = os.open(tmp_path / "out", flags | (os.O_APPEND if kind == "append" else 0))
    received: list[bytes] = []
    threads = [process.meanwhile(lambda: _write(process.stdout, BIG), process.end)]
    if reader >= 0:
        threads.append(process.meanwhile(lambda: received.append(_read(reader, len(BIG)))))
    assert process.copy([], process.outward(target)) == 7
    for thread in threads:
        thread.join(10)
    if kind in ("file", "append"):
        received.append((tmp_path / "out").read_bytes())
    if kind != "null":
        assert received == [BIG]
    for fd in {target, reader} - {-1}:
        os.close(fd)


def _write(fd: int, content: bytes) -> None:
    while content:
        content = content[os.write(fd, content) :]


def _read(fd: int, size: int) -> bytes:
    content = b""
    while len(content) < size:
        content += os.read(fd, 1 << 12)
    return content


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_input_arrives_whole_and_then_its_end(process: Process, tmp_path: Path, kind: str) -> None:
    threads = []
    if kind == "file":
        (tmp_path / "in").write_bytes(BIG)
        source = os.open(tmp_path / "in", os.O_RDONLY)
    else:
        source, writer = os.pipe()
        threads.append(process.meanwhile(lambda: _write(writer, BIG), lambda: os.close(writer)))
    received: list[bytes] = []
    threads.append(process.meanwhile(lambda: received.append(read_all(process.stdin)), process.end))
    assert process.copy(process.inward(source), []) == 7
    for thread in threads:
        thread.join(10)
    assert received == [BIG]
    os.close(source)


def test_a_process_that_reads_nothing_is_not_waited_for(process: Process) -> None:
    source = os.open("/dev/zero", os.O_RDONLY)
    threading.Timer(0.1, process.end).start()
    flows = process.inward(source)
    assert process.copy(flows, []) == 7
    flows[0].end()
    os.close(source)


def test_a_process_that_closed_its_input_is_sent_no_more(process: Process) -> None:
    os.close(process.stdin)
    process.opened.remove(process.stdin)
    source = os.open("/dev/zero", os.O_RDONLY)
    flow = process.inward(source)[0]
    flow.step()
    assert flow.over
    os.close(source)


def test_an_input_that_is_closed_already_is_at_its_end(process: Process) -> None:
    flow = process.inward(1 << 19)[0]
    flow.step()
    assert flow.over
    assert os.read(process.stdin, 1) == b""


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_process_whose_reader_is_gone_hears_of_it(process: Process, kind: str) -> None:
    if kind == "pipe":
        reader, target = os.pipe()
    else:
        one, other = socket.socketpair()
        reader, target = one.detach(), other.detach()
    os.close(reader)
    os.write(process.stdout, b"x")
    flow = process.outward(target)[0]
    while not flow.over:
        flow.step()
    with pytest.raises(BrokenPipeError):
        os.write(process.stdout, b"x")
    os.close(target)


def test_nothing_of_the_callers_descriptors_is_changed(process: Process) -> None:
    reader, writer = os.pipe()
    before = [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (reader, writer)]
    os.write(process.stdout, b"x")
    process.end()
    process.copy(process.inward(reader), process.outward(writer))
    assert [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (reader, writer)] == before
    os.close(reader)
    os.close(writer)


def test_waiting_costs_nothing(process: Process) -> None:
    """A full target, a silent source: neither is asked again and again."""
    reader, target = os.pipe()
    fcntl.fcntl(target, fcntl.F_SETPIPE_SZ, 1 << 12)
    source, writer = os.pipe()
    os.write(process.stdout, BIG[: 1 << 15])
    process.meanwhile(lambda: time.sleep(0.5), lambda: os.close(reader), process.end)
    flows = process.inward(source), process.outward(target)
    started = time.thread_time()
    assert process.copy(*flows) == 7
    assert time.thread_time() - started < 0.1
    flows[0][0].end()
    for fd in (target, source, writer):
        os.close(fd)
