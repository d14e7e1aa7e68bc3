"""The supervisor as its keeper knows it: a process that is started again when it ends, and the socket it listens at.

The keeper holds the listening socket, control.sock, and hands it to each supervisor as its last argument (a
descriptor): requests wait there while one starts or is replaced, and a request ends a back-off. Where one after the
other ends before it comes up, requests are answered here, so that whoever waits hears why, and what they brought, the
project's lock, is let go. What it does not do: know what is asked.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from pycompose import shortages
from pycompose.log_lines import complain, note
from pycompose.runtime.linux import unix_sockets
from pycompose.runtime.state import container_record

from .household import Household

LARGEST_LOG = 1 << 20  # bytes
VAIN = 3  # supervisors in a row that did not come up, until requests are turned away
LIVED = 10.0  # seconds after which an end is no fault of the start
LONGEST_DELAY = 60.0  # seconds between two starts that nobody asked for
TOLD = 4096  # bytes of its log's end that are looked at


class SupervisorProcess:
    """`command` starts one; empty: there is none to attend to."""

    def __init__(self, keeper: Household, command: Sequence[str]) -> None:
        self.keeper, self.command = keeper, command
        self.pid, self._started, self._delay, self._vain = 0, 0.0, 0.1, 0
        self._control: socket.socket | None = None  # None while one that an earlier keeper started holds it
        self._waiting = False  # for a request, or for the back-off to pass, to start one

    def attend(self, pid: int) -> None:
        """To the one that runs (`pid`, or the one on record), or start one."""
        if not self.command:
            return
        places = self.keeper.places
        state = container_record.read(places.supervisor_record)
        if pid:
            state = _state(pid)
        if not container_record.alive(state):
            self._start()
            return
        try:
            descriptor = os.pidfd_open(state["pid"])
        except ProcessLookupError:
            self._start()
            return
        self.pid, self._started = state["pid"], time.monotonic()
        container_record.write(places.supervisor_record, state, flush=False)

        def ended(_: int) -> None:
            self.keeper.loop.unwatch(descriptor)
            os.close(descriptor)
            self._ended()

        self.keeper.loop.watch(descriptor, ended)

    def came_up(self) -> None:
        """It takes requests, or is about to."""
        self._vain = 0

    def end(self) -> None:
        """Return when it has ended."""
        if not self.pid:
            return
        process = os.pidfd_open(self.pid)
        for number, seconds in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 1.0)):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, number)
            if select.select([process], [], [], seconds)[0]:
                break
        os.close(process)

    def _listen(self) -> socket.socket:
        if self._control is None:
            path = self.keeper.places.control_socket
            with suppress(FileNotFoundError):
                os.unlink(path)
            self._control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            open_to_all = os.umask(0o077)
            unix_sockets.bind(self._control, path)
            os.umask(open_to_all)
            self._control.listen(512)
        return self._control

    def _start(self) -> None:
        if self.pid or self.keeper.ended:
            return
        control = self._listen()
        if self._waiting:
            self.keeper.loop.unwatch(control.fileno())
            self._waiting = False
        self._started = time.monotonic()
        path = self.keeper.places.supervisor_log
        with suppress(OSError):
            if os.stat(path).st_size > LARGEST_LOG:
                os.rename(path, path + ".1")
        log = -1
        try:
            log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self.pid = os.fork()
            if self.pid == 0:
                self._become(control, log)
        except OSError as error:
            note(f"no supervisor can be started: {shortages.reason(error)}")
            self._ended()
            return
        finally:
            if log >= 0:
                os.close(log)
        self.keeper.await_child(self.pid, lambda _: self._ended())
        try:
            container_record.write(self.keeper.places.supervisor_record, _state(self.pid), flush=False)
        except OSError as error:  # it does its work without
            note(f"the supervisor cannot be put on record: {shortages.reason(error)}")

    def _become(self, control: socket.socket, log: int) -> NoReturn:
        """As the keeper began: nothing but the log and the socket is passed on."""
        try:
            self.keeper.reset_signals()
            os.dup2(log, 1)
            os.dup2(log, 2)
            control.set_inheritable(True)
            os.execvp(self.command[0], [*self.command, str(control.fileno())])
        except BaseException:
            complain()
        finally:
            os._exit(127)

    def _ended(self) -> None:
        lived = time.monotonic() - self._started
        self._delay = 0.1 if lived > LIVED else min(self._delay * 2, LONGEST_DELAY)
        self._vain += 1
        self.pid = 0
        control = self._listen()
        if self._vain >= VAIN:
            _turn_away(control, self.keeper.places.supervisor_log)
        self.keeper.loop.watch(control.fileno(), lambda _: self._start())  # who asks need not wait
        self._waiting = True
        self.keeper.loop.later(self._delay, self._start)


def _state(pid: int) -> dict[str, object]:
    return {"pid": pid, "start_time": container_record.start_time(pid), "boot_id": container_record.boot_id()}


def _turn_away(control: socket.socket, log: str) -> None:
    """Answer every request that waits; what it brought is closed with its connection."""
    control.setblocking(False)
    with suppress(OSError):
        while True:
            connection, _ = control.accept()
            with connection, suppress(OSError):
                connection.setblocking(False)
                connection.send(turned_away(log))
    control.setblocking(True)


def turned_away(log: str) -> bytes:
    """The answer to a request that no supervisor takes: RequestFailed of the control protocol, with why by the log."""
    lines: list[str] = []
    with suppress(OSError), open(log, encoding="utf-8", errors="replace") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - TOLD, 0))
        lines = [line for line in map(str.strip, file.read().splitlines()) if line]
    why = f": {lines[-1]}" if lines else ""
    failed = {"kind": "RequestFailed", "message": f"the supervisor cannot start{why}", "hint": f"see {log}"}
    return json.dumps(failed).encode() + b"\n"
