"""The process that `exec`, a hook or a health check runs in a container: as its first one, but for what is asked for.

Pure. What `privileged` adds is given where the process is made (`runtime.init.join.privileged`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pycompose.runtime.spec import Process, User


def further_process(
    first: Process,
    arguments: tuple[str, ...],
    environment: Mapping[str, str | None],
    user: str = "",
    folder: str = "",
    terminal: bool = False,
) -> Process:
    """`environment` is beside the first's; None takes a variable away. An empty `user` or `folder` is the first's."""
    variables: dict[str, str | None] = dict(entry.partition("=")[::2] for entry in first.env)
    variables |= environment
    return replace(
        first,
        args=arguments,
        env=tuple(f"{name}={value}" for name, value in variables.items() if value is not None),
        cwd=folder or first.cwd,
        user=User(username=user) if user else first.user,
        terminal=terminal,
    )
