"""Services and containers as objects: what they are now, and what is done to them.

A `Container` is what was seen when it was asked for, and `refresh` looks again; a `Service` looks each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Unpack

from pycompose.errors import PycomposeError

from .scope import Progress, ProjectScope, heard
from .waiting import exit_codes

if TYPE_CHECKING:
    from pycompose.compose.app.log_entries import LogEntry
    from pycompose.compose.app.moments import Moment
    from pycompose.compose.model.observed import ContainerStatus, ObservedContainer, PublishedPort
    from pycompose.compose.model.project import Service as Definition
    from pycompose.compose.plan.steps import Plan

    from .captured import Command, Completed, Input
    from .scope import ExecKeywords, LogKeywords


class ContainerFacts:
    """What is known of a container without looking again: `observed`, word by word."""

    observed: ObservedContainer

    def __repr__(self) -> str:
        return f"<Container {self.name} {self.health or self.status}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""
        return self.observed.id

    @property
    def name(self) -> str:
        return self.observed.name

    @property
    def service(self) -> str:
        """The name of its service."""
        return self.observed.service

    @property
    def number(self) -> int:
        """Which replica of its service it is, from 1."""
        return self.observed.number

    @property
    def status(self) -> ContainerStatus:
        return self.observed.status

    @property
    def running(self) -> bool:
        """Paused ones too."""
        return self.observed.runs

    @property
    def health(self) -> str:
        """ "starting", "healthy", "unhealthy"; "" where nothing is checked, or nothing runs."""
        return self.observed.health

    @property
    def exit_code(self) -> int | None:
        """None while it runs, and where nobody can tell any more."""
        return self.observed.exit_code

    @property
    def oom_killed(self) -> bool:
        """Whether it ended for want of memory."""
        return self.observed.oom_killed

    @property
    def restarts(self) -> int:
        """By its restart policy, since it was last started by a person."""
        return self.observed.supervision.restarts

    @property
    def pid(self) -> int | None:
        """Of its first process, on this machine."""
        return self.observed.pid

    @property
    def image(self) -> str:
        """As the file has it."""
        return self.observed.image

    @property
    def labels(self) -> Mapping[str, str]:
        return self.observed.labels

    @property
    def started(self) -> datetime | None:
        return _time(self.observed.started)

    @property
    def finished(self) -> datetime | None:
        return _time(self.observed.finished)

    @property
    def addresses(self) -> Mapping[str, str]:
        """Network -> address, while it runs."""
        return self.observed.addresses

    @property
    def ports(self) -> tuple[PublishedPort, ...]:
        """What of it is published on this machine, while it runs."""
        return self.observed.ports


class Container(ContainerFacts):
    """A container as it was when it was looked at."""

    def __init__(self, scope: ProjectScope, observed: ObservedContainer) -> None:
        self._scope, self.observed = scope, observed

    @property
    def address(self) -> str:
        """Its address on the first of its networks, as this machine reaches it; "127.0.0.1" on the host's network.

        Raises PycomposeError while it has none.
        """
        for network in self.observed.networks:
            if address := self.observed.addresses.get(network):
                return address
        if donor := self.observed.shared.get("network"):
            for one in self._scope.containers():
                if one.id == donor:
                    return Container(self._scope, one).address
        if self.running and _on_host_network(self.pid):
            return "127.0.0.1"
        hint = "it is on no network" if self.running else f"it is {self.status}"
        raise PycomposeError(f"container {self.name} has no address", hint=hint)

    def refresh(self) -> Container:
        """The same container as it is now. Raises ContainerGone."""
        return Container(self._scope, self._scope.by_name(self.id))

    def exec(
        self,
        command: Command,
        *,
        input: Input = None,
        check: bool = False,
        timeout: float | None = None,
        env: Mapping[str, str | None] | None = None,
        user: str = "",
        workdir: str = "",
        privileged: bool = False,
        detach: bool = False,
    ) -> Completed:
        """Run a command inside until it ends: words, or a line for `sh -c`. `timeout` is in seconds.

        With `check` another code than 0 raises CommandFailed. With `detach` it is not waited for, and nobody hears it.
        Raises CommandTimeout; PycomposeError (exit code 125, 126 or 127) where it cannot be started.
        """
        from pycompose.compose.app import execution

        from . import captured

        words = captured.words(command)
        options = execution.ExecOptions(env or {}, user, workdir, privileged, detached=detach, bound=True)

        def run(stdio: tuple[int, int, int]) -> int:
            return execution.execute(self._scope.places, self.id, words, options, stdio)

        completed = captured.captured(words, input, timeout, run)
        return completed.check() if check else completed

    def shell(self, command: Command = ("sh",), *, user: str = "", workdir: str = "") -> int:
        """A command in a terminal inside, which is the caller's own until it ends; its exit code."""
        from pycompose.compose.app import execution

        from . import captured

        if not (os.isatty(0) and os.isatty(1)):
            raise PycomposeError("a shell needs a terminal", hint="`exec` runs commands without one")
        options = execution.ExecOptions({}, user, workdir, terminal=True)
        return execution.execute(self._scope.places, self.id, captured.words(command), options)

    def logs(
        self,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
    ) -> Iterator[LogEntry]:
        """The lines that it wrote; with `follow` also those that come, while it runs or will run again."""
        return self._scope.logs(lambda one: one.id == self.id, follow=follow, tail=tail, since=since, until=until)

    def kill(self, signal: int | str = "SIGKILL") -> None:
        """Send its first process a signal; nothing happens where it does not run. Raises PycomposeError.

        Its restart policy does not rest, as it does after `Service.kill`: it may be started again.
        """
        from pycompose.runtime.client.process import signal_first
        from pycompose.signal_names import signal_number

        if (number := signal_number(str(signal))) is None:
            raise PycomposeError(f"{signal!r} is no signal")
        signal_first(self._scope.places, self.id, number)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; its exit code. `timeout` is in seconds. Raises WaitTimeout, PycomposeError."""
        return exit_codes(self._scope, [self.refresh().observed], timeout)[self.name]


def _on_host_network(pid: int | None) -> bool:
    """Whether the network namespace of a process is this one's."""
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/ns/net"), os.stat("/proc/self/ns/net"))
    except OSError:
        return False


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


