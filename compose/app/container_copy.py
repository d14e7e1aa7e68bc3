"""Copies between this machine's files and services' containers: which containers, and how their files are reached.

Rules: a stopped container is looked at under the project's lock, so that nobody starts it meanwhile; one that starts,
ends or goes between two looks is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from pycompose.compose.control import session
from pycompose.compose.model.errors import NoSuchService
from pycompose.compose.model.observed import ObservedContainer
from pycompose.compose.state import observe
from pycompose.frozen import dataclass
from pycompose.runtime.copies import container_files, container_root, container_sync
from pycompose.runtime.copies.container_files import CopyManner
from pycompose.runtime.copies.container_sync import SyncedPath
from pycompose.runtime.copies.copy_errors import CopyFailed
from pycompose.runtime.places import ProjectPlaces


@dataclass(frozen=True, slots=True)
class ServicePath:
    """An argument of `cp`: a path, in the containers of a service or, where that is empty, here."""

    service: str
    path: str

    @classmethod
    def parse(cls, text: str) -> ServicePath:
        """`SERVICE:PATH`; a path that begins with "/" or "." is one here, whatever colons are in it."""
        service, colon, path = text.partition(":")
        if text.startswith(("/", ".")) or not colon:
            return cls("", text)
        return cls(service, path)


def choose(
    places: ProjectPlaces, service: str, *, inward: bool, index: int = 0, oneoffs: bool = False
) -> list[ObservedContainer]:
    """Those that are copied into (every replica), or the one that is copied from. Raises CopyFailed."""
    everyone = observe.containers(places)
    chosen = [
        container
        for container in everyone
        if container.service == service and (oneoffs or not container.oneoff) and index in (0, container.number)
    ]
    if not chosen and index:
        raise CopyFailed(f'service "{service}" is not running container #{index}', hint="`pycompose ps -a` lists them")
    if not chosen:
        hint = NoSuchService(service, {container.service for container in everyone}).hint
        raise CopyFailed(f'no container found for service "{service}"', hint=hint or "`pycompose up` makes them")
    return chosen if inward else chosen[:1]


def copy_in(
    places: ProjectPlaces, container: ObservedContainer, source: str | IO[bytes], target: str, manner: CopyManner
) -> None:
    """Copy a path of this machine, or a tar, into a container. Raises PycomposeError, OSError."""
    with _root(places, container) as root:
        owner = container_root.owner(root, places.container(container.id)) if manner.archive else None
        container_files.copy_in(root, container.name, source, target, owner, manner)


def copy_out(
    places: ProjectPlaces, container: ObservedContainer, source: str, target: str | IO[bytes], manner: CopyManner
) -> None:
    """Copy a path of a container to a path of this machine, or as a tar. Raises PycomposeError, OSError."""
    with _root(places, container) as root:
        container_files.copy_out(root, container.name, source, target, manner)


def sync(
    places: ProjectPlaces,
    container: ObservedContainer,
    paths: Sequence[SyncedPath],
    passed_over: Callable[[str], None] = lambda _: None,
) -> None:
    """Make paths in a container as they are here, its user's if it has one. Raises PycomposeError, OSError."""
    with _root(places, container) as root:
        owner = container_root.owner(root, places.container(container.id))
        container_sync.sync(root, container.name, paths, owner, passed_over)


@contextmanager
def _root(places: ProjectPlaces, container: ObservedContainer) -> Iterator[int]:
    """The container's root, of its process or mounted for this."""
    if container.status in ("running", "paused") and container.pid:
        with container_root.running_root(container.pid) as root:
            _check_still(places, container)
            yield root
        return
    if container.status == "restarting":
        raise CopyFailed(f"container {container.name} is restarting", hint="wait until it runs, or stop it")
    with session.locked(places):
        _check_still(places, container)
        with container_root.stopped_root(places.container(container.id)) as root:
            yield root


def _check_still(places: ProjectPlaces, container: ObservedContainer) -> None:
    """Raises CopyFailed where the container has started, ended or gone since it was looked at."""
    now = next((one for one in observe.containers(places) if one.id == container.id), None)
    if now is None or now.pid != container.pid or now.status != container.status:
        raise CopyFailed(f"container {container.name} has just changed its state", hint="try again")


def replayed(source: IO[bytes], times: int, folder: str) -> Sequence[IO[bytes]]:
    """The stream as often as it is wanted: itself, or copies of a file without a name that holds it. Raises OSError."""
    if times == 1:
        return [source]
    import shutil
    import tempfile

    files: list[IO[bytes]] = []
    kept = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it ends with the command
    shutil.copyfileobj(source, kept)
    for _ in range(times):
        files.append(open(f"/proc/self/fd/{kept.fileno()}", "rb"))  # noqa: SIM115
    kept.close()
    return files
