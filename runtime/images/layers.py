"""One layer's tar becomes one folder, safe against hostile archives.

Every entry is made by file descriptor: parents are walked component by component without following links by the kernel;
a link in a parent is resolved here, inside the layer's root. Nothing that exists is opened. Limits on number, size and
names, and room is left on the disk. The caller throws the folder away when `extract` raises.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from typing import IO, Any, cast

from pycompose.frozen import dataclass
from pycompose.runtime.files.descent import FOLDER, make_folder, set_mode
from pycompose.runtime.files.remove import drop

from .errors import ImageError, not_done
from .reference import digest_hex
from .streams import MAX_BYTES, PIECE, Forward, MeasuredStream, Progress, ZstdError, compression, plain

MAX_ENTRIES = 2_000_000
MAX_PATH = 4096
MAX_NAMES = 1 << 20  # of one PAX header or GNU long name
MAX_AFTER = 16 << 20  # padding after the end of a tar
ROOM = 64 << 20  # bytes that stay free on the disk
_MAX_LINKS = 40
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
READ_ERRORS = (
    tarfile.TarError,
    EOFError,
    zlib.error,
    ZstdError,
    OSError,
    ValueError,
    OverflowError,
    RecursionError,
)


@dataclass(frozen=True, slots=True)
class Blob:
    """A layer as it lies in an archive; `digest` and `size` are of these bytes, where the archive says them."""

    open: Callable[[], IO[bytes]]
    digest: str = ""
    size: int = -1


@dataclass(frozen=True, slots=True)
class Folder:
    """A layer that lies unpacked, whiteouts as overlayfs has them, in a work folder of the store; moved, not copied.

    `diff_id` is the digest of its tar, which nobody has kept: it is packed again when it is asked for.
    """

    path: str
    diff_id: str
    size: int = 0  # bytes of files


@dataclass(frozen=True, slots=True)
class Extracted:
    diff_id: str  # digest of the uncompressed tar
    size: int  # bytes of files
    digest: str = ""  # of the bytes as they came
    packed: int = 0  # their number
    compression: str = ""  # "", "gzip" or "zstd"


class Entry(tarfile.TarInfo):
    """A header that is refused where tarfile would read without bound, or stop in silence."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Entry:
        try:
            return super().fromtarfile(tarfile_)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"a damaged header: {error}") from None  # else: the end, as if all were well

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        if self.size < 0:
            raise tarfile.ReadError("a negative size")  # CVE-2025-8194
        long = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, *_PAX)
        if self.type in long and self.size > MAX_NAMES:
            raise ImageError("an entry's name or attributes are too long")
        member = super()._proc_member(archive)  # type: ignore[misc]
        if member.size < 0:
            raise tarfile.ReadError("a negative size")
        return member


_PAX = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)


