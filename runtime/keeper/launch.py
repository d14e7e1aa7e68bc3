"""Launching a project's keeper, from a sealed copy of the interpreter (CVE-2019-5736).

Synchronous. `launch_keeper` forks nothing (posix_spawn), so a thread of a process that runs trio may call it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from pycompose import shortages
from pycompose.runtime.client.blocking import BlockingKeeper
from pycompose.runtime.errors import KeeperGone, NoKeeper, RuntimeFailure
from pycompose.runtime.linux.sealed_memory import program_file, seal
from pycompose.runtime.places import ProjectPlaces

from .messages import READY, ListRunning, RunningIds

F_SEAL_EXEC = 0x20  # linux/fcntl.h: its mode is never changed

PATIENCE = 10.0  # seconds for a keeper to answer
USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Settings of pycompose itself, which hold for a project's helpers as for the command that starts them.
PASSED = ("PYCOMPOSE_STATE", "PYCOMPOSE_RUN", "PYCOMPOSE_CGROUP", "PYCOMPOSE_STORAGE", "PYCOMPOSE_INIT")

BOOT = """
import sys, types
folder = sys.argv[1]
for name, path in (("pycompose", folder), ("pycompose.runtime", folder + "/runtime")):
    module = sys.modules[name] = types.ModuleType(name)
    module.__path__ = [path]
from pycompose.late_modules import put_off
put_off("inspect")
from pycompose.runtime.keeper.main import main
main(sys.argv[2:])
"""


def _environment() -> dict[str, str]:
    """The environment of helpers: named variables alone."""
    return {"PATH": USUAL_PATH, **{name: os.environ[name] for name in PASSED if name in os.environ}}


def _sealed_interpreter() -> int:
    memory = program_file("pycompose-keeper", 0o511)
    with open(os.path.realpath(sys.executable), "rb") as file, _files_of_any_size():
        left = os.fstat(file.fileno()).st_size
        while left:
            left -= os.sendfile(memory, file.fileno(), None, left)
    with suppress(OSError):  # before Linux 6.3
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, F_SEAL_EXEC)
    seal(memory)
    return memory


@contextmanager
def _files_of_any_size() -> Iterator[None]:
    """Without the caller's `ulimit -f`, which memory files count under; a hard one only where that may be raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    try:
        yield
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        raise KeeperGone(
            f"the limit of file sizes here is too low for the keeper: `ulimit -f` is {hard} bytes"
        ) from None
    finally:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def await_launch(places: ProjectPlaces) -> None:
    """Return when no keeper is coming up: whoever launched one may have been killed meanwhile."""
    with _alone(places):
        pass


def launch_keeper(places: ProjectPlaces, supervisor_argv: Sequence[str] = (), supervisor_pid: int = 0) -> bool:
    """Return when a keeper listens: the one that runs (False), or a new one. Raises KeeperGone if it does not come up.

    A new one takes over the containers that run, and attends to the supervisor `supervisor_pid` (or the one that runs
    according to its record); where there is none, it starts `supervisor_argv`.
    """
    with launching(places, supervisor_argv, supervisor_pid) as launched:
        return launched


@contextmanager
def launching(places: ProjectPlaces, supervisor_argv: Sequence[str] = (), supervisor_pid: int = 0) -> Iterator[bool]:
    """As `launch_keeper`, but the keeper comes up while the body runs; waited for at its end, however it ends."""
    with _alone(places) as lock:
        if _answers(places):
            yield False
            return
        pid, reader = _spawn(places, lock, [str(supervisor_pid), *supervisor_argv])
        try:
            yield True
        finally:
            with suppress(ChildProcessError):  # the caller ignores SIGCHLD
                os.waitpid(pid, 0)
            word = os.read(reader, select.PIPE_BUF).decode("utf-8", "replace")
            os.close(reader)
        if word != READY:
            short, _, reason = word.partition(" ")
            why = f" ({reason})" if reason else ""
            hint = shortages.hint(int(short)) if short.isdigit() else ""
            raise KeeperGone(f"the keeper did not start{why}", hint=hint or f"see {places.keeper_log}")


def _spawn(places: ProjectPlaces, lock: int, supervisor: Sequence[str]) -> tuple[int, int]:
    """A child that leaves a keeper behind and ends, and a descriptor by which that tells that it listens.

    The keeper holds the launch's lock until then, so that it is known to be coming up when its launcher was killed.
    """
    with ExitStack() as opened:

        def lifted(descriptor: int) -> int:
            """A copy above 2, for whoever calls may have closed those that every process has."""
            copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
            opened.callback(os.close, copy)
            return copy

        reader, writer = os.pipe()
        opened.callback(os.close, writer)
        failed = opened.enter_context(ExitStack())
        failed.callback(os.close, reader)
        memory = _sealed_interpreter()
        opened.callback(os.close, memory)
        log = os.open(places.keeper_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        opened.callback(os.close, log)
        interpreter, output = lifted(memory), lifted(log)
        # dup2 alone makes a descriptor inheritable in the child only, and needs another number for that.
        ready, held = lifted(writer), lifted(lock)
        passed = lifted(writer), lifted(lock)
        folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        arguments = [places.project, places.state, places.run, str(passed[0]), str(passed[1]), *supervisor]
        pid = os.posix_spawn(
            f"/proc/self/fd/{interpreter}",
            [sys.executable, "-I", "-S", "-X", "utf8", "-c", BOOT, folder, *arguments],
            _environment(),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, ready, passed[0]),
                (os.POSIX_SPAWN_DUP2, held, passed[1]),
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsid=True,
        )
        failed.pop_all()
        return pid, reader


def _answers(places: ProjectPlaces) -> bool:
    """Whether a keeper is there. That it can be connected to is not enough: a child that one had just forked when it
    was killed may still hold its socket for a moment.

    Raises KeeperGone where one runs and does not answer: a second one would take its containers' output from it.
    """
    with suppress(NoKeeper), BlockingKeeper(places, PATIENCE) as keeper:
        try:
            keeper.ask(ListRunning(), RunningIds)
        except RuntimeFailure as error:
            if _is_keeper(keeper.pid, places):
                hint = "it is stopped, or short of descriptors or memory; to do without: `kill -9 {}`, nothing is lost"
                what = f"process {keeper.pid} is that keeper and does not answer"
                raise KeeperGone(what, hint=hint.format(keeper.pid)) from error
        else:
            return True
    return False


def _is_keeper(pid: int, places: ProjectPlaces) -> bool:
    """Whether the process that listened once is still there, and no other has its number by now."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsencode(places.run) in file.read().split(b"\0")  # of one that is ending it is empty
    except OSError:
        return False


@contextmanager
def _alone(places: ProjectPlaces) -> Iterator[int]:
    """One launcher at a time, and none while a keeper is ending: that one removes the lock's file in the end.

    The lock's descriptor.
    """
    while True:
        places.claim()
        os.makedirs(places.run, 0o700, exist_ok=True)
        os.makedirs(places.containers, 0o700, exist_ok=True)
        try:
            lock = os.open(places.keeper_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                same = os.stat(places.keeper_lock).st_ino == os.fstat(lock).st_ino
            except FileNotFoundError:
                same = False
            if same:
                yield lock
                return
        finally:
            os.close(lock)
