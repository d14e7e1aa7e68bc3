"""A client's side of a project: its lock, its supervisor, plans carried out by it, and their end. Blocking, no trio.

The command line and the Python API stand on this. Rules: whoever acts holds the project's lock from observing to the
last step, and hands the descriptor to the supervisor, so that the lock is held while a killed client's work is undone.
It prints nothing. What plans are made of is imported when there is one: a cold `up` waits for what is launched here.
A project without containers leaves nothing: `close_if_empty` ends its processes and its folders.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from pycompose import interruption, shortages
from pycompose.errors import PycomposeError, SystemRefused
from pycompose.runtime.client.blocking import BlockingKeeper, end_keeper
from pycompose.runtime.errors import NoKeeper, RuntimeFailure
from pycompose.runtime.keeper.launch import await_launch, launch_keeper, launching
from pycompose.runtime.places import ProjectPlaces

if TYPE_CHECKING:
    from pycompose.compose.model.project import Project
    from pycompose.compose.plan.steps import Plan

    from .client import Answering
    from .protocol import Report

LAUNCHERS = 4  # helpers, each of which may launch a keeper before it is ended
PATIENCE = 10.0  # seconds for a supervisor to come up, and for a keeper to go


@contextmanager
def locked(places: ProjectPlaces, waiting: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Hold the project's lock; its descriptor. `waiting` is called when somebody else has it, and may raise."""
    lock = -1
    try:
        while True:
            try:
                places.claim()
                for folder in (places.state, places.run):
                    os.makedirs(folder, mode=0o700, exist_ok=True)
                lock = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                continue  # somebody closes the project just now
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                interruption.lock(lock)
            if _is_at(lock, places.lock):
                break
            os.close(lock)  # the one who held it closed the project, and removed the file
            lock = -1
        yield lock
    except PermissionError as error:
        raise SystemRefused(error) from error
    finally:
        if lock >= 0:
            os.close(lock)


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _supervisor(places: ProjectPlaces) -> tuple[str, ...]:
    """How a supervisor is started: with nothing of this process's environment, but what is imported is found."""
    python = (sys.executable, "-P", "-s", "-X", "utf8")
    if folders := _packages_elsewhere():
        return (*python, "-c", FROM_ELSEWHERE, os.pathsep.join(folders), places.project)
    return (*python, "-m", "pycompose.compose.supervisor", places.project)


FROM_ELSEWHERE = """
import os, runpy, sys
sys.path[:0] = sys.argv.pop(1).split(os.pathsep)
runpy.run_module("pycompose.compose.supervisor", run_name="__main__", alter_sys=True)
"""


def _packages_elsewhere() -> list[str]:
    """Folders that this process was told of (PYTHONPATH, a user's own packages) where we or what we need may lie."""
    usual = (sys.prefix + os.sep, sys.base_prefix + os.sep)
    return [
        folder
        for folder in dict.fromkeys(sys.path)
        if os.path.isabs(folder)
        and not folder.startswith(usual)
        and any(os.path.isdir(f"{folder}/{name}") for name in ("pycompose", "trio", "pyroute2"))
    ]


@contextmanager
def waking(places: ProjectPlaces) -> Iterator[Callable[[], bool]]:
    """The keeper and the supervisor come up while the body begins, so that their start costs no time of its own.

    The body calls what it gets before it acts: then they are there, and the project's lock is free; it tells whether
    they are new. Nothing happens where somebody acts on the project, or it runs already; what cannot be done is told by
    `wake`. When the body fails, a project without containers is ended again.
    """
    launched = False
    with ExitStack() as begun:
        if not os.path.exists(places.keeper_socket):
            with suppress(PycomposeError, RuntimeFailure, OSError):
                begun.enter_context(locked(places, waiting=_refuse))
                launched = begun.enter_context(launching(places, _supervisor(places)))

        def ready() -> bool:
            with suppress(RuntimeFailure, OSError):
                begun.close()
            return launched

        try:
            yield ready
        except BaseException:
            ready()
            with suppress(PycomposeError, OSError):
                close_if_empty(places, waiting=_refuse)
            raise
        ready()


def _refuse() -> None:
    raise PycomposeError("another command acts on the project")


def wake(places: ProjectPlaces) -> bool:
    """Return when requests can be sent: the supervisor may still be starting. Whether it is a new one.

    Raises PycomposeError.
    """
    try:
        return launch_keeper(places, _supervisor(places))
    except (RuntimeFailure, OSError) as error:
        hint = error.hint if isinstance(error, RuntimeFailure) else shortages.hint(shortages.number(error))
        text = f"the keeper of project {places.project!r} cannot be launched: {shortages.reason(error)}"
        raise PycomposeError(text, hint=hint) from error


