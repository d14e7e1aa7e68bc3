"""The keeper as its containers and executions know it: the loop, the children, and what they report to it.

A protocol alone, so that neither of them stands on the module that holds the process together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pycompose.frozen import dataclass
from pycompose.runtime.init.host_root import Grounds
from pycompose.runtime.places import ProjectPlaces
from pycompose.runtime.policy.cgroup import Cgroup

from .connection import Reply
from .fd_store import DescriptorStore
from .loop import Loop
from .messages import Event


@dataclass(frozen=True, slots=True)
class Taker:
    """A client that has the streams of a container, instead of its log; the size is its terminal's."""

    reply: Reply
    rows: int = 0
    columns: int = 0


class Household(Protocol):
    places: ProjectPlaces
    loop: Loop
    store: DescriptorStore
    grounds: Grounds
    ended: bool

    def pid_of(self, container_id: str) -> int:
        """The first process of a container that is there. Raises Refused."""

    def await_child(self, pid: int, ended: Callable[[int], None]) -> None:
        """Call `ended(exit code)` when the child has ended; it may have done so already."""

    def taker(self, container_id: str) -> Taker | None:
        """Who is to have the streams of a container that is started now."""

    def reset_signals(self) -> None:
        """In a child: signals as they were when the keeper began."""

    def leave_loop(self) -> None:
        """In a child that becomes something else: undo what is the keeper's alone."""

    def seccomp_program(self, container_id: str) -> bytes | None:
        """The compiled filter of a container; None if it is to be compiled from its bundle."""

    def publish(self, event: Event) -> None:
        """Send an event to everybody who subscribed."""

    def forget(self, container_id: str) -> None:
        """Nothing of the container is left, but its control group perhaps."""

    def discard(self, container_id: str, cgroup: Cgroup) -> None:
        """Remove a control group, now or as soon as the kernel lets it go."""

    def discarded(self, container_id: str) -> None:
        """A control group is gone, or given up."""