class _Room:
    """What may still be written: below the limit, and with some of the disk left."""

    def __init__(self, folder: int) -> None:
        disk = os.fstatvfs(folder)
        self._folder, self._floor = folder, min(ROOM, disk.f_blocks * disk.f_frsize // 20)
        self.total = 0

    def take(self, size: int) -> None:
        self.total += size
        if self.total > MAX_BYTES:
            raise ImageError("it is too large")
        if size > 1 << 16:
            disk = os.fstatvfs(self._folder)
            if disk.f_bavail * disk.f_frsize - size < self._floor:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def extract(blob: Blob, folder: str, progress: Progress | None = None, copy: IO[bytes] | None = None) -> Extracted:
    """Fill the empty `folder` from a tar, compressed or not; `copy` gets its bytes as they come. Raises ImageError."""
    root = os.open(folder, FOLDER)
    try:
        return _read(blob, progress, copy, root)
    finally:
        os.close(root)


def verified(blob: Blob, progress: Progress | None = None, copy: IO[bytes] | None = None) -> Extracted:
    """Read a layer to its end without unpacking it. Raises ImageError."""
    return _read(blob, progress, copy, None)


def _read(blob: Blob, progress: Progress | None, copy: IO[bytes] | None, root: int | None) -> Extracted:
    try:
        with contextlib.closing(blob.open()) as source:
            packed = MeasuredStream(source, progress, blob.size if blob.size >= 0 else MAX_BYTES, copy)
            how = compression(packed)
            stream = MeasuredStream(plain(packed), limit=MAX_BYTES)
            total = 0
            if root is not None:
                room = _Room(root)
                _unpack(root, stream, room)
                total = room.total
            end = stream.size
            while stream.read(PIECE):
                if root is not None and stream.size - end > MAX_AFTER:
                    raise ImageError("it goes on for too long after its end")
            while packed.read(1 << 20):
                pass
        if blob.digest and digest_hex(blob.digest) != packed.sha.hexdigest():
            raise ImageError(f"a layer is not what its digest says: {blob.digest}")
        if blob.size >= 0 and packed.size != blob.size:
            raise ImageError(f"a layer has {packed.size} bytes, not {blob.size}")
        return Extracted(stream.digest, total, packed.digest, packed.size, how)
    except READ_ERRORS as error:
        raise not_done("a layer cannot be read", error) from error


def _unpack(root: int, stream: MeasuredStream, room: _Room) -> None:
    times: dict[tuple[str, ...], float] = {}
    source = Forward(stream)
    with (
        tarfile.open(fileobj=cast(Any, source), mode="r:", errorlevel=2, tarinfo=Entry) as tar,
        contextlib.closing(_Parents(root, times)) as parents,
    ):
        for count, entry in enumerate(tar):
            if count >= MAX_ENTRIES:
                raise ImageError("a layer has too many entries")
            room.take(entry.size if entry.isreg() else 0)
            _entry(root, tar, entry, times, parents, source)
            tar.members.clear()  # type: ignore[attr-defined]
    _set_times(root, times)


def _set_times(root: int, times: dict[tuple[str, ...], float]) -> None:
    """Of folders, at last, for what is put into one changes its time. What is no folder any more is passed over."""
    with contextlib.closing(_Parents(root)) as parents:
        for parts in sorted(times):  # a folder right before those in it
            with contextlib.suppress(OSError):
                fd = os.open(parts[-1], FOLDER, dir_fd=parents.get(parts[:-1])) if parts else os.dup(root)
                try:
                    os.utime(fd, (times[parts], times[parts]))
                finally:
                    os.close(fd)


class _Parents:
    """The folder that the last entry was put into, open, for the next one may go there too, or one deeper.

    It is walked to again after anything was removed: only then can its path lead elsewhere. With `times` folders that
    are missing are made.
    """

    def __init__(self, root: int, times: dict[tuple[str, ...], float] | None = None) -> None:
        self._root, self._parts, self._fd, self._times = root, tuple[str, ...](), -1, times

    def get(self, parts: tuple[str, ...]) -> int:
        if self._fd < 0 or parts != self._parts:
            fd = self._below(parts)
            self.close()
            self._fd = _walk(self._root, parts, self._times is not None, self._times) if fd < 0 else fd
            self._parts = parts
        return self._fd

    def _below(self, parts: tuple[str, ...]) -> int:
        """The folder, open, where it is right in the last one and no link; else -1."""
        if self._fd >= 0 and parts and parts[:-1] == self._parts:
            with contextlib.suppress(OSError):
                return os.open(parts[-1], FOLDER, dir_fd=self._fd)
        return -1

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _parts(name: str) -> tuple[str, ...]:
    if "\0" in name or not name or len(os.fsencode(name)) > MAX_PATH:
        raise ImageError(f"a bad name in a layer: {name[:100]!r}")
    parts = tuple(p for p in name.split("/") if p not in ("", "."))
    if ".." in parts:
        raise ImageError(f"a name leaves the layer: {name[:100]!r}")
    return parts


def _opaque(folder: int) -> None:
    os.setxattr(folder, "trusted.overlay.opaque" if os.geteuid() == 0 else "user.overlay.opaque", b"y")


def _walk(
    root: int, wanted: tuple[str, ...], make: bool = False, times: dict[tuple[str, ...], float] | None = None
) -> int:
    """Open the folder `wanted`, links resolved inside the root; the caller closes it.

    Folders that are made and have no entry of their own get an entry in `times`: the same tar gives the same layer.
    """
    todo, done, links = list(reversed(wanted)), list[str](), 0
    here = os.dup(root)
    try:
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                todo += [*reversed(done[:-1])]
                done = []
                os.close(here)
                here = os.dup(root)
                continue
            try:
                status = os.stat(part, dir_fd=here, follow_symlinks=False)
                kind, hidden = status.st_mode, stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
            except FileNotFoundError:
                if not make:
                    raise
                kind, hidden = 0, False
            if make and (hidden or not kind):
                if hidden:  # the layer hides what was here, and puts something new in its place
                    os.unlink(part, dir_fd=here)
                os.close(make_folder(part, 0o755, here))
                if times is not None:
                    times.setdefault((*done, part), 0.0)
                kind = stat.S_IFDIR
            if stat.S_ISLNK(kind):
                links += 1
                if links > _MAX_LINKS:
                    raise ImageError("too many links in a layer's path")
                target = os.readlink(part, dir_fd=here)
                todo += reversed(target.split("/"))
                if not target.startswith("/"):
                    todo += reversed(done)
                if len(todo) > MAX_PATH:
                    raise ImageError("too many links in a layer's path")
                done = []
                os.close(here)
                here = os.dup(root)
                continue
            below = os.open(part, FOLDER, dir_fd=here)
            os.close(here)
            here = below
            if hidden:
                _opaque(here)
            done.append(part)
    except BaseException:
        os.close(here)
        raise
    return here


def _entry(
    root: int,
    tar: tarfile.TarFile,
    entry: tarfile.TarInfo,
    times: dict[tuple[str, ...], float],
    parents: _Parents,
    source: Forward,
) -> None:
    parts = _parts(entry.name)
    mode = entry.mode & 0o7777
    when = min(max(float(entry.mtime), 0.0), float(1 << 33))
    if not parts:
        if entry.isdir():
            _own(root, entry)
            os.fchmod(root, mode)
            _attributes(root, entry)
            times[()] = when
        return
    name = parts[-1]
    parent = parents.get(parts[:-1])
    if name.startswith(".wh."):
        removed = _whiteout(parent, name, when)
    elif entry.isdir():
        removed = _folder(parent, name, entry, mode)
        times[parts] = when
    elif entry.islnk():
        removed = _hard_link(root, parent, name, entry)
    elif entry.isreg():
        removed = _file(parent, name, tar, entry, mode, when, source)
    else:
        removed = drop(parent, name)
        _special(parent, name, entry, mode)
        os.utime(name, (when, when), dir_fd=parent, follow_symlinks=False)
    if removed:
        parents.close()


def _file(
    parent: int,
    name: str,
    tar: tarfile.TarFile,
    entry: tarfile.TarInfo,
    mode: int,
    when: float,
    source: Forward,
) -> bool:
    removed = False
    try:
        fd = os.open(name, _NEW, 0o600, dir_fd=parent)
    except FileExistsError:
        removed = drop(parent, name)
        fd = os.open(name, _NEW, 0o600, dir_fd=parent)
    try:
        if entry.issparse():
            with open(os.dup(fd), "wb", buffering=0) as out:
                shutil.copyfileobj(cast(IO[bytes], tar.extractfile(entry)), out, PIECE)
        else:
            source.seek(entry.offset_data)
            left = entry.size
            while left:
                piece = source.piece(left)
                if not piece:
                    raise tarfile.ReadError("unexpected end of data")
                left -= len(piece)
                while piece:
                    piece = piece[os.write(fd, piece) :]
        # Data first, owner next: writing and chown take setuid bits and capabilities away.
        _own(fd, entry)
        os.fchmod(fd, mode)
        _attributes(fd, entry)
        os.utime(fd, (when, when))
    finally:
        os.close(fd)
    return removed


def _folder(parent: int, name: str, entry: tarfile.TarInfo, mode: int) -> bool:
    removed = hidden = False
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        hidden = stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
        if not stat.S_ISDIR(status.st_mode):
            removed = drop(parent, name)
            os.mkdir(name, 0o700, dir_fd=parent)
    fd = os.open(name, FOLDER, dir_fd=parent)
    try:
        if hidden:
            _opaque(fd)
        _own(fd, entry)
        os.fchmod(fd, mode)
        _attributes(fd, entry)
    finally:
        os.close(fd)
    return removed


def _hard_link(root: int, parent: int, name: str, entry: tarfile.TarInfo) -> bool:
    target = _parts(entry.linkname)
    if not target:
        raise ImageError("a hard link to nothing")
    at = _walk(root, target[:-1])
    try:
        aim = os.stat(target[-1], dir_fd=at, follow_symlinks=False)
        if stat.S_ISDIR(aim.st_mode):
            raise ImageError("a hard link to a folder")
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(aim, os.stat(name, dir_fd=parent, follow_symlinks=False)):
                return False
        removed = drop(parent, name)
        os.link(target[-1], name, src_dir_fd=at, dst_dir_fd=parent, follow_symlinks=False)
        return removed
    finally:
        os.close(at)


def _special(parent: int, name: str, entry: tarfile.TarInfo, mode: int) -> None:
    if entry.issym():
        if "\0" in entry.linkname or not entry.linkname or len(os.fsencode(entry.linkname)) >= MAX_PATH:
            raise ImageError(f"a bad link in a layer: {entry.name[:100]!r}")
        os.symlink(entry.linkname, name, dir_fd=parent)
    elif entry.ischr() or entry.isblk() or entry.isfifo():
        if entry.ischr() and entry.devmajor == entry.devminor == 0:
            raise ImageError(f"a device 0:0 in a layer: {entry.name[:100]!r}")
        if os.geteuid() != 0 and not entry.isfifo():
            return  # only root can make devices; a container gets its own anyway
        kind = stat.S_IFCHR if entry.ischr() else stat.S_IFBLK if entry.isblk() else stat.S_IFIFO
        device = 0 if entry.isfifo() else os.makedev(entry.devmajor, entry.devminor)
        os.mknod(name, kind | 0o600, device, dir_fd=parent)
    else:
        raise ImageError(f"an entry of unknown kind in a layer: {entry.name[:100]!r}")
    if os.geteuid() == 0:
        os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
    if not entry.issym():
        set_mode(parent, name, mode)


def _whiteout(parent: int, name: str, when: float) -> bool:
    if name == ".wh..wh..opq":
        _opaque(parent)
        return False
    if name.startswith(".wh..wh."):
        return False
    hidden = name.removeprefix(".wh.")
    if hidden in ("", ".", ".."):
        raise ImageError(f"a bad whiteout: {name!r}")
    removed = drop(parent, hidden)
    os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=parent)
    os.utime(hidden, (when, when), dir_fd=parent, follow_symlinks=False)
    return removed


