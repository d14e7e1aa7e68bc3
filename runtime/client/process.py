"""Exec for the command line: a process in a container, on the caller's descriptors. Blocking."""

from __future__ import annotations

import json

from pycompose.runtime.keeper import messages
from pycompose.runtime.keeper.messages import Exec, ExecEnded, Executing
from pycompose.runtime.places import ProjectPlaces
from pycompose.runtime.spec import Process, to_json

from .blocking import BlockingKeeper


def exec_interactive(
    places: ProjectPlaces, container_id: str, process: Process, stdio: tuple[int, int, int], privileged: bool = False
) -> int:
    """Run a process in a container on these descriptors; its exit code, 128 + n for a signal.

    With a terminal the master of the process's pty comes back, and is copied to and from `stdio` here; ours is in raw
    mode meanwhile, and its size is passed on. Raises KeeperGone, NoSuchContainer, StartFailed.
    """
    request = Exec(container_id, json.loads(to_json(process)), privileged)
    with BlockingKeeper(places) as keeper:
        _, descriptors = keeper.ask(request, Executing, stdio)

        def code() -> int:
            return keeper.hear(ExecEnded)[0].code

        try:
            if not process.terminal or not descriptors:
                return code()
            from . import terminal_copy  # without a terminal it is not needed

            with terminal_copy.raw(stdio[0], descriptors[0]):
                return terminal_copy.copy_until(keeper.fileno(), code, descriptors[0], stdio)
        finally:
            messages.close_all(descriptors)
