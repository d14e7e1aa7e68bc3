"""What the engine asks of a machine: the protocol `Host`, its events and its errors.

`linux_host.LinuxHost` is the real one, `tests/contract/fake_host.FakeHost` the one in memory; both pass the tests in
`tests/contract`. Rules: every method either does all it says or leaves nothing behind and raises `HostError`; removing
what is not there is no error; nothing here knows of plans, graphs or policies.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import trio
from pycompose.compose.model.fields import EMPTY
from pycompose.compose.model.observed import NO_RESTART, Observed, Supervision
from pycompose.compose.model.project import Healthcheck, Network, Project, RestartPolicy, Volume
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass


class HostError(PycomposeError):
    """A machine could not do what was asked; `exit_code` is the command line's (1, or 125..127 as Docker)."""


@dataclass(frozen=True, slots=True)
class ContainerStarted:
    name: str
    service: str
    at: float  # unix seconds
    restart: RestartPolicy = NO_RESTART
    healthcheck: Healthcheck | None = None


@dataclass(frozen=True, slots=True)
class ContainerExited:
    name: str
    service: str
    exit_code: int | None  # None: nobody can tell
    oom_killed: bool
    at: float


@dataclass(frozen=True, slots=True)
class ContainerOutOfMemory:
    """A process inside was killed for memory; the container may live on."""

    name: str
    service: str
    at: float


HostEvent = ContainerStarted | ContainerExited | ContainerOutOfMemory


@dataclass(frozen=True, slots=True)
class ExecResult:
    exit_code: int
    output: bytes  # stdout and stderr together, cut at the limit that was asked


class Host(Protocol):
    """One machine, as one project sees it. Names are container, network and volume names."""

    def observe(self) -> Observed: ...
    async def create_network(self, network: Network) -> None: ...
    async def remove_network(self, name: str) -> None: ...
    async def create_volume(self, volume: Volume) -> None: ...
    async def remove_volume(self, name: str) -> None: ...
    async def create_container(
        self,
        project: Project,
        generation: str,
        service: str,
        name: str,
        number: int,
        *,
        inherit: str | None = None,
        replaces: str | None = None,
    ) -> None: ...
    async def start_container(self, name: str) -> None: ...
    async def signal_container(self, name: str, signal: int) -> None: ...
    async def kill_container(self, name: str) -> None:
        """SIGKILL to every process inside; returns when the container is gone."""

    async def await_exit(self, name: str) -> ContainerExited: ...
    async def remove_container(self, name: str, *, volumes: bool = False) -> None: ...
    async def rename_container(self, name: str, new_name: str) -> None: ...
    async def pause_container(self, name: str) -> None: ...
    async def unpause_container(self, name: str) -> None: ...
    async def exec_container(
        self,
        name: str,
        command: tuple[str, ...],
        *,
        environment: Mapping[str, str] = EMPTY,
        user: str | None = None,
        working_dir: str | None = None,
        privileged: bool = False,
        output_limit: int = 4096,
    ) -> ExecResult:
        """Run a process inside and wait for it; when cancelled, the process is killed."""

    def notes(self, name: str) -> tuple[str, ...]:
        """What its service asks for and this machine cannot give, in words; each is told once."""

    def remember(self, name: str, supervision: Supervision) -> None:
        """Persist what the supervisor knows of a container, durable against SIGKILL of anyone."""

    async def serve(self, name: str, *, healthy: bool) -> None:
        """Whether `name` takes part in its service's published ports (a stopping or unhealthy replica does not)."""

    def events(self) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[HostEvent]]: ...