class Service:
    """A service of a project: its containers as they are whenever one asks, and what is done to them."""

    def __init__(self, scope: ProjectScope, name: str, definition: Definition | None) -> None:
        self._scope, self.name, self.definition = scope, name, definition

    def __repr__(self) -> str:
        return f"<Service {self.name} of {self._scope.places.project}>"

    @property
    def containers(self) -> list[Container]:
        """Its replicas by number, stopped ones too."""
        replicas = [one for one in self._scope.containers((self.name,)) if not one.oneoff]
        return [Container(self._scope, one) for one in sorted(replicas, key=lambda one: one.number)]

    def container(self, index: int = 0) -> Container:
        """The replica of that number, or (0) the first that runs, else the first. Raises PycomposeError."""
        replicas = [one for one in self.containers if index in (0, one.number)]
        running = [one for one in replicas if one.running]
        if replicas:
            return (running or replicas)[0]
        return Container(self._scope, self._scope.one(self.name, index, running=False))

    @property
    def address(self) -> str:
        """Of its first container. Raises PycomposeError."""
        return self.container().address

    @property
    def addresses(self) -> list[str]:
        """Of all its containers that run."""
        return [one.address for one in self.containers if one.running]

    @property
    def ports(self) -> tuple[PublishedPort, ...]:
        """What of it is published on this machine: for all its replicas, those of each one after another."""
        return tuple(dict.fromkeys(port for one in self.containers for port in one.ports))

    def port(self, target: int, protocol: str = "tcp") -> tuple[str, int]:
        """Address and port of this machine where one of its ports is published. Raises PycomposeError."""
        for port in self.ports:
            if (port.target, port.protocol) == (target, protocol):
                reached = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(port.host_ip, port.host_ip)
                return reached, port.published
        there = ", ".join(f"{port.target}/{port.protocol}" for port in self.ports) or "none"
        text = f'service "{self.name}" does not publish port {target}/{protocol}'
        raise PycomposeError(text, hint=f"published are: {there}")

    @property
    def health(self) -> str:
        """ "unhealthy" or "starting" if one of its running containers is; "healthy"; "" where nothing is checked."""
        words = {one.health for one in self.containers if one.running}
        return next((word for word in ("unhealthy", "starting", "healthy") if word in words), "")

    @property
    def status(self) -> str:
        """The status that all its containers have; "" where there is none, "mixed" where they differ."""
        words = {one.status for one in self.containers}
        return next(iter(words)) if len(words) == 1 else "mixed" if words else ""

    def logs(self, **options: Unpack[LogKeywords]) -> Iterator[LogEntry]:
        """The lines that its containers wrote, in the order of time; with `follow` also those that come."""

        def chosen(one: ObservedContainer) -> bool:
            return one.service == self.name and not one.oneoff

        return self._scope.logs(chosen, **options)

    def exec(
        self,
        command: Command,
        *,
        index: int = 0,
        **options: Unpack[ExecKeywords],
    ) -> Completed:
        """As `Container.exec`, in the replica of that number, or (0) the first one that runs."""
        return Container(self._scope, self._scope.one(self.name, index)).exec(command, **options)

    def shell(self, command: Command = ("sh",), *, index: int = 0, user: str = "", workdir: str = "") -> int:
        """As `Container.shell`."""
        return Container(self._scope, self._scope.one(self.name, index)).shell(command, user=user, workdir=workdir)

    def scale(self, count: int, *, timeout: float | None = None, progress: Progress | None = None) -> Plan:
        """Set how many containers it has. Raises PycomposeError."""
        from pycompose.compose.app import operations

        choices = self._scope.choices
        return operations.scale(choices, {self.name: count}, heard(progress), timeout=timeout).plan

    def start(self, *, wait: bool = False, progress: Progress | None = None) -> Plan:
        """Start its containers, and return when they run or are healthy if `wait`."""
        from pycompose.compose.app import operations

        return operations.start(self._scope.choices, (self.name,), heard(progress), wait=wait).plan

    def stop(self, *, timeout: float | None = None, progress: Progress | None = None) -> Plan:
        """Stop its containers, and keep them; `timeout` in seconds before they are killed."""
        from pycompose.compose.app import operations

        return operations.stop(self._scope.choices, (self.name,), heard(progress), timeout=timeout).plan

    def restart(self, *, timeout: float | None = None, progress: Progress | None = None) -> Plan:
        """Stop its containers and start them again."""
        from pycompose.compose.app import operations

        return operations.restart(self._scope.choices, (self.name,), heard(progress), timeout=timeout).plan

    def kill(self, signal: str = "SIGKILL", *, progress: Progress | None = None) -> Plan:
        """Send its containers a signal; their restart policies rest."""
        from pycompose.compose.app import operations

        return operations.kill(self._scope.choices, (self.name,), heard(progress), signal=signal).plan

    def wait(self, timeout: float | None = None) -> dict[str, int]:
        """Wait until its containers have ended; name -> exit code. Raises WaitTimeout, PycomposeError."""
        return exit_codes(self._scope, [one.observed for one in self.containers], timeout)
