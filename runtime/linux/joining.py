"""Namespaces of other processes, joined by this process: for a while by one thread, or for good by a forked child.

Network, IPC, UTS and cgroup namespaces are of a thread (setns(2)), so that a thread joins and leaves them while others
stay. A mount namespace is joined by a process of one thread alone; a user namespace by such a one, and for good; one of
process ids by children. For these there is `call`, which forks. Rules: the target is a pidfd, so that no other process
can have its number; every descriptor that is opened here is closed; a child is not dumpable before it joins, so that
nobody inside looks into it (CVE-2016-9962, CVE-2019-5736).
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import NoReturn, TypeVar

from pycompose import interruption
from pycompose.errors import PycomposeError

from . import syscalls

T = TypeVar("T")
FLAGS = {
    "user": syscalls.CLONE_NEW["user"],  # first: it may give the right to join the others
    "cgroup": syscalls.CLONE_NEW["cgroup"],
    "ipc": syscalls.CLONE_NEW["ipc"],
    "uts": syscalls.CLONE_NEW["uts"],
    "net": syscalls.CLONE_NEW["network"],
    "pid": syscalls.CLONE_NEW["pid"],
    "mnt": syscalls.CLONE_NEW["mount"],
}
OF_THREADS = ("cgroup", "ipc", "uts", "net")  # a thread joins them, and comes back
WHY_NOT = {
    "mnt": "a process of several threads cannot join a mount namespace",
    "user": "a user namespace is joined for good, and by a process of one thread alone",
    "pid": "a namespace of process ids is for children alone",
}


class CannotJoin(PycomposeError):
    """A namespace that this process cannot join; `kind` is which."""

    def __init__(self, kind: str, reason: str, hint: str = "") -> None:
        super().__init__(f"the {kind} namespace cannot be joined: {reason}", hint=hint)
        self.kind = kind


class CallFailed(PycomposeError):
    """A function that was called inside did not come to its end, or what it raised or returned cannot be told."""


def _join(descriptor: int, kind: str) -> None:
    try:
        syscalls.setns(descriptor, FLAGS[kind])
    except OSError as error:
        hint = "`call` runs a function in a child that can" if kind in WHY_NOT else ""
        hint = "it takes root" if isinstance(error, PermissionError) else hint
        raise CannotJoin(kind, WHY_NOT.get(kind, os.strerror(error.errno or 0)), hint) from error


@contextmanager
def joined(target: int, kinds: Sequence[str]) -> Iterator[None]:
    """This thread in namespaces of the process whose pidfd is `target`; back in its own at the end, whatever happens.

    The rest of the process stays where it is. Raises CannotJoin, and then nothing is joined; RuntimeError where another
    thread leaves.
    """
    for kind in ("user", "pid"):
        if kind in kinds:
            raise CannotJoin(kind, WHY_NOT[kind], "`call` runs a function in a child that can")
    thread = threading.get_ident()
    with ExitStack() as back:
        for kind in (kind for kind in FLAGS if kind in kinds):
            home = os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
            back.callback(os.close, home)
            folder = _place(back) if kind == "mnt" else None
            _join(target, kind)
            back.callback(_return, home, kind, thread, folder)
        yield


def _place(held: ExitStack) -> tuple[int, int]:
    """Root and current folder, which joining a mount namespace changes."""
    opened = []
    for path in ("/", "."):
        opened.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        held.callback(os.close, opened[-1])
    return opened[0], opened[1]


def _return(home: int, kind: str, thread: int, place: tuple[int, int] | None) -> None:
    if threading.get_ident() != thread:
        raise RuntimeError("a thread that entered namespaces leaves them itself")
    syscalls.setns(home, FLAGS[kind])
    if place is not None:
        os.fchdir(place[0])
        os.chroot(".")
        os.fchdir(place[1])


def call(target: int, kinds: Sequence[str], function: Callable[[], T]) -> T:
    """What `function` returns in a forked child that has joined namespaces of the process whose pidfd is `target`.

    What it returns or raises is pickled on its way back. Raises CannotJoin, CallFailed, and what it raises.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError, OSError):
            stream.flush()
    reader, writer = os.pipe()
    with ExitStack() as held:
        held.callback(os.close, reader)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads: the child starts none
            pid = os.fork()
        if pid == 0:
            _child(target, kinds, function, reader, writer)
        os.close(writer)
        pidfd = os.pidfd_open(pid)
        held.callback(os.close, pidfd)

        def kill() -> None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)

        try:
            with interruption.waking(kill), open(reader, "rb", closefd=False) as answer:
                data = answer.read()
        except BaseException:
            kill()
            raise
        finally:
            with suppress(ChildProcessError):  # the caller ignores SIGCHLD
                os.waitpid(pid, 0)
    interruption.check()
    try:
        good, value = pickle.loads(data)
    except Exception as error:
        text = "what it returned cannot be read here" if data else "the function was ended before it returned"
        raise CallFailed(text) from error
    if not good:
        raise value
    result: T = value
    return result


def _child(target: int, kinds: Sequence[str], function: Callable[[], object], reader: int, writer: int) -> NoReturn:
    try:
        os.close(reader)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        answer = _answer(target, kinds, function, writer)
        with open(writer, "wb", closefd=False) as file:
            file.write(answer)
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, ValueError, OSError):
                stream.flush()
    finally:
        os._exit(0)


def _answer(target: int, kinds: Sequence[str], function: Callable[[], object], writer: int) -> bytes:
    try:
        for kind in (kind for kind in FLAGS if kind in kinds):
            _join(target, kind)
        if "pid" in kinds and (pid := os.fork()):
            os.waitpid(pid, 0)  # the one who is inside answers
            os._exit(0)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        value = function()
    except BaseException as error:
        if isinstance(error, SystemExit):
            error = CallFailed(f"the function left the interpreter: {error}")
        return _pickled(False, error)
    return _pickled(True, value)


def _pickled(good: bool, value: object) -> bytes:
    try:
        data = pickle.dumps((good, value))
        pickle.loads(data)
        return data
    except Exception as error:
        what = "returned" if good else "raised"
        text = f"what the function {what} cannot be pickled: {value!r}: {error}"
        return pickle.dumps((False, CallFailed(text)))
