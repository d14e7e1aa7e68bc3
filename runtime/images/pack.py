"""A folder as a layer's tar: what an overlay's upper folder holds, in the words that every OCI tool reads.

The same folder gives the same bytes: entries in order of their names, numeric owners, whole seconds, no folder's own
size or inode. Whiteouts (a device 0:0) become `.wh.NAME`, an opaque folder begins with `.wh..wh..opq`. Attributes are
`security.capability` and `user.*`, as `layers` takes them in. The folder is only read, by descriptor, and no link in it
is followed; what changes in it meanwhile is there as it was, as it is, or not. Sockets are left out, as Docker
does; the root itself has no entry.

`settle` makes a folder that a container has written to one that `pack` packs alike for ever.
Source: opencontainers/image-spec layer.md.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from typing import IO, Any, cast

from pycompose.frozen import dataclass
from pycompose.runtime.files.descent import FOLDER, open_regular
from pycompose.runtime.files.ordered_walk import CHANGED, opened, walk
from pycompose.runtime.files.union import is_opaque

from .errors import ImageError


@dataclass(frozen=True, slots=True)
class Packed:
    diff_id: str  # digest of the tar
    size: int  # bytes of files, as `layers.Extracted` counts them
    tar_size: int


class _Sink:
    """Where the tar goes: counted, hashed and passed on."""

    def __init__(self, out: IO[bytes] | None) -> None:
        self.sha, self.size, self._out = hashlib.sha256(), 0, out

    def write(self, data: bytes) -> int:
        self.sha.update(data)
        self.size += len(data)
        if self._out is not None:
            self._out.write(data)
        return len(data)


def source_date_epoch(environ: Mapping[str, str]) -> int | None:
    """The time no file may be younger than (reproducible-builds.org/specs/source-date-epoch). Raises ImageError."""
    text = environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    if not text.isdecimal() or int(text) >= 1 << 40:
        raise ImageError(f"SOURCE_DATE_EPOCH is {text[:40]!r}: a number of seconds since 1970 is wanted")
    return int(text)


def pack(folder: str, out: IO[bytes] | None = None, *, clamp: int | None = None) -> Packed:
    """Write the folder's tar to `out` (or only measure it). No time in it is later than `clamp`.

    Raises ImageError for what no layer can hold, OSError.
    """
    sink = _Sink(out)
    root = os.open(folder, FOLDER)
    try:
        with tarfile.open(
            fileobj=cast(Any, sink),
            mode="w|",
            format=tarfile.PAX_FORMAT,
            encoding="utf-8",
            errors="surrogateescape",
            bufsize=1 << 18,
        ) as tar:
            size = _entries(root, tar, clamp)
    finally:
        os.close(root)
    return Packed("sha256:" + sink.sha.hexdigest(), size, sink.size)


def _entries(root: int, tar: tarfile.TarFile, clamp: int | None) -> int:
    first: dict[tuple[int, int], str] = {}  # where a file of several names was seen first
    size = 0
    for path, parent, name, status in _walk(root):
        entry = _entry(path, status, clamp)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            entry.name, entry.type, entry.mode = _beside(path, f".wh.{name}"), tarfile.REGTYPE, 0
            tar.addfile(entry)
            continue
        if name.startswith(".wh."):
            raise ImageError(f"{path[:200]!r}: no layer can hold a file of this name", "`.wh.` marks what is deleted")
        several = not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1
        if several and (earlier := first.get((status.st_dev, status.st_ino))):
            entry.type, entry.linkname = tarfile.LNKTYPE, earlier
            tar.addfile(entry)
            continue
        try:
            size += _add(tar, entry, parent, name, status)
        except OSError as error:
            if error.errno not in CHANGED:
                raise
            continue  # it is gone, or something else
        if several:
            first[status.st_dev, status.st_ino] = path
    return size


def _add(tar: tarfile.TarFile, entry: tarfile.TarInfo, parent: int, name: str, status: os.stat_result) -> int:
    """Write one entry; the bytes of its file. Raises OSError, before anything is written where the name has changed."""
    if stat.S_ISREG(status.st_mode):
        with open(open_regular(parent, name), "rb", buffering=0) as file:
            _attributes(file.fileno(), entry)
            entry.size = os.fstat(file.fileno()).st_size
            tar.addfile(entry, cast(IO[bytes], Padded(file)))
        return entry.size
    if stat.S_ISDIR(status.st_mode):
        with opened(parent, name) as fd:
            _attributes(fd, entry)
            entry.type = tarfile.DIRTYPE
            tar.addfile(entry)
            if is_opaque(fd):
                tar.addfile(_hidden(f"{entry.name.rstrip('/')}/.wh..wh..opq", entry.mtime))
    elif stat.S_ISLNK(status.st_mode):
        entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(name, dir_fd=parent)
        tar.addfile(entry)
    elif not stat.S_ISSOCK(status.st_mode):
        kinds = {stat.S_IFCHR: tarfile.CHRTYPE, stat.S_IFBLK: tarfile.BLKTYPE, stat.S_IFIFO: tarfile.FIFOTYPE}
        entry.type = kinds[stat.S_IFMT(status.st_mode)]
        entry.devmajor, entry.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
        tar.addfile(entry)
    return 0


class Padded:
    """A file that is read to the length that its entry says, with zeros for what is cut off meanwhile, as tar does."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        piece = self._file.read(size)
        while len(piece) < size and (more := self._file.read(size - len(piece))):
            piece += more
        return piece.ljust(size, b"\0")


