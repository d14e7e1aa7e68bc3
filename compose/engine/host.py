"""The protocol `Host`: one machine as the engine needs it, with its events and errors.

`linux_host.LinuxHost` is the real one, `tests/contract/fake_host.FakeHost` the one in memory. Each sentence of Host's
docstrings is an obligation in `tests/contract/obligations.py`, which both keep. Rules: nothing here knows of plans,
graphs or policies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import trio
from pycompose.compose.model.fields import EMPTY, Variables
from pycompose.compose.model.observed import NO_RESTART, Observed, OneOff, Supervision
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


@dataclass(frozen=True, slots=True)
class DonorStarted:
    """A container of another project, whose namespaces one of ours has, runs; times in unix seconds."""

    donor: str  # PROJECT/ID
    at: float
    ended: float | None  # of its run before that one, where it is known


@dataclass(frozen=True, slots=True)
class DonorEnded:
    """It runs no more."""

    donor: str


HostEvent = ContainerStarted | ContainerExited | ContainerOutOfMemory | DonorStarted | DonorEnded


@dataclass(frozen=True, slots=True)
class ExecResult:
    exit_code: int
    output: bytes  # stdout and stderr together, cut at the limit that was asked


@dataclass(frozen=True, slots=True)
class OutputLine:
    """A line that a container wrote, without its end."""

    text: str
    is_error: bool = False  # to stderr


@dataclass(frozen=True, slots=True)
class HostNote:
    """Something that a service asks for and this machine cannot give, in words."""

    text: str
    of_machine: bool = False  # not the service's doing: the same for every one


class Host(Protocol):
    """One machine, as one project sees it. Names are those of containers, networks and volumes.

    A method does all that it says, or leaves nothing behind and raises HostError. What is there already is not made
    again, and removing what is not there is no error, so that every step can be repeated. Any other request for a
    container that is not there raises HostError. A new Host of the same project takes over all of it, what runs too.
    """

    def observe(self) -> Observed:
        """Everything that the project has, as it is now."""

    async def create_network(self, network: Network) -> None: ...
    async def remove_network(self, name: str) -> None:
        """Refused while a container is on it."""

    async def create_volume(self, volume: Volume) -> None: ...
    async def remove_volume(self, name: str, *, remade: bool = False) -> None:
        """Refused while a container has it, running or not; with `remade`, while one of another project has it."""

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
        one_off: OneOff | None = None,
    ) -> None:
        """Make a container that does not run yet; a name that is taken is refused.

        Volumes without a name are made for it alone, or are those of the container `inherit` at the same targets. A
        one-off container serves none of its service's ports, only its own; one with `auto_remove` is removed at its
        end, or when it cannot be started, with its anonymous volumes.
        """

    async def create_hook(self, name: str, beside: str, index: int) -> None:
        """Make the container of a pre_start hook of the service that `beside` was made from, as it was then.

        It has the volumes of `beside`, those without a name too, and is no replica: no event is told of it, and nobody
        is led to it by the service's ports. A hook that the service does not have is refused.
        """

    async def start_container(self, name: str) -> None:
        """Return when its program runs: HostError with exit code 126 or 127 if it cannot, and then nothing runs.

        May be repeated after it ended; one that runs already is refused.
        """

    async def signal_container(self, name: str, signal: int) -> None:
        """To its first process; nothing happens to one that does not run."""

    async def kill_container(self, name: str) -> None:
        """SIGKILL to every process inside, paused or not; returns when the container is gone, at once if it was."""

    async def await_exit(self, name: str) -> ContainerExited:
        """Its end, when it comes; at once for one that has ended, or was never started (with no exit code)."""

    async def follow_output(self, name: str, tell: Callable[[Sequence[OutputLine]], None]) -> None:
        """Hand over all lines that its last run wrote and writes, as they come, until it has ended."""

    async def await_removal(self, name: str) -> None:
        """Return when no container has that name."""

    async def remove_container(self, name: str, *, volumes: bool = False) -> None:
        """With `volumes` its anonymous ones too, unless another container has them. Refused while it runs."""

    async def rename_container(self, name: str, new_name: str) -> None:
        """Running or not, it is the same container; a name that is taken is refused."""

    async def connect_network(
        self, name: str, network: str, aliases: tuple[str, ...], ipv4_address: str | None, ipv6_address: str | None
    ) -> None:
        """A container is on one network more, at once if it runs, until it is removed; one that it is on is refused."""

    async def disconnect_network(self, name: str, network: str) -> None:
        """It is on that network no more, until it is removed or connected; one that it is not on is refused."""

    async def pause_container(self, name: str) -> None:
        """No process inside gets on until `unpause_container`; it counts as paused, not as running."""

    async def unpause_container(self, name: str) -> None: ...
    async def exec_container(
        self,
        name: str,
        command: tuple[str, ...],
        *,
        environment: Variables = EMPTY,
        user: str | None = None,
        working_dir: str | None = None,
        privileged: bool = False,
        output_limit: int = 4096,
        tell: Callable[[bytes], None] | None = None,
    ) -> ExecResult:
        """Run a process inside, with the container's environment and this one, and wait for it.

        Of its output the first `output_limit` bytes are kept, whatever it writes; `tell` gets all of it, as it comes,
        in pieces. When cancelled, the process is
        killed. Refused where the container does not run.
        """

    def notes(self, name: str) -> tuple[HostNote, ...]:
        """Those of a container that nobody has been told yet."""

    def donors(self, name: str) -> tuple[str, ...]:
        """Names of the project's containers whose namespaces a container has; of other projects' that exist PROJECT/ID.

        None for one that is not there.
        """

    def remember(self, name: str, supervision: Supervision) -> None:
        """Persist the supervisor's knowledge of a container, durable against SIGKILL of anyone; it is observed."""

    async def serve(self, name: str, *, healthy: bool) -> None:
        """Whether `name` takes part in its service's published ports (a stopping or unhealthy replica does not)."""

    def events(self) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[HostEvent]]:
        """Starts, ends and shortages of memory of replicas from now on, in their order; every listener hears all.

        Of donors of other projects it hears at first which run.
        """
