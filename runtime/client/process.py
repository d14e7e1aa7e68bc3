"""Exec for the command line: a process in a container on the caller's descriptors, or left to the keeper. Blocking."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from pycompose.runtime.errors import KeeperGone, NoSuchContainer, StartFailed
from pycompose.runtime.keeper import messages
from pycompose.runtime.keeper.launch import connect_keeper
from pycompose.runtime.places import ProjectPlaces

if TYPE_CHECKING:
    from pycompose.runtime.spec import Process


def exec_detached(places: ProjectPlaces, container_id: str, process: Process, privileged: bool = False) -> None:
    """Run a process in a container and leave it to the keeper. Raises KeeperGone, NoSuchContainer, StartFailed."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        with connect_keeper(places) as keeper:
            messages.send(keeper, _request(container_id, process, privileged), (null, null, null))
            _, descriptors = _answer(keeper, container_id)
            messages.close_all(descriptors)
    finally:
        os.close(null)


def exec_interactive(
    places: ProjectPlaces, container_id: str, process: Process, stdio: tuple[int, int, int], privileged: bool = False
) -> int:
    """Run a process in a container on these descriptors; its exit code, 128 + n for a signal.

    With a terminal the master of the process's pty comes back, and is copied to and from `stdio` here; ours is in raw
    mode meanwhile, and its size is passed on. Raises KeeperGone, NoSuchContainer, StartFailed.
    """
    with connect_keeper(places) as keeper:
        messages.send(keeper, _request(container_id, process, privileged), stdio)
        _, descriptors = _answer(keeper, container_id)
        if not process.terminal or not descriptors:
            messages.close_all(descriptors)
            return _exit(keeper, container_id)
        try:
            with _raw(stdio[0], descriptors[0]):
                return _converse(keeper, container_id, descriptors[0], stdio)
        finally:
            messages.close_all(descriptors)


def _request(container_id: str, process: Process, privileged: bool) -> dict[str, object]:
    from pycompose.runtime.spec import to_json  # to launch a keeper it is not needed

    return {"do": "exec", "id": container_id, "process": json.loads(to_json(process)), "privileged": privileged}


def _answer(keeper: socket.socket, container_id: str) -> tuple[dict[str, object], list[int]]:
    try:
        answer, descriptors = messages.receive(keeper)
    except OSError as error:
        raise KeeperGone("the keeper died") from error
    if answer is None:
        raise KeeperGone("the keeper died")
    check(container_id, answer)
    return answer, descriptors


def check(container_id: str, answer: dict[str, object]) -> None:
    """Raises what an answer of the keeper says."""
    if "error" in answer:
        if answer["step"] == "find":
            raise NoSuchContainer(container_id)
        message, number, code = str(answer["error"]), answer["errno"], answer["exit_code"]
        assert isinstance(number, int)
        assert isinstance(code, int)
        raise StartFailed(container_id, str(answer["step"]), message, number, code)


def _exit(keeper: socket.socket, container_id: str) -> int:
    code = _answer(keeper, container_id)[0].get("exit", 0)
    assert isinstance(code, int)
    return code


@contextmanager
def _raw(ours: int, master: int) -> Iterator[None]:
    """Our terminal raw, as large as the other one, and as it was afterwards, whatever ends us but SIGKILL."""
    if not os.isatty(ours):
        yield
        return

    def fit(*_: object) -> None:
        with suppress(OSError):
            fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(ours, termios.TIOCGWINSZ, bytes(8)))

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = [
        (number, signal.signal(number, handler))
        for number, handler in ((signal.SIGWINCH, fit), (signal.SIGTERM, leave), (signal.SIGHUP, leave))
    ]
    saved = termios.tcgetattr(ours)
    try:
        tty.setraw(ours)
        fit()
        yield
    finally:
        with suppress(termios.error):  # it may have hung up
            termios.tcsetattr(ours, termios.TCSADRAIN, saved)
        for number, handler in before:
            signal.signal(number, handler)


def _converse(keeper: socket.socket, container_id: str, master: int, stdio: tuple[int, int, int]) -> int:
    """Copy both ways until the process ends. A program that does not read its terminal does not stop its output."""
    os.set_blocking(master, False)
    poll = select.poll()
    poll.register(keeper, select.POLLIN)
    poll.register(master, select.POLLIN)
    poll.register(stdio[0], select.POLLIN)
    typed = b""
    while True:
        for fd, events in poll.poll():
            if fd == keeper.fileno():
                code = _exit(keeper, container_id)
                while _copy(master, stdio[1]):
                    pass
                return code
            if fd == master:
                if events & select.POLLOUT and typed:
                    with suppress(OSError):
                        typed = typed[os.write(master, typed) :]
                if events & ~select.POLLOUT and not _copy(master, stdio[1]):
                    poll.unregister(master)  # its last user is gone
                    continue
            elif not typed:
                try:
                    typed = os.read(fd, 1 << 12)
                except OSError:
                    typed = b""
                if not typed:
                    poll.unregister(fd)
                    stdio = (-1, stdio[1], stdio[2])
            with suppress(OSError):
                poll.modify(master, select.POLLIN | (select.POLLOUT if typed else 0))
                if stdio[0] >= 0:
                    poll.modify(stdio[0], 0 if typed else select.POLLIN)


def _copy(master: int, target: int) -> bool:
    """A chunk of what a terminal shows; False when there will be no more."""
    try:
        chunk = os.read(master, 1 << 16)
    except BlockingIOError:
        return False
    except OSError:  # EIO
        return False
    while chunk:
        chunk = chunk[os.write(target, chunk) :]
        if not chunk:
            return True
    return False
