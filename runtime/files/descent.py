"""A way through a tree that others write to, by descriptors alone: down by a name, up again, however deep.

Rules: a name is opened below an open folder and never followed as a link (O_NOFOLLOW); what is acted on is what was
opened, not what lies at the name by then; a file is read only once it is known to be a regular one, for a FIFO would
never be open and a device might act. Nothing recurses, and one descriptor is held however deep the tree is.
Synchronous, standard library only. It does not list or copy: `remove` and `union` do.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTRY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_folder(parent: int, name: str) -> int:
    """The folder at a name. Raises OSError: NotADirectoryError for what is none, ELOOP for a link."""
    return os.open(name, FOLDER, dir_fd=parent)


def deepest_there(parts: Sequence[str], opened: Callable[[Sequence[str]], int]) -> tuple[int, int]:
    """The last folder that is there of a row, each in the one before, and how many of the names lead to it.

    `opened` opens the folder to which names lead; none is the top. Raises OSError where that is not there either.
    """
    there = len(parts)
    while True:
        try:
            return opened(parts[:there]), there
        except FileNotFoundError:
            if not there:
                raise
            there -= 1


class Descent:
    """A place in the tree at `root` (a descriptor that stays the caller's): `folder` is the folder that one is in.

    `opened` is how a folder below an open one is opened, for callers that go into fewer than are there.
    """

    def __init__(self, root: int, opened: Callable[[int, str], int] = open_folder) -> None:
        self._opened = opened
        self._root, self._above = root, list[tuple[str, os.stat_result]]()  # names down from the root, and whence
        self.folder = os.dup(root)

    @property
    def depth(self) -> int:
        return len(self._above)

    def enter(self, name: str) -> None:
        """Go down. Raises OSError: NotADirectoryError for what is no folder, ELOOP for a link."""
        here = os.fstat(self.folder)
        below = self._opened(self.folder, name)
        os.close(self.folder)
        self.folder = below
        self._above.append((name, here))

    def leave(self) -> None:
        """Go up: to the folder that this one was entered from, or, where that is not above it any more (somebody moved
        it), to the lowest one on the way there that is still at its place."""
        _, status = self._above.pop()
        above = os.open("..", FOLDER, dir_fd=self.folder)
        if os.path.samestat(os.fstat(above), status):
            self._stand(above)
            return
        os.close(above)
        names, self._above = self._above, []
        self._stand(os.dup(self._root))
        for (name, here), there in zip(names, [*(status for _, status in names[1:]), status], strict=True):
            try:
                below = self._opened(self.folder, name)
            except OSError:
                return
            self._stand(below)
            self._above.append((name, here))
            if not os.path.samestat(os.fstat(below), there):
                self.leave()
                return

    def _stand(self, folder: int) -> None:
        os.close(self.folder)
        self.folder = folder

    def close(self) -> None:
        os.close(self.folder)


def open_regular(parent: int, name: str) -> int:
    """The regular file at a name, open for reading. Raises OSError: EINVAL for anything else, which is not opened."""
    entry = os.open(name, _ENTRY, dir_fd=parent)
    try:
        return open_entry(entry)
    finally:
        os.close(entry)


def open_beneath(top: str, path: str) -> int:
    """What is at a path of the folder `top`, opened with O_PATH. Links in the path may lead anywhere but out of `top`.

    Raises OSError: EXDEV for those that do (man 2 openat2, RESOLVE_BENEATH).
    """
    from pycompose.runtime.linux import syscalls  # with ctypes 2 ms, for commands that only remove

    folder = os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        inside = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_MAGICLINKS
        return syscalls.openat2(folder, os.path.relpath(path, top), os.O_PATH, inside)
    except OSError as error:
        reason = f"a link in it leads out of {top}" if error.errno == errno.EXDEV else error.strerror
        raise OSError(error.errno, reason, path) from None
    finally:
        os.close(folder)


def make_beneath(top: str, path: str) -> None:
    """Make a folder, and those above it, below the folder `top` and not where a link leads out. Raises OSError."""
    try:
        os.close(open_beneath(top, path))
    except FileNotFoundError:
        parent, name = os.path.split(path)
        if os.path.relpath(parent, top) != ".":
            make_beneath(top, parent)
        above = open_beneath(top, parent)
        try:
            os.mkdir(name, dir_fd=above)
        finally:
            os.close(above)


def open_entry(entry: int) -> int:
    """For reading, a regular file that was opened with O_PATH. Raises OSError: EINVAL for anything else."""
    if not stat.S_ISREG(os.fstat(entry).st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    return os.open(f"/proc/self/fd/{entry}", _READ)


def read_regular(entry: int, largest: int) -> bytes:
    """The content of a regular file that was opened with O_PATH, of at most `largest` bytes; read once, and no further
    than its size: files of procfs have none, and may not end. Raises OSError: EINVAL for anything else, EFBIG.
    """
    with open(open_entry(entry), "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size > largest:
            raise OSError(errno.EFBIG, f"it is larger than {largest} bytes")
        content = b""
        while len(content) < size and (piece := file.read(size - len(content))):
            content += piece
        return content


def set_mode(parent: int, name: str, mode: int) -> None:
    """Permission bits of what is at a name; of a link never, nor of what it leads to. Raises OSError.

    fchmodat follows links in every kernel before 6.6, so the entry is opened first, which opens no device and no FIFO.
    """
    entry = os.open(name, _ENTRY, dir_fd=parent)
    try:
        if stat.S_ISLNK(os.fstat(entry).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
        os.chmod(f"/proc/self/fd/{entry}", mode)  # the link of procfs leads to what was opened (man 5 proc)
    finally:
        os.close(entry)


def make_folder(name: str, mode: int, parent: int | None = None) -> int:
    """A new folder with exactly this mode, whatever the umask is; open. Raises OSError: FileExistsError."""
    os.mkdir(name, mode & 0o700, dir_fd=parent)
    folder = os.open(name, FOLDER, dir_fd=parent)
    os.fchmod(folder, mode)
    return folder
