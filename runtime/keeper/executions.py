"""A further process in a running container, from the keeper's side: being made, running, ended. Nothing here waits.

A helper of ours (`runtime.init.join`) has it born and ends; then it is known whether its program runs. Its descriptors
0-2 are pipes that are made here, or a terminal inside; our ends of them go to the client, who copies.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from pycompose import shortages
from pycompose.log_lines import complain
from pycompose.runtime.init import birth, join
from pycompose.runtime.linux import syscalls
from pycompose.runtime.spec import Process

from . import messages
from .connection import Refused, Reply
from .container import Container, not_executed
from .household import Household
from .messages import Exec, ExecBegan, ExecDied, ExecEnded, Executing, FirstReady, Refusal, Streams

LONGEST_COMMAND = 4096  # characters of a command that are told to those who follow events
NOT_RUNNING = Refusal("the container is not running", "exec", errno.ESRCH, 126)


class Execution:
    """Raises Refused where it cannot be begun; nothing is left then."""

    def __init__(
        self,
        keeper: Household,
        container: Container,
        request: Exec,
        process: Process,
        reply: Reply,
        done: Callable[[Execution], None],
    ) -> None:
        self.keeper, self.reply, self.bound, self._done = keeper, reply, request.bound, done
        self._container_id, self._process, self._name = container.id, process, ""
        self.pid = 0  # of the process, once it runs
        self._given_up = False
        self._outcome, self._ours = -1, list[int]()
        inside = (join.NULL, join.NULL, join.NULL)
        group: int | None = None
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._outcome = birth.outcome_file()
            inside, self._ours = _streams(request.streams, process.terminal)
            if container.cgroup:
                group = container.cgroup.descriptor()
            birth.sealed()  # before the child needs it
            joining = join.Joining(
                process,
                container.bundle.spec,
                container.pidfd,
                inside,
                container.cgroup,
                container.devices.controller,
                keeper.seccomp_program(container.id),
                self._outcome,
                (request.rows, request.columns),
            )
            self._helper, pidfd = syscalls.clone3(0, signal.SIGCHLD, group)
            if self._helper == 0:
                self._become(joining, theirs)
            os.close(pidfd)
        except OSError as error:
            self._close()
            if error.errno in (errno.ENOENT, errno.ENODEV):  # its control group
                raise Refused(NOT_RUNNING.message, "exec", errno.ESRCH, 126) from None
            raise Refused(shortages.reason(error), "exec", error.errno or 0) from error
        finally:
            theirs.close()
            messages.close_all([fd for fd in {*inside, group} if fd is not None and fd >= 0])
        self._channel.setblocking(False)
        keeper.await_child(self._helper, lambda _: self._helped())

    def _become(self, joining: join.Joining, channel: socket.socket) -> NoReturn:
        try:
            self.keeper.leave_loop()
            join.run(joining, channel.fileno())
        except BaseException as error:
            messages.send(channel, Refusal(shortages.reason(error), "exec", shortages.number(error)))
        finally:
            os._exit(125)

    def _helped(self) -> None:
        """The helper has ended: the process runs, or it failed."""
        failure = self._reported()
        outcome = birth.birth_of(self._outcome)
        if failure is None and outcome.pid == 0 and outcome.errno:
            failure = Refusal(f"a process cannot be born: {os.strerror(outcome.errno)}", "exec", outcome.errno, 126)
        elif failure is None and outcome.errno:
            failure = not_executed(self._process, outcome.errno)
        elif failure is None and outcome.pid == 0:
            failure = NOT_RUNNING
        if failure is not None:
            self.reply(failure)
            if outcome.pid:
                self.keeper.await_child(outcome.pid, lambda _: None)
            self._close()
            self._done(self)
            return
        self.pid = outcome.pid
        self._name = os.urandom(32).hex()
        command = " ".join(self._process.args)[:LONGEST_COMMAND]
        self.keeper.publish(ExecBegan(self._container_id, self._name, command))
        self.reply(Executing(self.pid), self._ours)
        self._close()
        if self._given_up:
            self.kill()
        self.keeper.await_child(self.pid, self._ended)

    def _reported(self) -> Refusal | None:
        """What the helper sent: why it failed, or a terminal."""
        failure = None
        with suppress(OSError, messages.Malformed):  # BlockingIOError: that was all
            while True:
                report, descriptors = messages.receive(self._channel)
                self._ours += descriptors
                match report:
                    case Refusal():
                        failure = report
                    case FirstReady():
                        pass
                    case _:
                        break
        return failure

    def _close(self) -> None:
        self._channel.close()
        messages.close_all([fd for fd in (self._outcome, *self._ours) if fd >= 0])
        self._outcome, self._ours = -1, []

    def _ended(self, code: int) -> None:
        self.keeper.publish(ExecDied(self._container_id, self._name, code))
        self.reply(ExecEnded(code))
        self.pid = 0
        self._done(self)

    def kill(self) -> None:
        """With all of its session that did not leave its group."""
        if self.pid:
            for kill in (os.killpg, os.kill):
                with suppress(ProcessLookupError, PermissionError):
                    kill(self.pid, signal.SIGKILL)
        elif not self._given_up:
            self._given_up = True
            born = birth.birth_of(self._outcome).pid  # it may be held by a debugger before it has executed its program
            for pid in filter(None, (self._helper, born)):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)

    def client_gone(self) -> None:
        if self.bound:
            try:
                self.kill()
            except OSError:
                complain()


def _streams(wanted: Streams, terminal: bool) -> tuple[tuple[int, int, int], list[int]]:
    """Descriptors 0-2 of the process, or `join.NULL`, and our ends. Raises OSError; none of them is open then."""
    if terminal or wanted is Streams.DETACHED:
        return (join.NULL, join.NULL, join.NULL), []
    opened: list[int] = []
    try:
        for _ in range(3 if wanted is Streams.INTERACTIVE else 2):
            opened += os.pipe2(os.O_CLOEXEC)
    except OSError:
        messages.close_all(opened)
        raise
    stdin, end, output, writer, *errors = opened
    if errors:
        return (stdin, writer, errors[1]), [end, output, errors[0]]
    os.close(end)  # there is nothing to be read
    return (stdin, writer, writer), [output]
