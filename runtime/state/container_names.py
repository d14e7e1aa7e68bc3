"""Names of containers: on this machine each belongs to one container of one project.

A name is a symbolic link that is made exclusively and says PROJECT/ID. It counts while that container has a folder; the
link of one that is gone is taken over, by one process at a time. A name too long for a file stands under its digest.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import suppress

from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass
from pycompose.runtime.places import Places

LONGEST = 200  # bytes
SHORTEST_ID = 12  # hex digits by which a container is known too


@dataclass(frozen=True, slots=True)
class NameHolder:
    project: str
    id: str


class NameInUse(PycomposeError):
    """A container of this machine has the name already: `holder` says which."""

    def __init__(self, name: str, holder: NameHolder) -> None:
        whose = f'container {holder.id[:SHORTEST_ID]} of project "{holder.project}"'
        hint = f'give one of them another container_name, or end that one: pycompose -p "{holder.project}" down'
        super().__init__(f'container name "{name}" is already in use by {whose}', hint=hint)
        self.name, self.holder = name, holder


def claim(roots: Places, name: str, project: str, container_id: str) -> None:
    """Give a container, whose folder is there, a name. Raises NameInUse."""
    os.makedirs(roots.names, mode=0o700, exist_ok=True)
    path, text = _path(roots, name), f"{project}/{container_id}"
    try:
        os.symlink(text, path)
        return
    except FileExistsError:
        pass
    folder = os.open(roots.names, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        holder = find(roots, name)
        if holder is not None and holder != NameHolder(project, container_id):
            raise NameInUse(name, holder)
        os.symlink(text, f"{roots.names}/.{container_id}")
        os.rename(f"{roots.names}/.{container_id}", path)
    finally:
        os.close(folder)


def keep(roots: Places, name: str, project: str, container_id: str) -> None:
    """Write down a name that a container has since before names were written down; waits for nobody."""
    with suppress(OSError):
        os.makedirs(roots.names, mode=0o700, exist_ok=True)
        os.symlink(f"{project}/{container_id}", _path(roots, name))


def release(roots: Places, name: str, container_id: str) -> None:
    """Take the name of a container away, if it has that."""
    path = _path(roots, name)
    with suppress(FileNotFoundError):
        if os.readlink(path).endswith(f"/{container_id}"):
            os.unlink(path)


def find(roots: Places, name: str) -> NameHolder | None:
    """Whose name that is; None if it is nobody's."""
    try:
        project, _, container_id = os.readlink(_path(roots, name)).partition("/")
    except OSError:
        return None
    there = os.path.isdir(roots.project(project).container(container_id))
    return NameHolder(project, container_id) if there else None


def find_id(roots: Places, prefix: str) -> NameHolder | None:
    """The container with an id that begins so, in at least 12 digits; None if there is none, or several."""
    if len(prefix) < SHORTEST_ID or not set(prefix) <= set("0123456789abcdef"):
        return None
    holders = []
    for project in os.listdir(roots.projects) if os.path.isdir(roots.projects) else ():
        with suppress(FileNotFoundError, NotADirectoryError):
            ids = os.listdir(roots.project(project).containers)
            holders += [NameHolder(project, one) for one in ids if one.startswith(prefix)]
    return holders[0] if len(holders) == 1 else None


def _path(roots: Places, name: str) -> str:
    encoded = name.encode("utf-8", "surrogateescape")
    return f"{roots.names}/{name if len(encoded) <= LONGEST else hashlib.sha256(encoded).hexdigest()}"
