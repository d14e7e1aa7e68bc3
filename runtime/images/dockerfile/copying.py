"""COPY and ADD of files: which ones, what tells them from others (their digest), and writing them into a root.

Rules: everything by descriptor. The root that is written to may hold any links: a parent is opened inside of it
(openat2 RESOLVE_IN_ROOT), and what is written is made anew, never opened where something lies.
Source: docs.docker.com/reference/dockerfile (COPY); BuildKit's file operations, where that is silent.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import re
import stat
from collections.abc import Callable, Iterator, Sequence

from pycompose.frozen import dataclass
from pycompose.runtime.files.descent import deepest_there, make_folder, set_mode
from pycompose.runtime.images.pack import kept
from pycompose.runtime.linux import syscalls

from . import trees
from .errors import BuildError
from .ignore import NOTHING, Ignore
from .trees import Tree, TreeEntry

Digest = Callable[[Tree, TreeEntry], str]  # of a file's content
IN_ROOT = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Source:
    tree: Tree
    path: str  # without links
    base: str  # its name as it was asked for
    within: tuple[str, ...] = ()  # --parents: the folders that go with it, as paths of the tree, outermost first
    pivot: int = 0  # --parents: how many of a path's parts are left out


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """How files are copied. `dest` is an absolute path, with a "/" at its end if it must be a folder."""

    dest: str
    owner: tuple[int, int] | None = None
    mode: str = ""  # of --chmod, checked
    excludes: Ignore = NOTHING

    @property
    def folder(self) -> bool:
        return self.dest.endswith("/")


def gather(tree: Tree, texts: Sequence[str], *, parents: bool = False) -> list[Source]:
    """The sources that are meant: none, where no file matches a pattern. Raises BuildError for what is not there."""
    sources: list[Source] = []
    for text in texts:
        before, pivot, _ = text.partition("/./") if parents else ("", "", "")
        cut = len([part for part in before.split("/") if part not in ("", ".")]) if pivot else 0
        cleaned = trees.inner(text)
        paths = trees.matches(tree, cleaned)
        for path in paths:
            sources.append(_source(tree, path, text, parents=parents, cut=cut))
    return sources


def _source(tree: Tree, path: str, text: str, *, parents: bool, cut: int) -> Source:
    try:
        real = trees.resolve(tree, path)
        there = tree.has(real)
        if not there and tree.ignore.takes_back:
            fd = trees.open_at(tree, real)
            there = stat.S_ISDIR(os.fstat(fd).st_mode)
            os.close(fd)
    except (FileNotFoundError, NotADirectoryError):
        there = False
    if not there:
        raise BuildError(f"{text!r} is not in {tree.what}", _advice(tree))
    parts = [part for part in path.split("/") if part]
    within = tuple("/".join(parts[: count + 1]) for count in range(cut, len(parts) - 1)) if parents else ()
    return Source(tree, real, posixpath.basename(path), within, cut)


def _advice(tree: Tree) -> str:
    return (
        "names are relative to its root; .dockerignore may leave it out"
        if tree.ignore.patterns
        else ("names are relative to its root")
    )


def entries(source: Source, excludes: Ignore) -> Iterator[TreeEntry]:
    for entry in trees.walk(source.tree, source.path):
        name = entry.name or source.base
        if name and excludes.patterns and excludes.leaves_out(name):
            if not entry.name and not stat.S_ISDIR(entry.status.st_mode):
                return
            if entry.name:
                continue
        yield entry


def digest(sources: Sequence[Source], manner: CopyOptions, of_content: Digest) -> str:
    """What tells this copy from another one: names, kinds, modes, owners and contents; no times."""
    sha = hashlib.sha256()
    for source in sources:
        sha.update(f"{source.base}\0{source.within}\0".encode("utf-8", "surrogateescape"))
        for entry in entries(source, manner.excludes):
            mode = entry.status.st_mode
            owner = (entry.status.st_uid, entry.status.st_gid) if source.tree.owned else (0, 0)
            what = ""
            if stat.S_ISREG(mode):
                what = of_content(source.tree, entry)
            elif stat.S_ISLNK(mode):
                what = _link(source.tree, entry)
            elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                what = str(entry.status.st_rdev)
            line = f"{entry.name}\0{mode:o}\0{owner}\0{what}\0"
            sha.update(line.encode("utf-8", "surrogateescape"))
    return sha.hexdigest()


def _link(tree: Tree, entry: TreeEntry) -> str:
    fd = trees.open_at(tree, entry.path)
    try:
        return os.readlink("", dir_fd=fd)
    finally:
        os.close(fd)


def content_digest(tree: Tree, entry: TreeEntry) -> str:
    fd = trees.open_at(tree, entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Writing


class Writer:
    """Writes into the root that `root` is a descriptor of; what it makes belongs to `owner`."""

    def __init__(self, root: int, manner: CopyOptions) -> None:
        self.root, self.manner = root, manner
        self._links: dict[tuple[int, int], str] = {}  # a file of several names -> where it was written first

    def write(self, sources: Sequence[Source]) -> None:
        """Raises BuildError, OSError."""
        dest = self.manner.dest.rstrip("/") or "/"
        into = self.manner.folder or len(sources) > 1 or self._is_folder(dest)
        for source in sources:
            fd = trees.open_at(source.tree, source.path)
            is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
            os.close(fd)
            target = dest
            if source.within or source.pivot:
                target = self._with_parents(source, dest, is_folder)
            elif into and not is_folder:
                target = posixpath.join(dest, source.base)
            self._copy(source, target)

    def _with_parents(self, source: Source, dest: str, is_folder: bool) -> str:
        os.close(self.make_folder(dest))
        for path in source.within:
            target = posixpath.join(dest, *path.split("/")[source.pivot :])
            real = trees.resolve(source.tree, path)
            status = os.stat(real or ".", dir_fd=source.tree.root, follow_symlinks=False)
            fd = self.make_folder(target)
            self._dress(fd, status, source.tree)
            os.close(fd)
        inner = source.within[-1].split("/")[source.pivot :] if source.within else []
        return posixpath.join(dest, *inner, source.base)

    def _is_folder(self, path: str) -> bool:
        try:
            fd = syscalls.openat2(self.root, path, os.O_PATH | os.O_DIRECTORY, IN_ROOT)
        except OSError:
            return False
        os.close(fd)
        return True

    def make_folder(self, path: str) -> int:
        """A descriptor of the folder; what is missing is made, for everyone to enter, and belongs to the owner."""
        parts = [part for part in path.split("/") if part]

        def opened(parts: Sequence[str]) -> int:
            place = _joined(parts)
            try:
                return syscalls.openat2(self.root, place, os.O_RDONLY | os.O_DIRECTORY, IN_ROOT)
            except NotADirectoryError:
                raise BuildError(f"{place} is a file in the image, and would have to be a folder") from None

        folder, there = deepest_there(parts, opened)
        for number in range(there, len(parts)):
            try:
                below = make_folder(parts[number], 0o755, folder)
            except FileExistsError:
                place = _joined(parts[: number + 1])
                raise BuildError(f"{place} is a link to nothing in the image") from None
            finally:
                os.close(folder)
            folder = below
            if self.manner.owner:
                os.fchown(folder, *self.manner.owner)
        return folder

    def _copy(self, source: Source, target: str) -> None:
        times: list[tuple[str, int]] = []
        for entry in entries(source, self.manner.excludes):
            place = posixpath.join(target, entry.name) if entry.name else target
            mode = entry.status.st_mode
            if stat.S_ISDIR(mode):
                fresh = not self._is_folder(place)
                fd = self.make_folder(place)
                try:
                    if fresh or entry.name:
                        self._dress(fd, entry.status, source.tree, self._opened(source.tree, entry))
                        times.append((place, entry.status.st_mtime_ns))
                finally:
                    os.close(fd)
                continue
            parent = self.make_folder(posixpath.dirname(place))
            try:
                self._file(source.tree, entry, parent, posixpath.basename(place), place)
            finally:
                os.close(parent)
        for place, when in reversed(times):
            fd = syscalls.openat2(self.root, place, os.O_RDONLY | os.O_DIRECTORY, IN_ROOT)
            os.utime(fd, ns=(when, when))
            os.close(fd)

    def _opened(self, tree: Tree, entry: TreeEntry) -> int | None:
        return trees.open_at(tree, entry.path, trees.FOLDER) if tree.owned else None

    def _file(self, tree: Tree, entry: TreeEntry, parent: int, name: str, place: str) -> None:
        status, mode = entry.status, entry.status.st_mode
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                raise BuildError(f"{place} is a folder in the image: a file cannot take its place")
            os.unlink(name, dir_fd=parent)
        if stat.S_ISSOCK(mode):
            return
        if tree.owned and status.st_nlink > 1 and (first := self._links.get((status.st_dev, status.st_ino))):
            fd = syscalls.openat2(self.root, posixpath.dirname(first), os.O_PATH | os.O_DIRECTORY, IN_ROOT)
            try:
                os.link(posixpath.basename(first), name, src_dir_fd=fd, dst_dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(fd)
            return
        if stat.S_ISREG(mode):
            self._regular(tree, entry, parent, name)
        elif stat.S_ISLNK(mode):
            os.symlink(_link(tree, entry), name, dir_fd=parent)
            os.chown(name, *self._owner(status, tree), dir_fd=parent, follow_symlinks=False)
        else:
            os.mknod(name, stat.S_IFMT(mode) | 0o600, status.st_rdev, dir_fd=parent)
            os.chown(name, *self._owner(status, tree), dir_fd=parent, follow_symlinks=False)
            set_mode(parent, name, chmod(self.manner.mode, mode))
        os.utime(name, ns=(status.st_mtime_ns, status.st_mtime_ns), dir_fd=parent, follow_symlinks=False)
        self._links[status.st_dev, status.st_ino] = place

    def _regular(self, tree: Tree, entry: TreeEntry, parent: int, name: str) -> None:
        old = trees.open_at(tree, entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(old).st_mode):
                raise BuildError(f"{entry.path!r} of {tree.what} changes while it is read")
            new = os.open(name, _NEW, 0o600, dir_fd=parent)
            try:
                while os.sendfile(new, old, None, 1 << 24):
                    pass
                self._dress(new, entry.status, tree, os.dup(old) if tree.owned else None)
            finally:
                os.close(new)
        finally:
            os.close(old)

    def _owner(self, status: os.stat_result, tree: Tree) -> tuple[int, int]:
        return self.manner.owner or ((status.st_uid, status.st_gid) if tree.owned else (0, 0))

    def _dress(self, fd: int, status: os.stat_result, tree: Tree, source: int | None = None) -> None:
        """Owner, mode and attributes, in the order that loses none (man 2 chown); `source` is closed."""
        os.fchown(fd, *self._owner(status, tree))
        os.fchmod(fd, chmod(self.manner.mode, status.st_mode))
        if source is not None:
            for attribute in filter(kept, os.listxattr(source)):
                with contextlib.suppress(OSError):
                    os.setxattr(fd, attribute, os.getxattr(source, attribute))
            os.close(source)


def _joined(parts: Sequence[str]) -> str:
    return f"/{'/'.join(parts)}"


# --chmod

_CLAUSE = re.compile(r"([ugoa]*)([-+=])([rwxXst]*)")


def checked_mode(text: str) -> str:
    """An argument of --chmod. Raises BuildError."""
    if re.fullmatch(r"[0-7]{1,4}", text) or (text and all(_CLAUSE.fullmatch(one) for one in text.split(","))):
        return text
    raise BuildError(f"--chmod={text[:40]}: an octal number like 0755, or words like u=rwX,go=rX, are wanted")


def checked_checksum(text: str) -> str:
    """An argument of --checksum. Raises BuildError."""
    if re.fullmatch(r"sha256:[0-9a-f]{64}", text):
        return text
    raise BuildError(f"--checksum={text[:80]}: sha256: and 64 hexadecimal digits are wanted")


def chmod(change: str, mode: int) -> int:
    """The permission bits of `mode` after a change that `checked_mode` let pass; "" changes nothing."""
    bits = stat.S_IMODE(mode)
    if not change:
        return bits
    if change[0].isdigit():
        return int(change, 8)
    for clause in change.split(","):
        match = _CLAUSE.fullmatch(clause)
        assert match is not None
        who = "ugo" if not match[1] or "a" in match[1] else match[1]
        mask = granted = 0
        for one in who:
            shift = {"u": 6, "g": 3, "o": 0}[one]
            mask |= 7 << shift
            for letter in match[3]:
                if letter in "rwx":
                    granted |= {"r": 4, "w": 2, "x": 1}[letter] << shift
                elif letter == "X" and (stat.S_ISDIR(mode) or bits & 0o111):
                    granted |= 1 << shift
                elif letter == "s" and one in "ug":
                    granted |= {"u": stat.S_ISUID, "g": stat.S_ISGID}[one]
        if "t" in match[3]:
            granted |= stat.S_ISVTX
        bits = bits | granted if match[2] == "+" else bits & ~granted if match[2] == "-" else (bits & ~mask) | granted
    return bits
