"""A further process in a running container, from the keeper's side: being made, running, ended. Nothing here waits."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from pycompose.runtime.init import join
from pycompose.runtime.spec import Process

from . import messages
from .connection import Refused, Reply, refusal
from .container import Container
from .household import Household
from .loop import complain


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
        self.passed: list[int] = []
        self.failure: Refused | None = None
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
                theirs.send(json.dumps({"step": "exec", "message": str(error), "exit_code": 125}).encode())
            finally:
                os._exit(125)
        theirs.close()
        self.channel.setblocking(False)
        keeper.loop.watch(self.channel.fileno(), self._told)

    def _told(self, _: int) -> None:
        try:
            answer, descriptors = messages.receive(self.channel)
        except BlockingIOError:
            return
        except (OSError, messages.Malformed):
            answer, descriptors = None, []
        self.passed += descriptors
        if answer is None:
            self._made()
        elif "step" in answer:
            self.failure = refusal(answer, "exec")
        elif "pid" in answer:
            self.pid = answer["pid"]
            if self.reply.client.closed and self.bound:
                self.kill()
        elif "ready" in answer:
            with suppress(OSError):
                self.channel.send(b"start")

    def _made(self) -> None:
        """Its program runs, or it failed and has told so."""
        self.keeper.loop.unwatch(self.channel.fileno())
        self.channel.close()
        if self.failure is None and self.pid == 0:
            self.failure = Refused("the container is not running", "exec", exit_code=126)
        if self.failure is not None:
            self.reply(self.failure.answer)
            if self.pid:
                self.keeper.await_child(self.pid, lambda _: None)
        else:
            self.reply({"ok": True, "pid": self.pid}, self.passed)
            self.keeper.await_child(self.pid, self._ended)
        messages.close_all(self.passed)
        self.passed = []
        if self.failure is not None:
            self._done(self)

    def _ended(self, code: int) -> None:
        self.reply({"exit": code})
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
