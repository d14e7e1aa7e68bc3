"""A writer of entries below a folder, which a container may change meanwhile: its own, or the caller's.

Rules: a folder on the way is opened without following links, or, for an archive that goes into a container, with links
resolved in its root; each file is written beside its place and renamed there, so that it is whole or not there; what is
written is never opened by a name that others could have put something else at. No device is made: on this machine it
would be the container's way to a disk, in a container it is none of the devices that it was given. What becomes the
caller's has no set-id bits and no capabilities, as with cp(1): what a container made would run as the caller.
As docker does: a folder is not replaced by something else, nor something else by a folder; unless `replacing`, and then
a link in the place of a folder stays, for what is below may be meant to go where it leads.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO

from pycompose.runtime.files.descent import FOLDER, deepest_there, set_mode
from pycompose.runtime.files.ordered_walk import INSIDE as BENEATH
from pycompose.runtime.linux import syscalls

from .container_root import INSIDE as IN_ROOT
from .copy_errors import CopyFailed
from .inside_removal import is_mount_point, remove_inside
from .tree_entries import CopyEntry

PIECE = 1 << 20
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_IN_PLACE = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_RIGHTS = "security.capability"
Owner = tuple[int, int] | None  # None: whoever calls


class TreeWriter:
    """Writes below the folder `top`, an open descriptor that stays the caller's.

    `owner` says whose each entry is. `root` and `place`: links on the way are resolved in that root, where `top` is
    at `place`. `passed_over` is told of each entry that is not written; `progress` of bytes. `replacing`: what is of
    another kind is removed first.
    """

    def __init__(
        self,
        top: int,
        owner: Callable[[CopyEntry], Owner],
        *,
        root: int = -1,
        place: str = "",
        passed_over: Callable[[str], None] = lambda _: None,
        progress: Callable[[int], None] | None = None,
        replacing: bool = False,
    ) -> None:
        self._replacing = replacing
        self._top, self._owner, self._root, self._place = top, owner, root, place
        self._passed_over, self._progress = passed_over, progress
        self._folders: list[CopyEntry] = []
        self._above: tuple[str, ...] = ()
        self._parent = os.dup(top)

    def put(self, entry: CopyEntry) -> None:
        """Raises CopyFailed, OSError."""
        if not entry.path:
            return  # the folder that is copied into stays as it is
        parent, name = self._open_parent(entry.path[:-1]), entry.path[-1]
        kind = 0 if entry.twin is not None else stat.S_IFMT(entry.mode)
        if not self._makes_room(parent, name, entry, kind):
            return
        match kind:
            case stat.S_IFDIR:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=parent)
                self._folders.append(entry)
            case stat.S_IFREG:
                self._put_file(parent, name, entry)
            case stat.S_IFCHR | stat.S_IFBLK:
                self._passed_over(f"{entry.name}: devices are not copied")
            case _:
                self._put_other(parent, name, entry, kind)

    def finish(self) -> None:
        """Owner, mode and time of folders, at last, for what is put into one changes its time. Raises OSError."""
        for entry in reversed(self._folders):
            try:
                folder = os.open(entry.path[-1], FOLDER, dir_fd=self._open_parent(entry.path[:-1]))
            except OSError:
                continue  # somebody took it away
            try:
                self._put_on(folder, entry)
            finally:
                os.close(folder)

    def close(self) -> None:
        os.close(self._parent)

    def _open_parent(self, above: tuple[str, ...]) -> int:
        if above != self._above:
            folder = self._folder(above)
            os.close(self._parent)
            self._parent, self._above = folder, above
        return self._parent

    def _folder(self, parts: tuple[str, ...]) -> int:
        """Open, and made where it is missing."""
        folder, there = deepest_there(parts, self._opened)
        for name in parts[there:]:
            try:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=folder)
                below = os.open(name, FOLDER, dir_fd=folder)
            finally:
                os.close(folder)
            folder = below
        return folder

    def _opened(self, parts: Sequence[str]) -> int:
        if self._root >= 0:
            path = "/".join((self._place, *parts)) or "/"
            return syscalls.openat2(self._root, path, FOLDER & ~os.O_NOFOLLOW, IN_ROOT)
        return syscalls.openat2(self._top, "/".join(parts) or ".", FOLDER, BENEATH)

    def _makes_room(self, parent: int, name: str, entry: CopyEntry, kind: int) -> bool:
        """Whether the entry is written. Raises CopyFailed for one of another kind than what is there."""
        try:
            there = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return True
        if stat.S_ISDIR(there.st_mode) == (kind == stat.S_IFDIR):
            return True
        if self._replacing:
            if stat.S_ISLNK(there.st_mode):
                return False
            remove_inside(parent, name)
            return True
        if kind != stat.S_IFDIR:
            raise CopyFailed(f'cannot overwrite directory "{entry.name}" with non-directory')
        raise CopyFailed(f'cannot overwrite non-directory "{entry.name}" with directory')

    def _put_file(self, parent: int, name: str, entry: CopyEntry) -> None:
        assert entry.content is not None
        beside = _beside(name)
        file = os.open(beside, _NEW, 0o600, dir_fd=parent)
        try:
            self._copy(entry.content, file, entry.size)
            self._put_on(file, entry)
            if not is_mount_point(parent, name):
                os.rename(beside, name, src_dir_fd=parent, dst_dir_fd=parent)
                return
            _overwrite(parent, name, file)  # such as /etc/hosts: a rename would take the mount away from the container
            os.unlink(beside, dir_fd=parent)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside, dir_fd=parent)
            raise
        finally:
            os.close(file)

    def _copy(self, content: IO[bytes], file: int, size: int) -> None:
        """`size` bytes, with zeros for what is cut off meanwhile; by the kernel where it is a file."""
        left = size
        descriptor = content.fileno() if isinstance(content, io.FileIO) else -1
        while left > 0:
            if descriptor >= 0:
                count = os.sendfile(file, descriptor, None, min(left, PIECE << 2))
            else:
                piece = content.read(min(left, PIECE))
                count = len(piece)
                while piece:
                    piece = piece[os.write(file, piece) :]
            if not count:
                os.ftruncate(file, size)
                return
            left -= count
            if self._progress is not None:
                self._progress(count)

    def _put_other(self, parent: int, name: str, entry: CopyEntry, kind: int) -> None:
        if is_mount_point(parent, name):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name)
        beside = _beside(name)
        try:
            if entry.twin is not None:
                self._link(entry, parent, beside)
            elif kind == stat.S_IFLNK:
                os.symlink(entry.link, beside, dir_fd=parent)
            else:
                os.mknod(beside, stat.S_IFIFO | 0o600, dir_fd=parent)
            if entry.twin is None:
                owner = self._owner(entry)
                if owner is not None:
                    os.chown(beside, *owner, dir_fd=parent, follow_symlinks=False)
                if kind != stat.S_IFLNK:
                    set_mode(parent, beside, self._mode(entry, owner))
                times = (entry.mtime_ns, entry.mtime_ns)
                os.utime(beside, ns=times, dir_fd=parent, follow_symlinks=False)
            os.rename(beside, name, src_dir_fd=parent, dst_dir_fd=parent)
        finally:
            with suppress(OSError):  # rename leaves it where both are one file already
                os.unlink(beside, dir_fd=parent)

    def _link(self, entry: CopyEntry, parent: int, beside: str) -> None:
        assert entry.twin is not None
        try:
            at = self._opened(entry.twin[:-1])
            try:
                os.link(entry.twin[-1], beside, src_dir_fd=at, dst_dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(at)
        except FileNotFoundError as error:
            raise CopyFailed(f"{entry.name}: a hard link to {'/'.join(entry.twin)}, which is not there") from error

    def _put_on(self, descriptor: int, entry: CopyEntry) -> None:
        """Owner, mode, attributes and time, in the order that loses none."""
        if (owner := self._owner(entry)) is not None:
            os.fchown(descriptor, *owner)
        os.fchmod(descriptor, self._mode(entry, owner))
        for name, value in entry.attributes:
            if owner is not None or name != _RIGHTS:
                with suppress(OSError):
                    os.setxattr(descriptor, name, value)
        os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))

    @staticmethod
    def _mode(entry: CopyEntry, owner: Owner) -> int:
        """Without set-id bits where it becomes the caller's: any user of this machine could run it as them."""
        mode = stat.S_IMODE(entry.mode)
        return mode if owner is not None else mode & ~(stat.S_ISUID | stat.S_ISGID)


def _beside(name: str) -> str:
    return f".{name[:100]}.{secrets.token_hex(4)}"


def _overwrite(parent: int, name: str, source: int) -> None:
    """Put the bytes of `source` into a regular file that is there."""
    target = os.open(name, _IN_PLACE, dir_fd=parent)
    try:
        if not stat.S_ISREG(os.fstat(target).st_mode):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name)
        os.ftruncate(target, 0)
        left, offset = os.fstat(source).st_size, 0
        while offset < left and (count := os.sendfile(target, source, offset, left - offset)):
            offset += count
    finally:
        os.close(target)
