"""Measurements of containers: processor, memory, network and disk, from cgroups and /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pycompose.frozen import dataclass

if TYPE_CHECKING:
    from pycompose.compose.model.observed import ObservedContainer
    from pycompose.runtime.places import ProjectPlaces
    from pycompose.runtime.policy.cgroup import Stats


@dataclass(frozen=True, slots=True)
class Measured:
    """One look at one container; `at` in seconds of the monotonic clock, `received` and `sent` in bytes."""

    at: float
    stats: Stats
    received: int | None
    sent: int | None

    def cpu_percent(self, before: Measured | None) -> float | None:
        """Of one processor, since an earlier look; None where nobody can tell."""
        now, then = self.stats.cpu_ns, before.stats.cpu_ns if before is not None else None
        if before is None or now is None or then is None or self.at <= before.at:
            return None
        return max(now - then, 0) / (self.at - before.at) / 1e7

    @property
    def memory_limit(self) -> int:
        """Bytes; without a limit of its own, the machine's."""
        return self.stats.memory_limit or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def measure_all(places: ProjectPlaces, containers: Iterable[ObservedContainer]) -> dict[str, Measured]:
    """Those of the containers that run, by id."""
    from pycompose.runtime.policy.cgroup import Cgroup

    measured = {}
    for container in containers:
        if container.runs:
            received, sent = _network(container.pid or 0)
            stats = Cgroup(f"{places.project}/{container.id}").stats()
            measured[container.id] = Measured(time.monotonic(), stats, received, sent)
    return measured


def _network(pid: int) -> tuple[int | None, int | None]:
    """Bytes received and sent by all links but the loopback (man 5 proc_pid_net)."""
    received = sent = 0
    try:
        with open(f"/proc/{pid}/net/dev", encoding="ascii") as file:
            for line in file.readlines()[2:]:
                link, _, numbers = line.partition(":")
                if link.strip() != "lo":
                    columns = numbers.split()
                    received, sent = received + int(columns[0]), sent + int(columns[8])
    except (OSError, ValueError, IndexError):
        return None, None
    return received, sent
