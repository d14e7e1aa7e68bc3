"""Removing a whole folder whose content nobody vouches for. Rules: synchronous, standard library only.

`shutil.rmtree` goes as deep as the tree, and an image or a container can make one deeper than Python's stack or longer
than a path may be. Here every folder is first moved to the top, so no path grows and nothing recurses. Others may write
to the tree meanwhile: no link is followed, what was opened is made ours alone, and what they put there is removed too.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from pycompose.shortages import FULL

from .descent import FOLDER, set_mode

ROUNDS = 10_000  # how often all folders together may be found not empty, after they were emptied


def discard(path: str, aside: str = "") -> None:
    """Remove what is at `path`, first from sight: by a rename into `aside` (a folder of the same file system).

    Nothing happens if there is nothing. Raises OSError.
    """
    place = aside or os.path.dirname(path.rstrip("/")) or "."
    if not os.path.lexists(path):
        return
    import tempfile  # 5 ms, and most commands remove nothing

    try:
        top = tempfile.mkdtemp(prefix=".gone-", dir=place)
    except OSError as error:
        if error.errno not in FULL:
            raise
        _remove_in_place(path)
        return
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


def _remove_in_place(path: str) -> None:
    """Where there is no room for a folder to put it aside into, which a removal must not need."""
    if os.path.isdir(path) and not os.path.islink(path):
        empty(path)
        os.rmdir(path)
    else:
        os.unlink(path)


def drop(parent: int, name: str) -> bool:
    """Remove what is at a name of an open folder, if there is anything. Raises OSError."""
    try:
        kind = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(kind):
        discard(f"/proc/self/fd/{parent}/{name}", f"/proc/self/fd/{parent}")
    else:
        os.unlink(name, dir_fd=parent)
    return True


def empty(top: str) -> None:
    """Remove everything in the folder `top`, which is the caller's alone; what is in it need not be. Raises OSError."""
    root = os.open(top, FOLDER)
    try:
        pending, count, rounds = os.listdir(root), 0, ROUNDS
        while pending:
            name = pending.pop()
            try:
                folder = _ours(root, name)
            except OSError:  # ENOTDIR, ELOOP: a file or a link
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=root)
                continue
            try:
                count = _flatten(folder, root, pending, count)
            finally:
                os.close(folder)
            try:
                os.rmdir(name, dir_fd=root)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or rounds == 0:
                    raise
                rounds -= 1
                pending.append(name)  # somebody who has it open wrote to it
    finally:
        os.close(root)


def _ours(root: int, name: str) -> int:
    """A folder, open, that nobody else may open or write to by its owner's or its mode's leave."""
    if os.geteuid():
        with suppress(OSError):
            set_mode(root, name, 0o700)
    folder = os.open(name, FOLDER, dir_fd=root)
    with suppress(OSError):  # a file system without owners or modes
        os.fchown(folder, os.geteuid(), -1)
        os.fchmod(folder, 0o700)
    return folder


def _flatten(folder: int, root: int, pending: list[str], count: int) -> int:
    """Remove the files in `folder` and move the folders in it to the top; the next free number of those."""
    with os.scandir(folder) as entries:
        children = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in children:
        with suppress(FileNotFoundError, IsADirectoryError):  # swapped or gone meanwhile: found again, if it is there
            if not is_folder:
                os.unlink(name, dir_fd=folder)
                continue
            if os.geteuid():
                with suppress(OSError):  # else it cannot take a new parent (man 2 rename, EACCES)
                    set_mode(folder, name, 0o700)
            with suppress(OSError):  # most are empty: all but one of the ten calls are saved
                os.rmdir(name, dir_fd=folder)
                continue
            count += 1
            moved = f".{count}.{os.getpid()}"
            os.rename(name, moved, src_dir_fd=folder, dst_dir_fd=root)
            pending.append(moved)
    return count
