"""Exec for the command line: a process in a container, whose streams are copied to and from the caller's. Blocking."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager, ExitStack

from pycompose.runtime.keeper import messages
from pycompose.runtime.keeper.messages import Done, Exec, ExecEnded, Executing, OpenInput, Streams
from pycompose.runtime.places import ProjectPlaces
from pycompose.runtime.spec import Process, to_json

from .blocking import BlockingKeeper


def exec_interactive(
    places: ProjectPlaces, container_id: str, process: Process, stdio: tuple[int, int, int], privileged: bool = False
) -> int:
    """Run a process in a container until it ends; its exit code, 128 + n for a signal.

    `stdio` are the caller's descriptors, which the process never gets: bytes are copied. With a terminal, the caller's
    is in raw mode meanwhile, and its size is passed on. Raises KeeperGone, NoSuchContainer, StartFailed.
    """
    from . import terminal_copy  # what is detached needs none of it
    from .stream_copy import Flow, copy_until

    rows, columns = terminal_copy.size(stdio[0]) if process.terminal else (0, 0)
    request = Exec(
        container_id, json.loads(to_json(process)), Streams.INTERACTIVE, privileged, rows=rows, columns=columns
    )
    with BlockingKeeper(places) as keeper, ExitStack() as held:
        _, ours = keeper.ask(request, Executing)

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
        return copy_until(keeper.fileno(), code, inward, outward)


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


def as_one_terminal(caller: int, container: int) -> AbstractContextManager[None]:
    """While it lasts, the caller's terminal is raw, and its size is that of the one whose master is `container`."""
    from . import terminal_copy

    return terminal_copy.raw(caller, container)
