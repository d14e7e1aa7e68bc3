"""Removing a whole folder whose content nobody vouches for. Rules: synchronous, standard library only.

`shutil.rmtree` goes as deep as the tree, and an image or a container can make one deeper than Python's stack or longer
than a path may be. Here every folder found is first moved to the top, so no path grows and nothing recurses.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def discard(path: str, aside: str = "") -> None:
    """Remove the folder at `path`, first from sight: by a rename into `aside` (a folder of the same file system).

    Nothing happens if there is none. Raises OSError.
    """
    place = aside or os.path.dirname(path.rstrip("/")) or "."
    if not os.path.lexists(path):
        return
    top = tempfile.mkdtemp(prefix=".gone-", dir=place)
    try:
        os.rename(path, f"{top}/0")
    except FileNotFoundError:
        os.rmdir(top)
        return
    except OSError:
        os.rmdir(top)
        raise
    empty(top)
    os.rmdir(top)


def empty(top: str) -> None:
    """Remove everything in the folder `top`, which nobody else uses."""
    root = os.open(top, _FOLDER)
    try:
        pending, count = list(os.listdir(root)), 0
        while pending:
            name = pending.pop()
            try:
                folder = os.open(name, _FOLDER, dir_fd=root)
            except NotADirectoryError:
                os.unlink(name, dir_fd=root)
                continue
            except OSError:  # ELOOP: a link
                os.unlink(name, dir_fd=root)
                continue
            try:
                with os.scandir(folder) as entries:
                    children = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
                for inner, is_folder in children:
                    if is_folder:
                        with suppress(OSError):  # else it cannot take a new parent (man 2 rename, EACCES)
                            os.chmod(inner, 0o700, dir_fd=folder)
                        count += 1
                        moved = f".{count}.{os.getpid()}"
                        os.rename(inner, moved, src_dir_fd=folder, dst_dir_fd=root)
                        pending.append(moved)
                    else:
                        os.unlink(inner, dir_fd=folder)
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=root)
    finally:
        os.close(root)
