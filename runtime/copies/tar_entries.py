"""A tar as entries of a copy, and entries as a tar. A tar is a stranger's: no name in it leaves the place it goes to.

Names are taken as below the place, absolute ones too; one that climbs above it is an error (docker: breakout). A hard
link is to an earlier name below the place. Compressed ones are known by their first bytes: gzip and zstd.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

from pycompose.runtime.images.errors import ImageError
from pycompose.runtime.images.layers import MAX_PATH, READ_ERRORS, Entry
from pycompose.runtime.images.pack import kept
from pycompose.runtime.images.streams import MeasuredStream, plain

from .copy_errors import CopyFailed
from .tree_entries import CopyEntry, padded

_ATTRIBUTE = "SCHILY.xattr."
_KINDS = {
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}


def tar_entries(source: IO[bytes]) -> Iterator[CopyEntry]:
    """Entries of the tar that `source` is. Raises CopyFailed."""
    try:
        stream = plain(MeasuredStream(source))
        with tarfile.open(fileobj=cast(Any, stream), mode="r|", errorlevel=2, tarinfo=Entry) as tar:
            for member in tar:
                yield _entry(tar, member)
                tar.members.clear()  # type: ignore[attr-defined]
    except ImageError as error:
        raise CopyFailed(f"the archive cannot be read: {error}", hint=error.hint) from error
    except READ_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, tarfile.TarError):
            raise  # of writing, as likely
        raise CopyFailed(f"the archive cannot be read: {error}") from error


def _entry(tar: tarfile.TarFile, member: tarfile.TarInfo) -> CopyEntry:
    kind = stat.S_IFREG if member.isreg() else _KINDS.get(member.type, 0)
    if member.issym() and ("\0" in member.linkname or not member.linkname):
        raise CopyFailed(f"a bad link in the archive: {member.name[:100]!r}")
    attributes = [(key.removeprefix(_ATTRIBUTE), value) for key, value in member.pax_headers.items()]
    attributes = [(name, value) for name, value in attributes if f"{_ATTRIBUTE}{name}" in member.pax_headers]
    return CopyEntry(
        parts(member.name),
        kind | (member.mode & 0o7777),
        member.uid,
        member.gid,
        int(min(max(member.mtime, 0), 1 << 33) * 1_000_000_000),
        member.size if member.isreg() else 0,
        link=member.linkname if member.issym() else "",
        attributes=tuple((name, value.encode("utf-8", "surrogateescape")) for name, value in attributes if kept(name)),
        twin=_twin(member) if member.islnk() else None,
        content=tar.extractfile(member) if member.isreg() else None,
    )


def _twin(member: tarfile.TarInfo) -> tuple[str, ...]:
    if not (target := parts(member.linkname)):
        raise CopyFailed(f"a hard link to nothing in the archive: {member.name[:100]!r}")
    return target


def parts(name: str) -> tuple[str, ...]:
    """A name in an archive as names of folders and the last one. Raises CopyFailed for one that leaves the place."""
    if "\0" in name or len(os.fsencode(name)) > MAX_PATH:
        raise CopyFailed(f"a bad name in the archive: {name[:100]!r}")
    below: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not below:
                raise CopyFailed(f"{name[:100]!r} in the archive is outside of the place it is copied to")
            below.pop()
        elif part not in ("", "."):
            below.append(part)
    return tuple(below)


class _Counted:
    """A stream as tarfile wants a file to write to: it knows where it is. One of tarfile's own writes when it is
    forgotten, too, and complains where nobody reads any more."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out, self._count = out, 0

    def write(self, data: bytes) -> int:
        self._count += len(data)
        return self._out.write(data)

    def tell(self) -> int:
        return self._count


class TarWriter:
    """Writes entries as a tar to `out`, which needs no seeking."""

    def __init__(self, out: IO[bytes], progress: Callable[[int], None] | None = None) -> None:
        self._progress = progress
        self._tar = tarfile.open(  # noqa: SIM115 - `finish` closes it
            fileobj=cast(Any, _Counted(out)),
            mode="w",
            format=tarfile.PAX_FORMAT,
            encoding="utf-8",
            errors="surrogateescape",
        )

    def put(self, entry: CopyEntry) -> None:
        """Raises OSError."""
        member = tarfile.TarInfo(entry.name or ".")
        member.mode, member.uid, member.gid = stat.S_IMODE(entry.mode), entry.uid, entry.gid
        member.mtime = entry.mtime_ns // 1_000_000_000
        if entry.attributes:
            text = {f"{_ATTRIBUTE}{name}": value.decode("utf-8", "surrogateescape") for name, value in entry.attributes}
            member.pax_headers = text
        if entry.twin is not None:
            member.type, member.linkname = tarfile.LNKTYPE, "/".join(entry.twin)
        elif stat.S_ISREG(entry.mode):
            member.size = entry.size
        else:
            member.type = next(key for key, kind in _KINDS.items() if kind == stat.S_IFMT(entry.mode))
            member.linkname = entry.link
            member.devmajor, member.devminor = os.major(entry.device), os.minor(entry.device)
        self._tar.addfile(member, padded(entry) if member.isreg() else None)
        if self._progress is not None:
            self._progress(member.size)

    def finish(self) -> None:
        """Write the end of the archive."""
        self._tar.close()

    def close(self) -> None:
        """Nothing is held."""
