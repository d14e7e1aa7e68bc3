"""Trees that files are copied out of: a build's context, a stage, an image. Everything by descriptor.

Rules: a path never leads out of its tree, whatever links there are in it: it is resolved here, component by component,
and what is opened is opened without following any. What `.dockerignore` leaves out is not there.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
from collections.abc import Iterator

from pycompose.frozen import dataclass
from pycompose.runtime.linux import syscalls

from .errors import BuildError
from .ignore import NOTHING, Ignore, glob

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
INSIDE = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
_MAX_LINKS = 40
MAX_PATH = 4096


@dataclass(frozen=True, slots=True)
class Tree:
    root: int  # descriptor of its folder; whoever made the tree closes it
    what: str  # for messages: "the build context", "stage build"
    ignore: Ignore = NOTHING
    owned: bool = False  # its files keep their owners and attributes; else they become root's
    path: str = ""  # where it lies, if it is a folder of this machine

    def has(self, path: str) -> bool:
        return not path or path == "." or not self.ignore.leaves_out(path)


@dataclass(frozen=True, slots=True)
class TreeEntry:
    path: str  # in the tree, without links; "" is its root
    name: str  # relative to what was asked for; "" for that itself
    status: os.stat_result


def open_at(tree: Tree, path: str, flags: int = os.O_PATH | os.O_NOFOLLOW) -> int:
    """A descriptor of a path without links."""
    return syscalls.openat2(tree.root, path or ".", flags, INSIDE)


def inner(text: str) -> str:
    """A source as it is written, relative to the root of its tree. Raises BuildError if it leads out of it."""
    depth = 0
    for part in text.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0:
            raise BuildError(f"{text!r} lies outside of what can be copied from", "nothing above its root can be had")
    cleaned = posixpath.normpath("/" + text).lstrip("/")
    return cleaned


def resolve(tree: Tree, path: str) -> str:
    """The path with all links in it resolved, the last one too. Raises FileNotFoundError, OSError."""
    todo, done, links = list(reversed(path.split("/"))), list[str](), 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            done = done[:-1]
            continue
        here = "/".join([*done, part])
        fd = open_at(tree, here)
        try:
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                done.append(part)
                continue
            target = os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)
        links += 1
        if links > _MAX_LINKS or len(todo) > MAX_PATH:
            raise OSError(40, "too many links", path)
        todo += reversed(target.split("/"))
        if target.startswith("/"):
            done = []
    return "/".join(done)


def matches(tree: Tree, pattern: str) -> list[str]:
    """Paths that a source with `*`, `?` or `[…]` means, in order; one without is itself, whether or not it is there."""
    if not any(char in pattern for char in "*?[\\"):
        return [pattern]
    paths = [""]
    for part in pattern.split("/"):
        below = []
        wanted = None if part == "**" else glob(part)
        for path in paths:
            if wanted is None:
                below += [path, *_folders(tree, path)]
                continue
            with (
                contextlib.suppress(FileNotFoundError, NotADirectoryError),
                _listed(tree, resolve(tree, path)) as names,
            ):
                below += [posixpath.join(path, name) for name in names if wanted.fullmatch(name)]
        paths = list(dict.fromkeys(below))
    return [path for path in paths if tree.has(path)]


def _folders(tree: Tree, path: str) -> list[str]:
    return [item.path for item in walk(tree, path) if stat.S_ISDIR(item.status.st_mode) and item.name]


@contextlib.contextmanager
def _listed(tree: Tree, path: str) -> Iterator[list[str]]:
    fd = open_at(tree, path, FOLDER)
    try:
        yield sorted(os.listdir(fd), key=os.fsencode)
    finally:
        os.close(fd)


def walk(tree: Tree, path: str) -> Iterator[TreeEntry]:
    """What is at `path` (which has no links) and below, folders before what is in them, names in order.

    Folders that are left out are walked where something in them may be kept; then they are there, too.
    """
    fd = open_at(tree, path)
    try:
        first = TreeEntry(path, "", os.fstat(fd))
    finally:
        os.close(fd)
    yield first
    if not stat.S_ISDIR(first.status.st_mode):
        return
    pending, held = [first], list[TreeEntry]()
    while pending:
        folder = pending.pop()
        if folder is not first and not tree.has(folder.path):
            held = [one for one in held if folder.path.startswith(one.path + "/")] + [folder]
        elif folder is not first:
            yield from _released(held, folder)
            held = []
            yield folder
        below = []
        fd = open_at(tree, folder.path, FOLDER)
        try:
            for name in sorted(os.listdir(fd), key=os.fsencode):
                whole = f"{folder.path}/{name}" if folder.path else name
                if len(whole) > MAX_PATH:
                    raise BuildError(f"a path is too long: {whole[:100]!r}…")
                entry = TreeEntry(
                    whole,
                    f"{folder.name}/{name}" if folder.name else name,
                    os.stat(name, dir_fd=fd, follow_symlinks=False),
                )
                if stat.S_ISDIR(entry.status.st_mode):
                    if tree.has(whole) or tree.ignore.takes_back:
                        below.append(entry)
                elif tree.has(whole):
                    yield from _released(held, entry)
                    held = []
                    yield entry
        finally:
            os.close(fd)
        pending += reversed(below)


def _released(held: list[TreeEntry], below: TreeEntry) -> Iterator[TreeEntry]:
    """Folders that were left out, and are there all the same because of what is in them."""
    yield from (folder for folder in held if below.path.startswith(folder.path + "/"))
