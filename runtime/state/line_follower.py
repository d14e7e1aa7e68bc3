"""Following files of lines as they grow, by inotify: rotated ones, emptied ones, and ones that are not there yet.

A file `x` is rotated to `x.1`, `x.2`, …; each is read to its end before the next, so no line is lost or doubled. A line
that has no end yet is kept back until it has. Nothing here waits: while it is `idle`, `fileno` becomes readable as soon
as there is something to do. Rule: a change in a watched folder is told apart from a line that came, for it is dearer
to look into.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

from pycompose.errors import PycomposeError
from pycompose.runtime.linux import syscalls

BLOCK = 1 << 20  # bytes read at once
EVENT = struct.Struct("iIII")  # man 7 inotify: wd, mask, cookie, length of the name
IN_MODIFY, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF = 0x2, 0x80, 0x100, 0x200, 0x400
IN_Q_OVERFLOW, IN_IGNORED, IN_ONLYDIR = 0x4000, 0x8000, 0x01000000
OF_FOLDER = IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_ONLYDIR

Start = tuple[str, int]  # a file and an offset in it


def files(path: str) -> list[str]:
    """The file's rotations and itself, oldest first."""
    older: list[str] = []
    while os.path.exists(f"{path}.{len(older) + 1}"):
        older.append(f"{path}.{len(older) + 1}")
    return [*reversed(older), path]


class LineFollower:
    """Any number of files over one inotify instance."""

    def __init__(self) -> None:
        try:
            self._inotify = syscalls.inotify()
        except OSError as error:
            hint = "raise fs.inotify.max_user_instances, or the limit of open files (`ulimit -n`)"
            raise PycomposeError(f"no file can be followed: {error.strerror}", hint=hint) from error
        self._files: dict[str, _Followed] = {}
        self._folders: dict[str, int] = {}  # wanted folder -> its watch, -1 where an ancestor is watched instead
        self._paths: dict[int, str] = {}  # watch -> what it watches
        self._keys: dict[int, str] = {}  # watch of a file -> its key
        self._changed: set[str] = set()  # keys of files that have something new
        self._folder_changed = False

    def add(self, key: str, path: str, start: Start | None = None) -> None:
        """Follow `path` from `start`; None is its end now, or its beginning where it is not there yet."""
        self.watch(os.path.dirname(path))
        self._files[key] = _Followed(path, start)
        self._changed.add(key)

    def remove(self, key: str) -> None:
        if (followed := self._files.pop(key, None)) is not None:
            followed.close()
            folder = os.path.dirname(followed.path)
            if all(os.path.dirname(other.path) != folder for other in self._files.values()):
                self.unwatch(folder)

    def unwatch(self, folder: str) -> None:
        self._folders.pop(folder, None)

    def watch(self, folder: str) -> None:
        """Be woken when an entry of `folder` comes, goes or is replaced; it need not be there."""
        if self._folders.get(folder, -1) < 0:
            self._folders[folder] = self._placed(folder)

    def _placed(self, folder: str) -> int:
        """Its parent is watched as well: some file systems tell late, or not at all, that a folder itself is gone."""
        while True:
            above, missing = folder, ""
            while (watch := self._add(above, OF_FOLDER)) < 0:
                above, missing = os.path.dirname(above), above
            self._add(os.path.dirname(above), OF_FOLDER)
            if not missing:
                return watch
            if not os.path.exists(missing):
                return -1

    def _add(self, path: str, mask: int) -> int:
        try:
            watch = syscalls.inotify_add(self._inotify, path, mask)
        except (FileNotFoundError, NotADirectoryError):
            return -1
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            hint = "raise fs.inotify.max_user_watches"  # it is no disk that is full
            raise PycomposeError(f"{path} cannot be followed: this user has no watches left", hint=hint) from error
        self._paths[watch] = path
        return watch

    def fileno(self) -> int:
        return self._inotify

    def folder_changed(self) -> bool:
        """Whether an entry of a watched folder came, went or was replaced since the last time."""
        self._hear()
        changed, self._folder_changed = self._folder_changed, False
        return changed

    def idle(self) -> bool:
        """Whether all that happened was asked for; only then is `fileno` to be waited for.

        Asking for one thing hears of the others too, and what was heard of makes `fileno` readable no more.
        """
        self._hear()
        return not self._folder_changed and not self._changed

    def _hear(self) -> None:
        """Take note of what woke us."""
        changed = False
        with suppress(BlockingIOError):
            while data := os.read(self._inotify, 1 << 16):
                at = 0
                while at < len(data):
                    watch, mask, _, length = EVENT.unpack_from(data, at)
                    name = os.fsdecode(data[at + EVENT.size : at + EVENT.size + length].rstrip(b"\0"))
                    at += EVENT.size + length
                    if mask & IN_MODIFY:
                        self._changed.update([self._keys[watch]] if watch in self._keys else [])
                        continue
                    changed = True
                    entry = f"{self._paths.get(watch, '')}/{name}"
                    if entry in self._folders:  # it came, went or was replaced
                        self._folders[entry] = -1
                    if mask & IN_IGNORED:
                        self._keys.pop(watch, None)
                        self._paths.pop(watch, None)
        if changed:
            self._changed.update(self._files)
            self._folder_changed = True
            for folder in [f for f, one in self._folders.items() if one < 0]:
                self.watch(folder)

    def new(self, key: str | None = None) -> Iterator[tuple[str, bytes]]:
        """(key, whole lines) of everything that has come since the last time, of all files or of one."""
        self._hear()
        for one in [key] if key is not None else list(self._changed):
            self._changed.discard(one)
            if (followed := self._files.get(one)) is None:
                continue
            for block in followed.new():
                yield one, block
            while (path := followed.unwatched()) is not None:
                if (watch := self._add(path, IN_MODIFY)) >= 0:
                    self._keys[watch] = one
                for block in followed.new():  # what came before the watch
                    yield one, block

    def close(self) -> None:
        for followed in self._files.values():
            followed.close()
        self._files.clear()
        os.close(self._inotify)


