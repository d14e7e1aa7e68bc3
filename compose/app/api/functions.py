"""Functions of one call each, for scripts that need no `Project` in their hands.

    import pycompose

    pycompose.up(files=["compose.yaml"], scale={"worker": 4}, wait=True)
    for container in pycompose.ps(files=["compose.yaml"]):
        print(container.name, container.status, container.addresses)
    pycompose.down(files=["compose.yaml"])

Each function does what the command of its name does, for the project that `files`, `project_name` and the others of
`ProjectChoice` tell; without them it is looked for in the current folder. Rules: functions block; nothing is printed;
`tell` is handed what goes on, as values of `app.phases`. Everything that can go wrong is a PycomposeError.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from pycompose.compose.app import locate, operations
from pycompose.compose.app.choices import Choices
from pycompose.compose.app.operations import Outcome
from pycompose.compose.app.phases import silent

if TYPE_CHECKING:
    from pycompose.compose.app.phases import Tell
    from pycompose.compose.model.observed import ObservedContainer
    from pycompose.compose.model.project import Project

Paths = Iterable[str | os.PathLike[str]]


class ProjectChoice(TypedDict, total=False):
    """Which project it is, as the options before a command say it."""

    files: Paths
    project_name: str
    project_directory: str | os.PathLike[str]
    env_files: Paths
    profiles: Iterable[str]
    dry_run: bool  # make the plan, do nothing
    parallel: int  # steps that act at once; without it there is no limit


def _choices(which: ProjectChoice) -> Choices:
    directory = which.get("project_directory")
    return Choices(
        files=tuple(os.fspath(path) for path in which.get("files", ())),
        project_name=which.get("project_name"),
        project_directory=os.fspath(directory) if directory is not None else None,
        env_files=tuple(os.fspath(path) for path in which.get("env_files", ())),
        profiles=tuple(which.get("profiles", ())),
        dry_run=which.get("dry_run", False),
        parallel=which.get("parallel"),
    )


def load(**which: Unpack[ProjectChoice]) -> Project:
    """The project as its compose files describe it. Raises FileError."""
    return locate.load(_choices(which)).project


def ps(**which: Unpack[ProjectChoice]) -> list[ObservedContainer]:
    """Every container of the project, stopped ones too, with its ports and addresses."""
    from pycompose.compose.state.observe import containers

    return containers(locate.named(_choices(which)).places, ports=True, addresses=True)


def up(
    *services: str,
    scale: Mapping[str, int] | None = None,
    wait: bool = False,
    wait_timeout: float | None = None,
    timeout: float | None = None,
    no_deps: bool = False,
    no_start: bool = False,
    force_recreate: bool = False,
    no_recreate: bool = False,
    remove_orphans: bool = False,
    renew_anonymous_volumes: bool = False,
    pull: Literal["always", "missing", "never"] | None = None,
    build: bool | None = None,
    tell: Tell = silent,
    **which: Unpack[ProjectChoice],
) -> Outcome:
    """Make and start containers, and whatever they need; times in seconds.

    `build`: all that can be built (True), nothing (False), or what is missing. Raises PycomposeError.
    """
    from pycompose.compose.app.image_operations import ImageOptions
    from pycompose.compose.plan.reconcile import UpOptions

    options = UpOptions(
        services=services,
        scale=scale or {},
        no_deps=no_deps,
        force_recreate=force_recreate,
        no_recreate=no_recreate,
        remove_orphans=remove_orphans,
        wait=wait,
        wait_timeout=wait_timeout,
        timeout=timeout,
        no_start=no_start,
        renew_anonymous_volumes=renew_anonymous_volumes,
    )
    return operations.up(_choices(which), options, ImageOptions(pull, build), tell)


def scale(counts: Mapping[str, int], *, tell: Tell = silent, **which: Unpack[ProjectChoice]) -> Outcome:
    """Set how many containers services have."""
    return operations.scale(_choices(which), counts, tell)


def down(
    *services: str,
    volumes: bool = False,
    remove_orphans: bool = False,
    timeout: float | None = None,
    tell: Tell = silent,
    **which: Unpack[ProjectChoice],
) -> Outcome:
    """Stop and remove containers and networks; with `volumes`, named and anonymous volumes too."""
    from pycompose.compose.plan.commands import DownOptions

    return operations.down(_choices(which), DownOptions(services, volumes, remove_orphans, timeout), tell)


def start(*services: str, wait: bool = False, tell: Tell = silent, **which: Unpack[ProjectChoice]) -> Outcome:
    """Start containers that exist."""
    return operations.start(_choices(which), services, tell, wait=wait)


def stop(*services: str, timeout: float | None = None, tell: Tell = silent, **which: Unpack[ProjectChoice]) -> Outcome:
    """Stop containers, and keep them."""
    return operations.stop(_choices(which), services, tell, timeout=timeout)


def restart(
    *services: str, timeout: float | None = None, tell: Tell = silent, **which: Unpack[ProjectChoice]
) -> Outcome:
    """Stop containers and start them again."""
    return operations.restart(_choices(which), services, tell, timeout=timeout)


def kill(*services: str, signal: str = "SIGKILL", tell: Tell = silent, **which: Unpack[ProjectChoice]) -> Outcome:
    """Send containers a signal."""
    return operations.kill(_choices(which), services, tell, signal=signal)
