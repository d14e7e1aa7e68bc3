"""A further process in a running container, from the keeper's side: being made, running, ended. Nothing here waits."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from pycompose.log_lines import complain
from pycompose.runtime.init import join
from pycompose.runtime.spec import Process

from . import messages
from .connection import Reply
from .container import Container
from .household import Household
from .messages import Born, ExecBegan, ExecDied, ExecEnded, Executing, FirstReady, Message, Refusal

LONGEST_COMMAND = 4096  # characters of a command that are told to those who follow events


class Execution:
    """`bound` kills the process when its client goes away."""

    def __init__(
        self,
        keeper: Household,
        container: Container,
        process: Process,
        reply: Reply,
        stdio: Sequence[int],
        *,
        privileged: bool,
        bound: bool,
        done: Callable[[Execution], None],
    ) -> None:
        self.keeper, self.reply, self.bound, self._done = keeper, reply, bound, done
        self.pid, self.code = 0, None
        self._container_id, self._command, self._name = container.id, " ".join(process.args), ""
        self.passed: list[int] = []
        self.failure: Refusal | None = None
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        folders = tuple(container.cgroup.folders().values()) if container.cgroup else ()
        program = keeper.seccomp_program(container.id)
        helper = os.fork()
        if helper == 0:
            try:
                keeper.leave_loop()
                self.channel.close()
                three = (stdio[0], stdio[1], stdio[2])
                spec = container.bundle.spec
                join.run(process, container.pidfd, spec, theirs.fileno(), three, folders, privileged, program)
            except BaseException as error:
                messages.send(theirs, Refusal(str(error), "exec"))
            finally:
                os._exit(125)
        theirs.close()
        self.channel.setblocking(False)
        keeper.loop.watch(self.channel.fileno(), self._readable)

    def _readable(self, _: int) -> None:
        try:
            report, descriptors = messages.receive(self.channel)
        except BlockingIOError:
            return
        except (OSError, messages.Malformed):
            report, descriptors = None, []
        self.passed += descriptors
        self._reported(report)

    def _reported(self, report: Message | None) -> None:
        match report:
            case Refusal():
                self.failure = report
            case Born(pid):
                self.pid = pid
                if self.reply.client.closed and self.bound:
                    self.kill()
            case FirstReady():
                with suppress(OSError):
                    self.channel.send(b"start")
            case _:
                self._made()

    def _made(self) -> None:
        """Its program runs, or it failed and has reported that."""
        self.keeper.loop.unwatch(self.channel.fileno())
        self.channel.close()
        if self.failure is None and self.pid == 0:
            self.failure = Refusal("the container is not running", "exec", exit_code=126)
        if self.failure is not None:
            self.reply(self.failure)
            if self.pid:
                self.keeper.await_child(self.pid, lambda _: None)
        else:
            self._name = os.urandom(32).hex()
            self.keeper.publish(ExecBegan(self._container_id, self._name, self._command[:LONGEST_COMMAND]))
            self.reply(Executing(self.pid), self.passed)
            self.keeper.await_child(self.pid, self._ended)
        messages.close_all(self.passed)
        self.passed = []
        if self.failure is not None:
            self._done(self)

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

    def client_gone(self) -> None:
        if self.bound:
            try:
                self.kill()
            except OSError:
                complain()