class _Followed:
    """One file: which of its rotations is open, and what of a line is there."""

    def __init__(self, path: str, start: Start | None) -> None:
        self.path, self._left, self._watched = path, b"", False
        self._file: IO[bytes] | None = None
        name, offset = start or (path, -1)
        with suppress(FileNotFoundError):
            self._file = open(name, "rb")  # noqa: SIM115 it is replaced at a rotation
            self._file.seek(max(offset, 0), os.SEEK_SET if offset >= 0 else os.SEEK_END)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def unwatched(self) -> str | None:
        """The path that is to be watched now, once for each file that became the newest."""
        if self._watched or self._file is None or not self._is_newest():
            return None
        self._watched = True
        return self.path

    def _is_newest(self) -> bool:
        assert self._file is not None
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return True  # removed: what is in it can still be read

    def new(self) -> Iterator[bytes]:
        if self._file is None:
            with suppress(FileNotFoundError):
                self._file = open(files(self.path)[0], "rb")  # noqa: SIM115
        while self._file is not None:
            yield from self._rest(self._file)
            if self._is_newest():
                return
            yield from self._rest(self._file)  # what came between the last read and its rotation
            newer = self._newer(self._file)
            if newer is None:
                return
            self._file.close()
            self._file, self._left, self._watched = newer, b"", False

    def _rest(self, file: IO[bytes]) -> Iterator[bytes]:
        size = os.fstat(file.fileno()).st_size
        if size < file.tell():  # emptied; or a keeper's recovery cut off the last chunk, which comes again
            file.seek(0, os.SEEK_SET if size < file.tell() // 2 else os.SEEK_END)
            self._left = b""
        while chunk := file.read(BLOCK):
            whole, newline, self._left = (self._left + chunk).rpartition(b"\n")
            if newline:
                yield whole + newline

    def _newer(self, file: IO[bytes]) -> IO[bytes] | None:
        """The file after this one; names move on while one looks, so what was opened is checked."""
        while True:
            inodes = _inodes(self.path)
            number = inodes.index(inode) + 1 if (inode := os.fstat(file.fileno()).st_ino) in inodes else 0
            if number >= len(inodes):
                return None
            try:
                newer = open(files(self.path)[number], "rb")  # noqa: SIM115
            except (FileNotFoundError, IndexError):
                continue
            if os.fstat(newer.fileno()).st_ino == inodes[number] and _inodes(self.path) == inodes:
                return newer
            newer.close()


def _inodes(path: str) -> list[int]:
    inodes = []
    for name in files(path):
        with suppress(FileNotFoundError):
            inodes.append(os.stat(name).st_ino)
    return inodes
