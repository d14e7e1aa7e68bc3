"""A build's context: a folder, a tar, git or standard input; and its Dockerfile and .dockerignore. Blocking."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from dataclasses import replace
from typing import IO

from pycompose.frozen import dataclass

from . import fetched, ignore, trees
from .errors import BuildError
from .trees import Tree

MAX_TEXT = 16 << 20


@dataclass(frozen=True, slots=True)
class BuildContext:
    tree: Tree
    dockerfile: str  # its text
    name: str  # for messages


def opened(where: str, work: str, held: contextlib.ExitStack, stdin: IO[bytes] | None = None) -> Tree:
    """The tree that is meant: a path, a URL (git, a tar), or "-". It may be made in `work`. Raises BuildError."""
    if where == "-":
        if stdin is None:
            raise BuildError("standard input cannot be a context here")
        return _of_stream(stdin, work, held)
    if fetched.is_git(where):
        return _folder(fetched.git(where, work).folder, where, held)
    if fetched.is_url(where):
        folder, name = fetched.download(where, work)
        with open(f"{folder}/{name or 'download'}", "rb") as file:
            return _of_stream(file, work, held)
    if os.path.isfile(where):
        with open(where, "rb") as file:
            return _of_stream(file, work, held)
    path = os.path.realpath(where)
    if not os.path.isdir(path):
        raise BuildError(f"{where}: there is no such folder to build from")
    tree = _folder(path, "the build context", held)
    return replace(tree, path=path)


def _folder(path: str, what: str, held: contextlib.ExitStack) -> Tree:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    held.callback(os.close, fd)
    return Tree(fd, what)


def _of_stream(file: IO[bytes], work: str, held: contextlib.ExitStack) -> Tree:
    """A tar is unpacked; anything else is a Dockerfile, alone."""
    spool = tempfile.TemporaryFile(dir=work)  # noqa: SIM115
    held.callback(spool.close)
    shutil.copyfileobj(file, spool, 1 << 20)
    spool.seek(0)
    if fetched.is_archive(spool):
        spool.seek(0)
        return _folder(fetched.unpack(spool, work), "the build context", held)
    spool.seek(0)
    folder = tempfile.mkdtemp(prefix="context-", dir=work)
    with open(f"{folder}/Dockerfile", "wb") as out:
        shutil.copyfileobj(spool, out)
    return _folder(folder, "the build context", held)


def read(tree: Tree, dockerfile: str = "", *, inline: str | None = None, local: str = "") -> BuildContext:
    """The Dockerfile of a context, and the context without what its .dockerignore leaves out.

    `dockerfile` is a path in the context (`Dockerfile` without one); `local` is a file of this machine instead;
    `inline` is the text itself. Raises BuildError.
    """
    name = dockerfile or "Dockerfile"
    if inline is not None:
        text, name = inline, "Dockerfile (inline)"
    elif local:
        name = local
        try:
            with open(local, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read(MAX_TEXT)
        except OSError as error:
            raise BuildError(f"{local}: {error.strerror}") from None
    else:
        content = _text(tree, name)
        if content is None:
            hint = "-f names another one"
            if not dockerfile and _text(tree, "Containerfile") is not None:
                hint = "there is a Containerfile: -f Containerfile"
            raise BuildError(f"there is no {name} in {tree.path or tree.what}", hint)
        text = content
    rules = None
    if local and os.path.isfile(f"{local}.dockerignore"):
        with open(f"{local}.dockerignore", encoding="utf-8", errors="surrogateescape") as file:
            rules = ignore.read(file.read(MAX_TEXT), f"{local}.dockerignore")
    candidates = [".dockerignore"] if inline is not None or local else [f"{name}.dockerignore", ".dockerignore"]
    for candidate in candidates if rules is None else ():
        if (content := _text(tree, candidate)) is not None:
            rules = ignore.read(content, candidate)
            break
    return BuildContext(replace(tree, ignore=rules or ignore.NOTHING), text, name)


def _text(tree: Tree, path: str) -> str | None:
    try:
        real = trees.resolve(tree, trees.inner(path))
        fd = trees.open_at(tree, real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        with open(fd, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(MAX_TEXT)
    except IsADirectoryError:
        raise BuildError(f"{path} is a folder: a Dockerfile is wanted") from None