def _own(fd: int, entry: tarfile.TarInfo) -> None:
    if os.geteuid() == 0:
        os.fchown(fd, entry.uid, entry.gid)


def _attributes(fd: int, entry: tarfile.TarInfo) -> None:
    """Capabilities and the user's own attributes; never those that overlayfs or a security module believes."""
    for key, value in entry.pax_headers.items():
        name = key.removeprefix("SCHILY.xattr.")
        if name == key or name.startswith(("user.overlay.", "user.containers.")):
            continue
        if name == "security.capability" or name.startswith("user."):
            with contextlib.suppress(OSError):
                os.setxattr(fd, name, value.encode("utf-8", "surrogateescape"))


def spooled(source: IO[bytes], folder: str, progress: Progress | None = None) -> IO[bytes]:
    """The uncompressed bytes as a seekable file without a name, in `folder`."""
    out = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the caller closes it
    try:
        room = os.fstatvfs(out.fileno())
        floor = min(ROOM, room.f_blocks * room.f_frsize // 20)
        stream = plain(MeasuredStream(source, progress))
        while data := stream.read(1 << 20):
            room = os.fstatvfs(out.fileno())
            if room.f_bavail * room.f_frsize - len(data) < floor:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            out.write(data)
        out.seek(0)
    except BaseException:
        out.close()
        raise
    return out
