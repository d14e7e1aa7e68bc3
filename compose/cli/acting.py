"""What acting commands share: from a decision about what exists to a plan that the project's supervisor carries out.

Rules: the project's lock is held from looking until the last step, so two commands never act on one project at once.
`ask` is the only place that speaks to the supervisor; answers that it does not know are passed over.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import click
from pycompose.compose.errors import PycomposeError

from . import generations, terminal
from .root import Choices

if TYPE_CHECKING:
    from pycompose.compose.model import Project
    from pycompose.compose.observed import Observed
    from pycompose.compose.plan import Plan
    from pycompose.runtime.places import ProjectPlaces

PATIENCE = 10.0  # seconds for a supervisor to come up

Decide = Callable[["Observed"], "Plan"]
Watch = Callable[[dict[str, Any]], None]


def act(choices: Choices, services: tuple[str, ...], name: str, *arguments: Any, **options: Any) -> None:
    """Carry out the plan that `reconcile.<name>` makes of what exists."""
    from pycompose.compose import reconcile

    from .project import target

    places, project = target(choices, services)
    decide = getattr(reconcile, name)
    run(choices, places, project, lambda seen: decide(project, seen, *arguments, **options), name)


def run(
    choices: Choices,
    places: ProjectPlaces,
    project: Project | None,
    decide: Decide,
    title: str,
    *,
    keep: bool = False,
    watch: Watch | None = None,
    planned: Callable[[Plan], None] | None = None,
    patient: bool = False,
) -> Plan:
    """Carry out what `decide` makes of what exists, and return it. With `keep` the project becomes the newest.

    Progress is shown, or (after `planned` got the plan) goes to `watch`. Raises PycomposeError if a step fails,
    KeyboardInterrupt when interrupted. `patient`: who else has the lock is no news.
    """
    from pycompose.compose import observing
    from pycompose.compose.plan import render

    if choices.dry_run:
        plan = decide(observing.observe(places))
        for warning in plan.warnings:
            terminal.warn(warning)
        click.echo(render(_unwarned(plan)) or "nothing to do\n", nl=False)
        return plan
    with locked(places, tell=not patient) as lock:
        plan = decide(observing.observe(places))
        if not plan.steps and not keep:
            _warn(plan)
            return plan
        wake(places)
        plan = decide(observing.observe(places))  # again: a supervisor that came up may have changed something
        _warn(plan)
        if planned is not None:
            planned(plan)
        ask(places, project, plan, title, keep=keep, watch=watch, parallel=choices.parallel, lock=lock)
        return plan


def _unwarned(plan: Plan) -> Plan:
    from dataclasses import replace

    return replace(plan, warnings=())


def _warn(plan: Plan) -> None:
    for warning in plan.warnings:
        terminal.warn(warning)


def ask(
    places: ProjectPlaces,
    project: Project | None,
    plan: Plan,
    title: str,
    *,
    keep: bool = False,
    watch: Watch | None = None,
    parallel: int | None = None,
    lock: int = -1,
) -> None:
    """Have the supervisor carry out `plan`. Going away early makes it undo what it has begun.

    `lock` is the descriptor of the project's lock, which must outlive this process while the supervisor acts.
    """
    from pycompose.compose import codec, control
    from pycompose.compose.model import Project

    from .progress import Progress

    text = codec.to_json(project or Project(places.project, "/", ()))
    if keep:
        generations.keep(places, text)
    message: dict[str, Any] = {
        "op": "run",
        "plan": codec.to_json(plan),
        "project": text,
        "generation": generations.digest(text),
    }
    if parallel:
        message["parallel"] = parallel
    descriptors = (lock,) if lock >= 0 else ()  # held until what is broken off is undone
    progress = Progress(plan, title) if watch is None else None
    try:
        request: Any = control.request(places.control_socket, message, descriptors)
        with progress or nullcontext(), closing(request) as answers:
            for answer in answers:
                (watch or progress.take)(answer)  # type: ignore[union-attr]
    except control.ControlError as error:
        error.exit_code = 1  # 127 and the like are of a command that one runs, not of a plan
        raise


def shut_down_if_empty(places: ProjectPlaces) -> None:
    """End the supervisor (and by that the keeper) of a project that has no container left; then both are gone."""
    import socket

    from pycompose.compose import control, observing

    if not os.path.exists(places.control_socket):
        return
    with locked(places, tell=False):
        if observing.observe(places).containers:
            return
        going = [
            _process_behind(places.control_socket, socket.SOCK_STREAM),
            _process_behind(places.keeper_socket, socket.SOCK_SEQPACKET),
        ]
        with suppress(control.ControlError):  # it may go before it answers, or be gone
            for _ in control.request(places.control_socket, {"op": "shutdown"}):
                pass
        for pidfd in going:  # the next command must not meet one that is about to go
            if pidfd is not None:
                select.select([pidfd], [], [], PATIENCE)
                os.close(pidfd)


def _process_behind(path: str, kind: int) -> int | None:
    """A pidfd of the process that listens at a socket; None if nobody does."""
    import socket
    import struct

    with socket.socket(socket.AF_UNIX, kind) as connection, suppress(OSError):
        connection.connect(path)
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return os.pidfd_open(struct.unpack("3i", credentials)[0])
    return None


def wake(places: ProjectPlaces) -> None:
    """Return when the project's supervisor answers. Raises PycomposeError if it does not come up."""
    import socket

    from pycompose.runtime.errors import RuntimeFailure
    from pycompose.runtime.process import launch_keeper

    try:
        launch_keeper(places, (sys.executable, "-m", "pycompose.compose.supervisor", places.project))
    except (RuntimeFailure, OSError) as error:
        raise PycomposeError(f"the keeper of project {places.project!r} cannot be launched: {error}") from error
    end = time.monotonic() + PATIENCE
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            try:
                connection.connect(places.control_socket)
                return
            except (FileNotFoundError, ConnectionRefusedError):
                pass
            except OSError as error:
                raise PycomposeError(f"cannot reach the supervisor: {error.strerror}") from error
        if time.monotonic() > end:
            raise PycomposeError("the supervisor does not come up", hint=f"see {places.run}/supervisor.log")
        time.sleep(0.02)


@contextmanager
def locked(places: ProjectPlaces, *, tell: bool = True) -> Iterator[int]:
    """Hold the project's lock; its descriptor. With `tell` a person learns why nothing happens."""
    try:
        for folder in (places.state, places.run):
            os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
            os.makedirs(folder, mode=0o700, exist_ok=True)
        lock = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        hint = "run it as root, or set PYCOMPOSE_STATE and PYCOMPOSE_RUN"
        raise PycomposeError(f"{error.filename}: {error.strerror}", hint=hint) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if tell:
                terminal.note(f"another command acts on project {places.project!r}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)
