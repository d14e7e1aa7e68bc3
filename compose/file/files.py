"""The files of a project: the only module of this folder that reads them. How much is read is bounded.

A file that several others include or extend is read and parsed once. Raises FileError, with the place that names the
file where there is one.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable

from pycompose.compose.model.errors import FileError, Problem
from pycompose.errors import Place, PycomposeError

from .paths import is_elsewhere, is_fetchable, shown
from .source import BYTES, Tree, decode, parse

FILES = 1000
TOTAL = 64 << 20  # bytes
HINTS = {
    errno.ENOENT: "is it there, and is the path right?",
    errno.ENOTDIR: "is the path right?",
    errno.EISDIR: "a file is wanted here",
    errno.EACCES: "may you read it?",
    errno.EPERM: "may you read it?",
    errno.ELOOP: "symbolic links lead in a circle",
}


Fetch = Callable[[str, bool], str]  # what is elsewhere, and whether a file names it -> its path here


class Files:
    """`fetch` brings what is elsewhere here; without it only files of this machine are read.

    `standard_input` is the text of the file "-"; None: it is read.
    """

    def __init__(self, fetch: Fetch | None = None, standard_input: str | None = None) -> None:
        self._fetch, self._standard_input = fetch, standard_input
        self.warnings: list[Problem] = []
        self._documents: dict[str, list[Tree]] = {}
        self._texts: dict[str, str] = {}
        self._digests: dict[str, str | None] = {}
        self._bytes = 0

    def local(self, name: str, directory: str, named_at: Place | None = None) -> str:
        """The path of a compose file that is named in `directory`, or is elsewhere."""
        if not is_elsewhere(name):
            return os.path.normpath(os.path.join(directory, os.path.expanduser(name)))
        if self._fetch is None or not is_fetchable(name):
            verb = "included" if named_at else "read"
            kinds = "files of this machine, of registries (oci://…) and of git repositories"
            raise _fail(
                f'"{shown(name)}" cannot be {verb}: only {kinds} can', named_at, "remote", "fetch it, and name the file"
            )
        try:
            return self._fetch(name, named_at is not None)
        except PycomposeError as error:
            raise _fail(error.message, named_at, "remote", error.hint) from error

    def documents(self, path: str, named_at: Place | None = None) -> list[Tree]:
        """The YAML documents of a file; "-" is standard input."""
        if path not in self._documents:
            content = self.text(path, named_at)
            self._documents[path] = parse(content, "stdin" if path == "-" else path, self.warnings)
        return self._documents[path]

    def text(self, path: str, named_at: Place | None = None) -> str:
        if path in self._texts:
            return self._texts[path]
        if len(self._texts) >= FILES:
            raise _fail(f"the project has more than {FILES} files", named_at, "too-many", "include fewer of them")
        try:
            if path == "-" and self._standard_input is not None:
                data = self._standard_input.encode()
            elif path == "-":
                data = sys.stdin.buffer.read(BYTES + 1)
            else:
                with open(path, "rb", buffering=0) as stream:
                    data = _read(stream.fileno())
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise _fail(f"open {path}: {reason}", named_at, "file", HINTS.get(error.errno or 0, "")) from error
        except ValueError as error:  # a NUL in the path
            raise _fail(f"{path!r} cannot be a path", named_at, "file", "no path has a zero byte in it") from error
        self._bytes += len(data)
        if self._bytes > TOTAL:
            message = f"the project's files are larger than {TOTAL >> 20} MiB"
            raise _fail(message, named_at, "too-large", "is one of them no compose file?")
        self._texts[path] = decode(data, "stdin" if path == "-" else path)
        return self._texts[path]

    def digest(self, path: str) -> str | None:
        """The sha256 of a file's bytes, however many; None of what is no file or cannot be read: its user will tell."""
        if path not in self._digests:
            self._digests[path] = _digest(path)
        return self._digests[path]


def _digest(path: str) -> str | None:
    import hashlib  # 2 ms, for files with configs or secrets of files

    try:  # not to wait for somebody at the other end of a FIFO
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                return None
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, ValueError):
        return None


def _read(fd: int) -> bytes:
    parts, length = [], 0
    while length <= BYTES and (part := os.read(fd, 1 << 20)):
        parts.append(part)
        length += len(part)
    return b"".join(parts)


def _fail(message: str, at: Place | None, code: str, hint: str) -> FileError:
    return FileError((Problem(message, at, hint, code),))
