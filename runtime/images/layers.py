"""One layer's tar becomes one folder, safe against hostile archives.

Every entry is made by file descriptor: parents are walked component by component without following links by the kernel;
a link in a parent is resolved here, inside the layer's root. Nothing that exists is opened. Limits on number, size and
names. The caller throws the folder away when `extract` raises.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import shutil
import stat
import tarfile
import zlib
from typing import IO, Any, cast

import zstandard

from .errors import ImageError

MAX_ENTRIES = 2_000_000
MAX_BYTES = 64 << 30
MAX_PATH = 4096
_MAX_LINKS = 40
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Hashing(io.RawIOBase):
    def __init__(self, source: IO[bytes]) -> None:
        self._source, self.sha, self.size = source, hashlib.sha256(), 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size if size >= 0 else 1 << 20)
        self.sha.update(data)
        self.size += len(data)
        if self.size > MAX_BYTES:
            raise ImageError("a layer is too large")
        return data


def plain(source: IO[bytes]) -> IO[bytes]:
    """The uncompressed stream of a seekable file: gzip and zstd are known by their first bytes."""
    magic = source.read(4)
    source.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return cast(IO[bytes], gzip.GzipFile(fileobj=source))
    if magic == b"\x28\xb5\x2f\xfd":
        return cast(IO[bytes], zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True))
    return source


def extract(source: IO[bytes], folder: str) -> str:
    """Fill the empty `folder` from a tar, compressed or not; returns the digest of the plain tar (diff_id)."""
    stream = _Hashing(plain(source))
    root = os.open(folder, _FOLDER)
    try:
        times: dict[tuple[str, ...], float] = {}
        with tarfile.open(fileobj=cast(Any, stream), mode="r|", errorlevel=2) as tar:
            for count, entry in enumerate(tar):
                if count >= MAX_ENTRIES:
                    raise ImageError("a layer has too many entries")
                _entry(root, tar, entry, times)
                tar.members.clear()
        while stream.read(1 << 20):
            pass
        for parts, when in times.items():
            with contextlib.suppress(OSError):
                fd = _walk(root, parts)
                try:
                    os.utime(fd, (when, when))
                finally:
                    os.close(fd)
    except (tarfile.TarError, EOFError, zlib.error, zstandard.ZstdError, OSError, ValueError, OverflowError) as error:
        raise ImageError(f"a layer cannot be read: {error}") from error
    finally:
        os.close(root)
    return "sha256:" + stream.sha.hexdigest()


def _parts(name: str) -> tuple[str, ...]:
    if "\0" in name or len(os.fsencode(name)) > MAX_PATH:
        raise ImageError(f"a bad name in a layer: {name[:100]!r}")
    parts = tuple(p for p in name.split("/") if p not in ("", "."))
    if ".." in parts:
        raise ImageError(f"a name leaves the layer: {name[:100]!r}")
    return parts


def _walk(root: int, wanted: tuple[str, ...], make: bool = False) -> int:
    """Open the folder `wanted`, links resolved inside the root; the caller closes it."""
    todo, done, links = list(wanted), list[str](), 0
    here = os.dup(root)
    try:
        while todo:
            part = todo.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                todo, done = [*done[:-1], *todo], []
                os.close(here)
                here = os.dup(root)
                continue
            try:
                kind = os.stat(part, dir_fd=here, follow_symlinks=False).st_mode
            except FileNotFoundError:
                if not make:
                    raise
                os.mkdir(part, 0o755, dir_fd=here)
                kind = stat.S_IFDIR
            if stat.S_ISLNK(kind):
                links += 1
                if links > _MAX_LINKS:
                    raise ImageError("too many links in a layer's path")
                target = os.readlink(part, dir_fd=here)
                rest = target.split("/") + todo
                todo = rest if target.startswith("/") else [*done, *rest]
                done = []
                os.close(here)
                here = os.dup(root)
                continue
            below = os.open(part, _FOLDER, dir_fd=here)
            os.close(here)
            here = below
            done.append(part)
    except BaseException:
        os.close(here)
        raise
    return here


def _clear(parent: int, name: str, keep_folder: bool) -> bool:
    """Remove what is at `name`; True if a folder was kept."""
    try:
        kind = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(kind):
        os.unlink(name, dir_fd=parent)
        return False
    if not keep_folder:
        shutil.rmtree(name, dir_fd=parent)
    return keep_folder


def _entry(root: int, tar: tarfile.TarFile, entry: tarfile.TarInfo, times: dict[tuple[str, ...], float]) -> None:
    parts = _parts(entry.name)
    mode = entry.mode & 0o7777
    if not parts:
        if entry.isdir():
            os.fchmod(root, mode)
        return
    name = parts[-1]
    parent = _walk(root, parts[:-1], make=True)
    try:
        if name.startswith(".wh."):
            _whiteout(parent, name)
            return
        kept = _clear(parent, name, entry.isdir())
        if entry.isreg():
            fd = os.open(
                name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent
            )
            with open(fd, "wb") as out:
                data = tar.extractfile(entry)
                if data is not None:
                    shutil.copyfileobj(data, out, 1 << 20)
                _own(fd, entry)
                os.fchmod(fd, mode)
                _attributes(fd, entry)
                out.flush()
                os.utime(fd, (entry.mtime, entry.mtime))
            return
        if entry.isdir():
            if not kept:
                os.mkdir(name, 0o700, dir_fd=parent)
            fd = os.open(name, _FOLDER, dir_fd=parent)
            try:
                _own(fd, entry)
                os.fchmod(fd, mode)
                _attributes(fd, entry)
            finally:
                os.close(fd)
            times[parts] = entry.mtime
            return
        if entry.issym():
            os.symlink(entry.linkname, name, dir_fd=parent)
        elif entry.islnk():
            target = _parts(entry.linkname)
            if not target:
                raise ImageError("a hard link to nothing")
            at = _walk(root, target[:-1])
            try:
                os.link(target[-1], name, src_dir_fd=at, dst_dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(at)
            return
        elif entry.ischr() or entry.isblk() or entry.isfifo():
            if entry.ischr() and entry.devmajor == entry.devminor == 0:
                raise ImageError(f"a device 0:0 in a layer: {entry.name[:100]!r}")
            kind = stat.S_IFCHR if entry.ischr() else stat.S_IFBLK if entry.isblk() else stat.S_IFIFO
            device = 0 if entry.isfifo() else os.makedev(entry.devmajor, entry.devminor)
            os.mknod(name, kind | 0o600, device, dir_fd=parent)
        else:
            raise ImageError(f"an entry of unknown kind in a layer: {entry.name[:100]!r}")
        if os.geteuid() == 0:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if not entry.issym():  # just made here by us: not a link
            os.chmod(name, mode, dir_fd=parent)
        os.utime(name, (entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(parent)


def _whiteout(parent: int, name: str) -> None:
    if name == ".wh..wh..opq":
        os.setxattr(parent, "trusted.overlay.opaque" if os.geteuid() == 0 else "user.overlay.opaque", b"y")
        return
    if name.startswith(".wh..wh."):
        return
    hidden = name.removeprefix(".wh.")
    if hidden in ("", ".", ".."):
        raise ImageError(f"a bad whiteout: {name!r}")
    _clear(parent, hidden, False)
    os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=parent)


def _own(fd: int, entry: tarfile.TarInfo) -> None:
    if os.geteuid() == 0:
        os.fchown(fd, entry.uid, entry.gid)


def _attributes(fd: int, entry: tarfile.TarInfo) -> None:
    for key, value in entry.pax_headers.items():
        name = key.removeprefix("SCHILY.xattr.")
        if name == key or name.startswith(("user.overlay.", "user.containers.")):
            continue
        if name == "security.capability" or name.startswith("user."):
            with contextlib.suppress(OSError):
                os.setxattr(fd, name, value.encode("utf-8", "surrogateescape"))
