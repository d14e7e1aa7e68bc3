"""Processes inside containers that run: what `exec` starts, with the environment and user of the container's own.

The keeper makes the process; this side lends it its descriptors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field, replace

from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass
from pycompose.runtime.places import ProjectPlaces

NOT_STARTED = 125  # as of docker exec


@dataclass(frozen=True, slots=True)
class ExecOptions:
    """`user` and `folder`: as of the container's own process, where they are empty."""

    environment: Mapping[str, str] = field(default_factory=dict)  # beside the container's
    user: str = ""
    folder: str = ""
    privileged: bool = False
    terminal: bool = False


def execute(
    places: ProjectPlaces,
    container_id: str,
    arguments: tuple[str, ...],
    options: ExecOptions,
    stdio: tuple[int, int, int] = (0, 1, 2),
) -> int:
    """Run a command in a container until it ends; its exit code.

    Raises PycomposeError with exit code 125, 126 or 127 where it cannot be started.
    """
    from pycompose.runtime import spec
    from pycompose.runtime.client.process import exec_interactive
    from pycompose.runtime.errors import NoKeeper, RuntimeFailure, StartFailed

    with open(f"{places.container(container_id)}/bundle.json", "rb") as file:
        first = spec.from_json(spec.Bundle, file.read()).spec.process
    variables = dict(entry.partition("=")[::2] for entry in first.env) | dict(options.environment)
    if options.terminal:
        variables.setdefault("TERM", os.environ.get("TERM", "xterm"))
    process = replace(
        first,
        args=arguments,
        env=tuple(f"{name}={value}" for name, value in variables.items()),
        cwd=options.folder or first.cwd,
        user=spec.User(username=options.user) if options.user else first.user,
        terminal=options.terminal,
    )
    try:
        try:
            return exec_interactive(places, container_id, process, stdio, options.privileged)
        except NoKeeper:  # it was killed, and so was whoever would have launched it again
            from pycompose.compose.control import session

            session.wake(places)
            return exec_interactive(places, container_id, process, stdio, options.privileged)
    except StartFailed as error:
        text = error.reason if error.step == "exec" else str(error)
        raise PycomposeError(text, hint=error.hint, exit_code=error.exit_code) from error
    except RuntimeFailure as error:
        raise PycomposeError(str(error), hint=error.hint, exit_code=NOT_STARTED) from error