def _walk(root: int) -> Iterator[tuple[str, int, str, os.stat_result]]:
    try:
        yield from walk(root)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise ImageError(f"a path is too long for a layer: {str(error.filename)[:100]!r}…") from error


def _entry(path: str, status: os.stat_result, clamp: int | None) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.mode = stat.S_IMODE(status.st_mode)
    entry.uid, entry.gid = status.st_uid, status.st_gid
    entry.mtime = _seconds(status, clamp)
    return entry


def _seconds(status: os.stat_result, clamp: int | None) -> int:
    when = max(status.st_mtime_ns // 1_000_000_000, 0)
    return when if clamp is None else min(when, clamp)


def _hidden(path: str, when: float) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.mode, entry.mtime = 0, when
    return entry


def _beside(path: str, name: str) -> str:
    parent, slash, _ = path.rpartition("/")
    return f"{parent}{slash}{name}"


def _attributes(fd: int, entry: tarfile.TarInfo) -> None:
    attributes = {}
    for name in sorted(os.listxattr(fd)):
        if kept(name):
            attributes[f"SCHILY.xattr.{name}"] = os.getxattr(fd, name).decode("utf-8", "surrogateescape")
    if attributes:
        entry.pax_headers = attributes


def kept(name: str) -> bool:
    """Whether an extended attribute belongs to a layer."""
    return name == "security.capability" or (
        name.startswith("user.") and not name.startswith(("user.overlay.", "user.containers."))
    )


def settle(folder: str, clamp: int | None = None) -> None:
    """Take away what overlayfs noted for itself, and make times what `pack` says of them. Raises OSError.

    For an upper folder that becomes a lower one; nobody else writes to it meanwhile.
    """
    root = os.open(folder, FOLDER)
    try:
        for name in os.listxattr(root):
            if name.startswith("trusted.overlay.") and name != "trusted.overlay.opaque":
                os.removexattr(root, name)
        for _, parent, name, status in _walk(root):
            kind = stat.S_IFMT(status.st_mode)
            if kind in (stat.S_IFREG, stat.S_IFDIR):
                fd = open_regular(parent, name) if kind == stat.S_IFREG else os.open(name, FOLDER, dir_fd=parent)
                try:
                    for attribute in os.listxattr(fd):
                        if attribute.startswith("trusted.overlay.") and attribute != "trusted.overlay.opaque":
                            os.removexattr(fd, attribute)
                finally:
                    os.close(fd)
            elif kind == stat.S_IFSOCK:
                os.unlink(name, dir_fd=parent)
                continue
            when = _seconds(status, clamp) * 1_000_000_000
            if status.st_mtime_ns != when:
                os.utime(name, ns=(when, when), dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(root)