def carry_out(
    places: ProjectPlaces,
    project: Project | None,
    plan: Plan,
    lock: int,
    *,
    keep: bool = False,
    parallel: int = 0,
    attached: tuple[str, ...] = (),
    connected: Callable[[Answering], None] = lambda answer: None,
) -> Generator[Report, None, None]:
    """Have the supervisor carry out `plan`; its answers. With `keep` the project becomes the newest generation.
    `attached` are services whose containers somebody follows from their start; `connected` gets what tells the
    supervisor how steps went that are the caller's to do.

    Closing the iterator makes the supervisor undo what it has begun. Raises PycomposeError if a step fails.
    """
    from . import client
    from .protocol import CarryOut

    digest = _kept(places, project, plan, keep) if project and (keep or plan.steps) else ""
    if plan.steps:  # else nobody has to be asked for nothing
        message = CarryOut(plan, digest, parallel, attached)
        yield from client.request(places.control_socket, message, [lock], connected)


def _kept(places: ProjectPlaces, project: Project, plan: Plan, keep: bool) -> str:
    """The generation to act by. What only ends must not need room: on a full disk it goes by the newest on record."""
    from pycompose.compose.plan.steps import CreateContainer, StartContainer
    from pycompose.compose.state import generations

    try:
        return generations.keep(places, project, newest=keep)
    except OSError as error:
        beginning = any(isinstance(step.action, CreateContainer | StartContainer) for step in plan.steps)
        if keep or beginning or error.errno not in shortages.FULL:
            raise
        return generations.newest_digest(places)


def close_if_empty(places: ProjectPlaces, waiting: Callable[[], None] = lambda: None) -> bool:
    """End the processes of a project that has no container left, and remove what is left of it on disk.

    False where something of it still runs: then all stays as it is. `waiting` is as for `locked`.
    """
    from pycompose.compose.state.observe import observe
    from pycompose.runtime.files.remove import empty
    from pycompose.runtime.places import UNFINISHED, Places
    from pycompose.runtime.policy.cgroup import of_helpers

    if not os.path.isdir(places.run) and not os.path.isdir(places.state):
        return True
    with locked(places, waiting):
        if observe(places).containers:
            return False
        for _ in range(LAUNCHERS):
            await_launch(places)
            if (pid := _keeper_pid(places)) is not None:
                if not _keeper_ended(places, pid):
                    return False
            elif not _stragglers_ended(places):
                break
        else:
            return False
        of_helpers(places.project).remove()
        roots = Places.default()
        with suppress(OSError):
            if any(entry.startswith(UNFINISHED) for entry in os.listdir(roots.volumes)):
                from pycompose.runtime.state.volumes import Volumes

                Volumes(roots).sweep()
        for folder in (places.state, places.run):
            with suppress(OSError):
                empty(folder)
                os.rmdir(folder)
        return True


def _keeper_ended(places: ProjectPlaces, pid: int) -> bool:
    """Have the keeper `pid` end, and wait for it: the next command must not meet one that is about to go.

    It ends the supervisor first. It refuses while it has a container, such as one whose starter has just died: that
    goes in a moment, with nothing to tell of it.
    """
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        end = time.monotonic() + PATIENCE
        while True:
            with suppress(RuntimeFailure):
                if end_keeper(places, PATIENCE):
                    return True
            if select.select([process], [], [], 0.02)[0]:
                return True
            if time.monotonic() > end:
                return False
    finally:
        os.close(process)


def _stragglers_ended(places: ProjectPlaces) -> bool:
    """End helpers that outlived a killed keeper, and would launch another; whether there were any."""
    from pycompose.runtime.policy.cgroup import of_helpers
    from pycompose.runtime.state import container_record

    pids = set(of_helpers(places.project).processes())
    if container_record.alive(supervisor := container_record.read(places.supervisor_record)):
        pids.add(supervisor["pid"])
    with ExitStack() as opened:
        processes = []
        for pid in pids:
            with suppress(ProcessLookupError):
                processes.append(os.pidfd_open(pid))
                opened.callback(os.close, processes[-1])
        for process in processes:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGKILL)
        for process in processes:
            select.select([process], [], [], PATIENCE)
    return bool(processes)


def _keeper_pid(places: ProjectPlaces) -> int | None:
    """The process that listens at the keeper's socket; None if nobody does."""
    with suppress(NoKeeper), BlockingKeeper(places) as keeper:
        return keeper.pid
    return None
