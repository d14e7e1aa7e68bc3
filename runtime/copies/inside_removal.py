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
from contextlib import suppress

from pycompose.runtime.files.descent import FOLDER
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


def remove_inside(parent: int, name: str) -> bool:
    """Remove what is at a name of an open folder; whether it is gone. Raises OSError."""
    try:
        if is_mount_point(parent, name):
            return False
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=parent)
            return True
        folder = syscalls.openat2(parent, name, FOLDER, _HERE)
    except FileNotFoundError:
        return True
    try:
        with suppress(FileNotFoundError):  # the folder itself has gone meanwhile
            for inner in os.listdir(folder):
                remove_inside(folder, inner)
    finally:
        os.close(folder)
    try:
        os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
            raise
        return False  # a mount below it, or somebody writes to it
    return True
