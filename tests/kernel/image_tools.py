"""A small image for kernel tests: a shell and a few programs, as a tar of a root file system."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

PROGRAMS = (
    "sh",
    "sleep",
    "cat",
    "echo",
    "ls",
    "touch",
    "rm",
    "mkdir",
    "stat",
    "id",
    "env",
    "ln",
    "chmod",
    "true",
    "mv",
    "wc",
    "head",
)


def files() -> dict[str, bytes]:
    """Path in the root -> content: static busybox where it is installed, else the host's own programs."""
    busybox = shutil.which("busybox")
    if busybox and "not a dynamic" in subprocess.run(["ldd", busybox], capture_output=True, text=True).stderr:
        return {"bin/busybox": Path(busybox).read_bytes()}
    found: dict[str, bytes] = {}
    for name in PROGRAMS:
        path = shutil.which(name)
        assert path, f"no {name} on this machine"
        found[f"bin/{name}"] = Path(path).read_bytes()
        told = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
        for word in told.split():
            if word.startswith("/") and os.path.isfile(word):
                found[word.lstrip("/")] = Path(word).read_bytes()
    return found


def tar(more: dict[str, bytes] | None = None, entries: tuple[tarfile.TarInfo, ...] = (), base: bool = True) -> bytes:
    """A layer with the programs (`base`), the files `more` and further entries without content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        content = {**(files() if base else {}), **({"etc/passwd": PASSWD} if base else {}), **(more or {})}
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            archive.addfile(entry, io.BytesIO(data))
        if "bin/busybox" in content:
            for name in PROGRAMS:
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
        for name in ("tmp",) if base else ():
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
            archive.addfile(folder)
        for entry in entries:
            archive.addfile(entry)
    return out.getvalue()


PASSWD = b"root:x:0:0::/root:/bin/sh\napp:x:1234:1234::/home/app:/bin/sh\n"


def folder(name: str, uid: int = 0, mode: int = 0o755) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.uid, entry.gid, entry.mode = tarfile.DIRTYPE, uid, uid, mode
    return entry


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry
