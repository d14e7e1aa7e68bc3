"""What acting commands share: from a decision about what exists to a plan that the project's supervisor carries out.

Rules: the project's lock is held from looking until the last step, so two commands never act on one project at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import click
from pycompose.compose.errors import PycomposeError

if TYPE_CHECKING:
    from pycompose.compose.model import Project
    from pycompose.compose.observed import Observed
    from pycompose.compose.plan import Plan
    from pycompose.runtime.places import ProjectPlaces

PATIENCE = 10.0  # seconds for a supervisor to come up

Decide = Callable[["Observed"], "Plan"]


def newest_generation(places: ProjectPlaces) -> Project | None:
    """The project as the last `up` had it; None if there was none."""
    from pycompose.compose.codec import from_json
    from pycompose.compose.model import Project

    try:
        paths = [entry.path for entry in os.scandir(places.generations) if entry.name.endswith(".json")]
        if not paths:
            return None
        with open(max(paths, key=os.path.getmtime), encoding="utf-8") as file:
            return from_json(Project, file.read())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise PycomposeError(f"the record of project {places.project!r} cannot be read: {error}") from error


def write_generation(places: ProjectPlaces, text: str) -> None:
    """Keep a resolved project under its hash, whole or not at all; it becomes the newest."""
    os.makedirs(places.generations, mode=0o700, exist_ok=True)
    path = f"{places.generations}/{digest(text)}.json"
    with open(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def run(places: ProjectPlaces, project: Project | None, decide: Decide, *, dry_run: bool, keep: bool = False) -> None:
    """Carry out what `decide` makes of what exists. With `keep` the project becomes the newest generation.

    Raises PycomposeError if a step fails.
    """
    from pycompose.compose import observing
    from pycompose.compose.plan import render

    if dry_run:
        click.echo(render(decide(observing.observe(places))), nl=False)
        return
    with _locked(places):
        if not keep and not decide(observing.observe(places)).steps:
            return
        wake(places)
        plan = decide(observing.observe(places))  # again: a supervisor that came up may have changed something
        for warning in plan.warnings:
            click.echo(f"warning: {warning}", err=True)
        _carry_out(places, project, plan, keep)


def _carry_out(places: ProjectPlaces, project: Project | None, plan: Plan, keep: bool) -> None:
    from pycompose.compose import codec, control
    from pycompose.compose.model import Project

    text = codec.to_json(project or Project(places.project, "/", ()))
    if keep:
        write_generation(places, text)
    message = {"op": "run", "plan": codec.to_json(plan), "project": text, "generation": digest(text)}
    try:
        with closing(control.request(places.control_socket, message)) as answers:  # type: ignore[type-var]
            for answer in answers:
                if "step" in answer:
                    told = answer["state"] in ("failed", "skipped") and answer.get("cause")
                    click.echo(f" {answer['step']}: {answer['state']}{f': {told}' if told else ''}", err=True)
    except control.ControlError as error:
        error.exit_code = 1  # 127 and the like are of a command that one runs, not of a plan
        raise


def shut_down_if_empty(places: ProjectPlaces) -> None:
    """End the supervisor (and by that the keeper) of a project that has no container left."""
    from pycompose.compose import control, observing

    if not os.path.exists(places.control_socket):
        return
    with _locked(places):
        if not observing.observe(places).containers:
            with suppress(control.ControlError):  # it may go before it answers, or be gone
                for _ in control.request(places.control_socket, {"op": "shutdown"}):
                    pass
            end = time.monotonic() + PATIENCE  # the next command must not meet a keeper about to go
            while os.path.exists(places.keeper_socket) and time.monotonic() < end:
                time.sleep(0.02)


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
def _locked(places: ProjectPlaces) -> Iterator[None]:
    try:
        for folder in (places.state, places.run):
            os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
            os.makedirs(folder, mode=0o700, exist_ok=True)
        lock = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        hint = "run it as root, or set PYCOMPOSE_STATE and PYCOMPOSE_RUN"
        raise PycomposeError(f"{error.filename}: {error.strerror}", hint=hint) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
