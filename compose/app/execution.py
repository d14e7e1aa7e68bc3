"""Processes inside containers that run: what `exec` starts, with the environment and user of the container's own.

The keeper makes the process; this side copies what goes in and out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field

from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass
from pycompose.runtime.places import ProjectPlaces

NOT_STARTED = 125  # as of docker exec


@dataclass(frozen=True, slots=True)
class ExecOptions:
    """`user` and `folder`: as of the container's own process, where they are empty."""

    environment: Mapping[str, str | None] = field(default_factory=dict)  # beside the container's; None takes away
    user: str = ""
    folder: str = ""
    privileged: bool = False
    terminal: bool = False
    detached: bool = False  # nobody hears it, and it is not waited for
    bound: bool = False  # it is killed when the caller goes away


def execute(
    places: ProjectPlaces,
    container_id: str,
    arguments: tuple[str, ...],
    options: ExecOptions,
    stdio: tuple[int, int, int] = (0, 1, 2),
) -> int:
    """Run a command in a container until it ends; its exit code, 0 for one that is detached.

    Raises PycomposeError with exit code 125, 126 or 127 where it cannot be started.
    """
    from pycompose.compose.linux.further_process import further_process
    from pycompose.runtime import spec
    from pycompose.runtime.client.process import exec_detached, exec_interactive
    from pycompose.runtime.errors import NoKeeper, RuntimeFailure, StartFailed

    with open(f"{places.container(container_id)}/bundle.json", "rb") as file:
        first = spec.from_json(spec.Bundle, file.read()).spec.process
    environment = dict(options.environment)
    if options.terminal and not any(entry.startswith("TERM=") for entry in first.env):
        environment.setdefault("TERM", os.environ.get("TERM", "xterm"))
    process = further_process(first, arguments, environment, options.user, options.folder, options.terminal)

    def run() -> int:
        if options.detached:
            exec_detached(places, container_id, process, options.privileged)
            return 0
        return exec_interactive(places, container_id, process, stdio, options.privileged, bound=options.bound)

    try:
        try:
            return run()
        except NoKeeper:  # it was killed, and so was whoever would have launched it again
            from pycompose.compose.control import session

            session.wake(places)
            return run()
    except StartFailed as error:
        text = error.reason if error.step == "exec" else str(error)
        raise PycomposeError(text, hint=error.hint, exit_code=error.exit_code) from error
    except RuntimeFailure as error:
        raise PycomposeError(str(error), hint=error.hint, exit_code=NOT_STARTED) from error
