"""Records of containers on disk, in the container's folder. Synchronous; no keeper is asked.

state.json (what it is) is the supervisor's; process.json (the process that runs, or ran last) and exit.json (how it
ended) are the keeper's. A record is replaced whole by rename, so that a reader never sees half of one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import field
from functools import cache
from typing import Any

from pycompose.frozen import dataclass
from pycompose.runtime.places import ProjectPlaces

CHUNK = 1 << 16  # bytes that are read at once
RESERVED = 256  # bytes; more than the record of an end takes


@dataclass(frozen=True, slots=True)
class ContainerState:
    """`status` is created, running, paused or exited; times are seconds since the epoch, 0 for never.

    `exit_code` is None while it runs, and when no one could tell it any more.
    """

    id: str
    name: str
    status: str
    pid: int = 0
    created: float = 0
    started: float = 0
    finished: float = 0
    exit_code: int | None = None
    oom_killed: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)
    image: str = ""


def write(path: str, tree: Mapping[str, Any], *, flush: bool = True) -> None:
    """Replace the record at `path`, on a full disk too if it does not grow. Raises OSError.

    `flush` is for what must survive a power cut. The processes of before that are gone then anyway, so their records
    are spared the wait for the disk.
    """
    from pycompose import durable  # who only reads does without

    durable.write(path, json.dumps(tree).encode(), flush=flush, padded=True)


def reserve(path: str) -> None:
    """Take the room on the disk that `write_reserved` needs later. Raises OSError."""
    from pycompose import durable

    durable.reserve(path, RESERVED)


def write_reserved(path: str, tree: Mapping[str, Any]) -> None:
    """As `write` without flushing, into what `reserve` took. Raises OSError."""
    from pycompose import durable

    durable.write_reserved(path, json.dumps(tree).encode(), RESERVED)


def content(path: str) -> bytes:
    """All of a small file, by three system calls where `open` makes seven: `ps` reads four for each container.

    Raises OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, CHUNK)
        while len(data) % CHUNK == 0 and (more := os.read(descriptor, CHUNK)):
            data += more
        return data
    finally:
        os.close(descriptor)


def read(path: str) -> dict[str, Any]:
    """The record at `path`; empty if there is none."""
    try:
        return dict(json.loads(content(path)))
    except (FileNotFoundError, ValueError):
        return {}


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot (man 5 proc_pid_stat, field 22); 0 if it is gone."""
    try:
        parts = content(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if parts[0] in (b"Z", b"X") else int(parts[19])


@cache
def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def alive(state: Mapping[str, Any]) -> bool:
    """Whether the recorded process is still that process: same boot, same start time."""
    pid = state.get("pid", 0)
    return bool(pid) and state.get("boot_id") == boot_id() and start_time(pid) == state.get("start_time", -1)


def read_container(places: ProjectPlaces, container_id: str) -> ContainerState | None:
    folder = places.container(container_id)
    state, ended = read(f"{folder}/state.json"), read(f"{folder}/exit.json")
    if not state:
        return None
    process = read(f"{folder}/process.json")
    pid, status = process.get("pid", 0), "created"
    if ended or (pid and not alive(process)):
        pid, status = 0, "exited"
    elif pid:
        status = "paused" if state.get("paused") == process["start_time"] else "running"
    return ContainerState(
        container_id,
        state.get("name", container_id),
        status,
        pid,
        state.get("created", 0),
        process.get("started", 0),
        ended.get("finished", 0),
        ended.get("code"),
        ended.get("oom_killed", False),
        state.get("annotations", {}),
        state.get("image", ""),
    )


def read_containers(places: ProjectPlaces) -> list[ContainerState]:
    """Every container of the project that has a record, by id."""
    try:
        names = sorted(os.listdir(places.containers))
    except FileNotFoundError:
        return []
    return [state for name in names if (state := read_container(places, name)) is not None]
