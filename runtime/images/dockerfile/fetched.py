"""Sources of a build from elsewhere: git repositories, URLs, archives that are unpacked. Blocking.

Everything arrives in a folder that is the build's own, and becomes a tree to copy from. Most builds fetch nothing, so
what that needs is imported then. `git` is the program of that
name; archives go through the safe extractor of layers; downloads are checked and have a limit.
"""

from __future__ import annotations

import bz2
import contextlib
import hashlib
import lzma
import os
import posixpath
import re
import shutil
import tarfile
import tempfile
from typing import IO, Any, cast

from pycompose.frozen import dataclass
from pycompose.plain_text import one_line
from pycompose.runtime.files.descent import make_folder
from pycompose.runtime.files.remove import discard
from pycompose.runtime.images.errors import ImageError
from pycompose.runtime.images.layers import READ_ERRORS, Blob, extract
from pycompose.runtime.images.streams import MeasuredStream, plain

from . import trees
from .errors import BuildError
from .git_command import GitCommand, ServerTooSlow, without_password
from .trees import Tree

MAX_DOWNLOAD = 16 << 30
PATIENCE = 60  # seconds without a byte
_GIT = re.compile(r"(?:git://|git@|ssh://git@)|https?://[^#?]+\.git(?:[#?]|$)|github\.com/")


def is_git(text: str) -> bool:
    return bool(_GIT.match(text))


def is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


@dataclass(frozen=True, slots=True)
class Checkout:
    folder: str
    commit: str


def git(text: str, work: str, *, keep_git: bool = False, largest: int = 0) -> Checkout:
    """`URL[#REF[:FOLDER]]` in a folder of `work`. Raises BuildError.

    With `largest` its files have so many bytes at most, as has what git keeps; submodules are left out.
    """
    if shutil.which("git") is None:
        raise BuildError(f"{without_password(text)}: there is no git on this machine", "apt-get install git")
    url, _, fragment = text.partition("#")
    ref, _, inner = fragment.partition(":")
    if url.startswith("github.com/"):
        url = f"https://{url}"
    text = without_password(text)
    if ref.startswith("-") or re.search(r"(?:^|://|@)-", url):
        raise BuildError(f"{text}: no such repository")
    folder = tempfile.mkdtemp(prefix="git-", dir=work)
    run = GitCommand(folder, text, largest)
    run("init", "--quiet", ".")
    run("remote", "add", "origin", "--", url)
    fetched = "FETCH_HEAD"
    try:
        run("fetch", "--progress", "--depth=1", "origin", "--", ref or "HEAD")
    except ServerTooSlow:
        raise
    except BuildError:  # a server that cannot cut a history, or gives no single commit
        if re.fullmatch(r"[0-9a-f]{7,64}", ref):
            fetched = ref
            run("fetch", "--progress", "--tags", "origin")
        else:
            run("fetch", "--progress", "origin", "--", ref or "HEAD")
    if largest:
        rows = [row.split() for row in run("ls-tree", "-r", "-l", fetched, local=True).splitlines()]
        if sum(int(row[3]) for row in rows if len(row) > 3 and row[3].isdecimal()) > largest:
            raise BuildError(f"{text}: its files are larger than {largest >> 20} MiB")
    run("checkout", "--quiet", "--detach", fetched, local=True)
    if not largest:
        run("submodule", "update", "--progress", "--init", "--recursive")
    commit = run("rev-parse", "HEAD")
    if not keep_git:
        discard(f"{folder}/.git")
    if inner:
        root = os.open(folder, trees.FOLDER)
        try:
            tree = Tree(root, text)
            real = trees.resolve(tree, trees.inner(inner))
        except OSError:
            raise BuildError(f"{text}: there is no folder {inner!r} in it") from None
        finally:
            os.close(root)
        folder = f"{folder}/{real}"
    return Checkout(folder, commit)


def download(url: str, work: str, checksum: str = "") -> tuple[str, str]:
    """(folder, name) of a file with what is at `url`, for root alone; `checksum` is sha256:… . Raises BuildError."""
    import urllib.error
    import urllib.parse
    import urllib.request
    from email.utils import parsedate_to_datetime

    name = posixpath.basename(urllib.parse.unquote(urllib.parse.urlsplit(url).path))
    folder = tempfile.mkdtemp(prefix="url-", dir=work)
    path = f"{folder}/{name or 'download'}"
    sha, size = hashlib.sha256(), 0
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "pycompose"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer, open(path, "xb") as out:
            while data := answer.read(1 << 20):
                size += len(data)
                if size > MAX_DOWNLOAD:
                    raise BuildError(f"{url}: it is too large")
                sha.update(data)
                out.write(data)
            modified = answer.headers.get("Last-Modified", "")
            out.flush()
            os.fchmod(out.fileno(), 0o600)
            when = 0.0
            with contextlib.suppress(ValueError, TypeError):
                when = parsedate_to_datetime(modified).timestamp()
            os.utime(out.fileno(), (when, when))
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise BuildError(f"{url}: {one_line(str(getattr(error, 'reason', None) or error), 300)}") from error
    if checksum and checksum != f"sha256:{sha.hexdigest()}":
        raise BuildError(f"{url}: it has sha256:{sha.hexdigest()}, not {checksum}")
    return folder, name


def is_archive(file: IO[bytes]) -> bool:
    """Whether it is a tar, plain or compressed; known by its content, never by its name."""
    start = b""
    try:
        stream = _plain(file)
        while len(start) < 512 and (more := stream.read(512 - len(start))):
            start += more
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except (*READ_ERRORS, ImageError, lzma.LZMAError):
        return False
    return True


def _plain(file: IO[bytes]) -> IO[bytes]:
    magic = file.read(6)
    file.seek(0)
    if magic[:3] == b"BZh":
        return cast(IO[bytes], bz2.open(cast(Any, file)))
    if magic == b"\xfd7zXZ\0":
        return cast(IO[bytes], lzma.open(cast(Any, file)))
    return plain(MeasuredStream(file))


def unpack(file: IO[bytes], work: str) -> str:
    """The folder of `work` in which the archive lies unpacked. Raises ImageError."""
    folder = f"{tempfile.mkdtemp(prefix='unpacked-', dir=work)}/content"
    os.close(make_folder(folder, 0o755))
    try:
        extract(Blob(lambda: _plain(file)), folder)
    except lzma.LZMAError as error:
        raise ImageError(f"an archive cannot be read: {error}") from error
    return folder
