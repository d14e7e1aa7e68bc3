"""Processes whose streams are copied to and from the caller's: those of exec, and the first one of a container that the
command line runs. Blocking."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import TYPE_CHECKING

from pycompose.interruption import hanging_up
from pycompose.runtime.errors import KeeperGone, NoKeeper, NoSuchContainer, RuntimeFailure, StartFailed
from pycompose.runtime.keeper import messages
from pycompose.runtime.keeper.messages import (
    Done,
    DropOutput,
    Exec,
    ExecEnded,
    Executing,
    FindSandbox,
    OpenInput,
    RunEnded,
    SandboxAt,
    Streams,
    StreamsTaken,
    TakeStreams,
)
from pycompose.runtime.places import ProjectPlaces
from pycompose.runtime.spec import Process, to_json
from pycompose.runtime.state import container_record

from .blocking import BlockingKeeper

if TYPE_CHECKING:
    from .stream_copy import Filter, Flow


RETURN = 5.0  # seconds for another keeper to be there


def exec_interactive(
    places: ProjectPlaces,
    container_id: str,
    process: Process,
    stdio: tuple[int, int, int],
    privileged: bool = False,
    *,
    bound: bool = False,
) -> int:
    """Run a process in a container until it ends; its exit code, 128 + n for a signal.

    `stdio` are the caller's descriptors, which the process never gets: bytes are copied. With a terminal, the caller's
    is in raw mode meanwhile, and its size is passed on. `bound`: it is killed when the caller goes away. Raises
    KeeperGone, NoSuchContainer, StartFailed; OSError for an output that could not be written.
    """
    from . import terminal_copy  # what is detached needs none of it
    from .stream_copy import Flow, copy_until

    rows, columns = terminal_copy.size(stdio[0]) if process.terminal else (0, 0)
    request = Exec(
        container_id,
        json.loads(to_json(process)),
        Streams.INTERACTIVE,
        privileged,
        bound=bound,
        rows=rows,
        columns=columns,
    )
    with BlockingKeeper(places) as keeper, ExitStack() as held:
        _, ours = keeper.ask(request, Executing)
        held.enter_context(hanging_up(keeper))

        def code() -> int:
            return keeper.hear(ExecEnded)[0].code

        if process.terminal:
            (master,) = ours
            held.callback(os.close, master)
            held.enter_context(terminal_copy.raw(stdio[0], master))
            inward = [Flow(stdio[0], master, os.dup(master), terminal=True)]
            outward = [Flow(master, stdio[1], os.dup(master), terminal=True)]
        else:
            inward = [Flow(stdio[0], ours[0], ours[0])]
            outward = [Flow(ours[number], stdio[number], ours[number]) for number in (1, 2)]
        for flow in (*inward, *outward):
            held.callback(flow.end)
        ended = copy_until(keeper.fileno(), code, inward, outward) or 0
        for flow, name in zip(outward, ("/dev/stdout", "/dev/stderr"), strict=False):
            if flow.failure not in (0, errno.EPIPE, errno.EIO):  # a reader or a terminal that is gone needs no word
                raise OSError(flow.failure, os.strerror(flow.failure), name)
        return ended


class TakenStreams:
    """The streams of a container that is about to be started; from then on until it ends, or this is closed.

    Whoever opens it has to copy; `stdio` are the caller's descriptors. Raises KeeperGone, NoKeeper, StartFailed.
    """

    def __init__(self, places: ProjectPlaces, container_id: str, stdio: tuple[int, int, int]) -> None:
        from . import terminal_copy

        self._places, self._id, self._stdio = places, container_id, stdio
        self._held = ExitStack()
        self.pidfd = -1
        self.failure = 0  # errno of why an output of the caller's could not be written to
        sizes = (terminal_copy.size(descriptor) for descriptor in stdio)
        rows, columns = next((size for size in sizes if any(size)), (0, 0))
        self._keeper = self._held.enter_context(BlockingKeeper(places))
        self._keeper.ask(TakeStreams(container_id, rows, columns), Done)

    def close(self) -> None:
        """The container goes on, and what it prints is logged."""
        self._held.close()

    def receive(self) -> None:
        """Its program runs: have what `copy` needs, and `pidfd`, by which it is signalled."""
        _, descriptors = self._keeper.hear(StreamsTaken)
        self.pidfd, *self._streams = descriptors
        self._held.callback(os.close, self.pidfd)

    def copy(self, terminal: bool, typed: Filter | None, reads: bool) -> int | None:
        """Copy until the container ends; its exit code, or None where `typed` asked to leave.

        `reads`: what comes from the caller goes in. Raises RuntimeFailure where nobody can tell how it ended.
        """
        from . import terminal_copy
        from .stream_copy import Flow, copy_until

        stdin, stdout, stderr = self._stdio
        if terminal:
            (master,) = self._streams
            self._held.callback(os.close, master)
            if reads:
                self._held.enter_context(terminal_copy.raw(stdin, master, leaving=False))
            inward = [Flow(stdin, master, os.dup(master), terminal=True, filtered=typed)] if reads else []
            outward = [Flow(master, stdout, os.dup(master), terminal=True)]
        else:
            out, err, *inputs = self._streams
            inward = [Flow(stdin, end, end) for end in inputs]
            outward = [Flow(out, stdout, out), Flow(err, stderr, err)]
        for flow in (*inward, *outward):
            self._held.callback(flow.end)

        def closed(flow: Flow) -> bool:
            """A terminal that hung up is left; the reader of a pipe that is gone is missed by the container, too."""
            self.failure = self.failure or flow.failure
            if flow.failure and not terminal:
                with suppress(RuntimeFailure), BlockingKeeper(self._places) as keeper:
                    keeper.ask(DropOutput(self._id, 1 + outward.index(flow)), Done)
            return terminal and bool(flow.failure)

        while True:
            try:
                return copy_until(self._keeper.fileno(), self._code, inward, outward, closed)
            except KeeperGone:
                if not self._return():
                    for flow in outward:
                        flow.drain()
                    return self._recorded()

    def _code(self) -> int:
        return _known(self._keeper.hear(RunEnded)[0].code)

    def _return(self) -> bool:
        """The keeper was killed: take the streams of the next one. False where the container has ended meanwhile."""
        end = time.monotonic() + RETURN
        while time.monotonic() < end:
            try:
                keeper = BlockingKeeper(self._places)
            except NoKeeper:
                time.sleep(0.02)  # nothing tells who is no child and no parent of theirs
                continue
            self._keeper = self._held.enter_context(keeper)
            try:
                self._keeper.ask(TakeStreams(self._id), Done)
                messages.close_all(self._keeper.hear(StreamsTaken)[1])
                return True
            except KeeperGone:
                continue
            except (NoSuchContainer, StartFailed):
                break
        return False

    def _recorded(self) -> int:
        """The exit code on record."""
        end = time.monotonic() + RETURN
        while not (record := container_record.read(f"{self._places.container(self._id)}/exit.json")):
            if time.monotonic() > end:
                raise KeeperGone("the keeper died, and none came after it", hint="the next command launches one")
            time.sleep(0.02)
        return _known(record.get("code"))


def _known(code: int | None) -> int:
    if code is None:
        raise RuntimeFailure("nobody can tell how the container ended")
    return code


def exec_detached(places: ProjectPlaces, container_id: str, process: Process, privileged: bool = False) -> None:
    """Return when a process runs in a container that nobody hears. Raises KeeperGone, NoSuchContainer, StartFailed."""
    request = Exec(container_id, json.loads(to_json(process)), Streams.DETACHED, privileged)
    with BlockingKeeper(places) as keeper:
        messages.close_all(keeper.ask(request, Executing)[1])


def open_input(places: ProjectPlaces, container_id: str) -> int:
    """A descriptor by which a container's stdin is written to: without waiting, so it may have to be waited for.

    Raises KeeperGone, NoSuchContainer; StartFailed where its stdin is not open.
    """
    with BlockingKeeper(places) as keeper:
        return keeper.ask(OpenInput(container_id), Done)[1][0]


def signal_first(places: ProjectPlaces, container_id: str, number: int) -> None:
    """Send a container's first process a signal; nothing happens where it does not run. Raises KeeperGone."""
    with ExitStack() as held, suppress(NoSuchContainer), BlockingKeeper(places) as keeper:
        _, (pidfd, *others) = keeper.ask(FindSandbox(container_id), SandboxAt)
        messages.close_all(others)
        held.callback(os.close, pidfd)
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, number)


def as_one_terminal(caller: int, container: int) -> AbstractContextManager[None]:
    """While it lasts, the caller's terminal is raw, and its size is that of the one whose master is `container`."""
    from . import terminal_copy

    return terminal_copy.raw(caller, container)
