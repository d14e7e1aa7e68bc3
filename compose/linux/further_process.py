"""The process that `exec`, a hook or a health check runs in a container: as its first one, but for what is asked for.

Pure. What `privileged` adds is given where the process is made (`runtime.init.join.privileged`).
"""

from __future__ import annotations

from dataclasses import replace

from pycompose.compose.model.fields import Variables, with_variables
from pycompose.runtime.spec import Process, User


def further_process(
    first: Process,
    arguments: tuple[str, ...],
    environment: Variables,
    user: str = "",
    folder: str = "",
    terminal: bool = False,
) -> Process:
    """`environment` is beside the first's; An empty `user` or `folder` is the first's."""
    return replace(
        first,
        args=arguments,
        env=with_variables(first.env, environment),
        cwd=folder or first.cwd,
        user=User(username=user) if user else first.user,
        terminal=terminal,
    )
