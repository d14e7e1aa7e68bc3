"""Removal of a file or a folder inside a container, of which other mounts are no part.

Rules: what lies below is somebody else's and may change meanwhile: no link is followed, and a folder is acted on as the
descriptor that was opened. A mount point stays, and the folders above it: the container was given what is mounted
there, and whoever removes a mount point from another mount namespace takes the mount away from the container (man 2
rename, EBUSY, which is about one's own namespace alone).
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import closing

from pycompose.runtime.files.descent import FOLDER, Descent
from pycompose.runtime.linux import syscalls

_HERE = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_XDEV
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def is_mount_point(parent: int, name: str) -> bool:
    """Whether something is mounted on a name of an open folder, in the mount namespace that this folder is of."""
    try:
        os.close(syscalls.openat2(parent, name, _LOOK, _HERE))
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno == errno.EXDEV:
            return True
        raise
    return False


def remove_inside(parent: int, name: str) -> None:
    """Remove what is at a name of an open folder, however deep it is, but for what is mounted there. Raises OSError."""
    with closing(Descent(parent, _opened)) as way:
        names: list[str] = []  # of the folders that one is in, from `parent` down
        left = [[name]]  # what is still to be removed, in `parent` and in each of them
        while left:
            if left[-1]:
                entry = left[-1].pop()
                if _entered(way, entry):
                    names.append(entry)
                    left.append(_listed(way.folder))
                continue
            left.pop()
            if names:
                way.leave()
                _remove_empty(way.folder, names[way.depth])
                del names[way.depth :], left[way.depth + 1 :]  # more than one where a folder has been moved away


def _opened(parent: int, name: str) -> int:
    return syscalls.openat2(parent, name, FOLDER, _HERE)


def _entered(way: Descent, name: str) -> bool:
    """Whether one is in a folder of that name now; what is none is removed, and what is mounted left alone."""
    try:
        if is_mount_point(way.folder, name):
            return False
        if stat.S_ISDIR(os.stat(name, dir_fd=way.folder, follow_symlinks=False).st_mode):
            way.enter(name)
            return True
        os.unlink(name, dir_fd=way.folder)
    except FileNotFoundError:
        pass
    return False


def _listed(folder: int) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:  # the folder itself has gone meanwhile
        return []


def _remove_empty(parent: int, name: str) -> None:
    """A mount below it, or somebody who writes to it, lets it stay."""
    try:
        os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
            raise
