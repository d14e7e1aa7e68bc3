"""COPY and ADD: from the instruction to the files that it names, and from those to a layer.

Files come from the build's context, another stage, an image, a here-document, a URL or a git repository. Rules:
blocking; what it cannot decide it asks for (`asks`).
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Generator
from typing import Any

from pycompose.frozen import dataclass

from . import copying, fetched, ignore, trees, words
from .asks import Ask, Asking, Work
from .copying import CopyOptions, Source
from .request import Happened
from .running import copy_options, truth
from .stage_state import StageState
from .syntax import Instruction, heredoc_name
from .trees import Tree


@dataclass(frozen=True, slots=True)
class _Remote:
    """What ADD wants of a URL's file (`checksum`; "" for any), and of a git repository."""

    checksum: str
    keep_git: bool


def copy(of: StageState, one: Instruction) -> Asking:
    """Raises BuildError."""
    options = copy_options(one)

    def flag(name: str) -> str:
        return words.expand(options[name][-1], of.values(), of.escape) if name in options else ""

    def switch(name: str) -> bool:
        return truth(flag(name), one, name) if flag(name) else False

    texts, dest = _arguments(of, one)
    link = switch("link")
    manner = CopyOptions(
        dest,
        of.owner(flag("chown")) if flag("chown") else None,
        copying.checked_mode(flag("chmod")) if flag("chmod") else "",
        ignore.patterns(words.expand(text, of.values(), of.escape) for text in options.get("exclude", ())),
    )
    parents = switch("parents")
    unpack = switch("unpack") if "unpack" in options else None
    checksum = flag("checksum")
    remote = _Remote(copying.checked_checksum(checksum) if checksum else "", switch("keep-git-dir"))
    if remote.checksum and len(texts) > 1:
        raise one.fail("--checksum is of one source", "give each source an ADD of its own")
    shown = str(one)
    step = of.step(shown, one)
    below = [] if link else of.layers
    host = of.host and not link
    parts = (below, host, dest, manner.owner, manner.mode, options.get("exclude"), parents, [t for t, _ in texts])
    quick = ""
    if origin := flag("from") if "from" in options else "":
        tree, layers = yield from of.origin(origin, one)
        if layers:
            quick = of.key("copy of layers", layers, *parts)
            if remembered := of.recall(quick):
                of.shared.tell(Happened(step, "cached"))
                of.add(shown, quick, *remembered)
                return
            tree = of.shared.layering.view(*layers, origin)
    else:
        tree = of.request.context
    assert tree is not None
    sources, archives = yield from _sources(of, one, tree, texts, remote, unpack=unpack, parents=parents)
    if len(sources) > 1 and not manner.folder:
        raise one.fail(
            f"several files need a folder: {dest}", f"put a slash behind it: {dest}/ (it is made if it is missing)"
        )
    key = of.key("copy", copying.digest(sources, manner, of.shared.digests.of), *parts, *sorted(archives))
    keys = (key, quick) if quick else (key,)
    shown_key = quick or key  # which of both is found first next time must not change the image
    if remembered := of.recall(key):
        of.shared.tell(Happened(step, "cached"))
        if quick:
            of.keep((quick,), *remembered)
        of.add(shown, shown_key, *remembered)
        return
    yield Work(key)
    if remembered := of.recall(key):
        of.shared.tell(Happened(step, "cached"))
        of.add(shown, shown_key, *remembered)
        return
    with of.under_way(step):

        def write(root: int) -> None:
            _write(of, root, manner, sources, archives)

        layer = of.shared.layering.written(below, host, write)
        created = of.shared.now()
        of.keep(keys, layer, created)
    of.add(shown, shown_key, layer, created)


def _write(of: StageState, root: int, manner: CopyOptions, sources: list[Source], archives: set[int]) -> None:
    """Copy; the archives among them are unpacked first."""
    ready = []
    for number, source in enumerate(sources):
        if number not in archives:
            ready.append(source)
            continue
        fd = trees.open_at(source.tree, source.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            folder = fetched.unpack(file, of.shared.layering.work)
        ready.append(Source(of.folder(folder, source.base, owned=True), "", ""))
    copying.Writer(root, manner).write(ready)


def _arguments(of: StageState, one: Instruction) -> tuple[list[tuple[str, str]], str]:
    """(sources as they are written and expanded, destination)."""
    raw = one.words(of.escape)
    arguments = []
    for word in raw:
        is_heredoc = one.json() is None and heredoc_name(word, of.escape) is not None and word is not raw[-1]
        arguments.append((word, word if is_heredoc else words.expand(word, of.values(), of.escape)))
    dest = arguments.pop()[1]
    if not dest:
        raise one.fail(f"{one.word}: the destination is empty")
    whole = posixpath.normpath(posixpath.join(of.cwd(), dest)).replace("//", "/")
    if dest.endswith(("/", "/.")) or dest in (".", ".."):
        whole = whole.rstrip("/") + "/"
    return arguments, whole


def _sources(
    of: StageState,
    one: Instruction,
    tree: Tree,
    texts: list[tuple[str, str]],
    remote: _Remote,
    *,
    unpack: bool | None,
    parents: bool,
) -> Generator[Ask, Any, tuple[list[Source], set[int]]]:
    """The sources, and which of them are archives to unpack: unless `unpack` says it, those that are no URL's."""
    sources: list[Source] = []
    archives: set[int] = set()
    here = {document.name: document for document in one.heredocs}
    for raw, text in texts:
        marker = heredoc_name(raw, of.escape)
        if remote.checksum and (fetched.is_git(text) or not fetched.is_url(text)):
            raise one.fail(f"--checksum cannot be of {text}", "it is of a file that a URL names")
        if marker is not None and marker[0] in here:
            sources.append(_inline(of, here[marker[0]]))
        elif one.word == "ADD" and (fetched.is_git(text) or fetched.is_url(text)):
            yield Work()
            sources.append(_fetch(of, one, text, remote))
            if unpack and not fetched.is_git(text):
                archives.add(len(sources) - 1)
        else:
            local = copying.gather(tree, [text], parents=parents)
            for source in local:
                sources.append(source)
                if one.word == "ADD" and unpack is not False and _is_archive(source):
                    archives.add(len(sources) - 1)
    if not sources:  # BuildKit copies nothing then, and says nothing
        where = f"{one.position}: {one.word} {' '.join(text for _, text in texts)}"
        of.shared.warnings.append(f"{where} matches no file of {tree.what}, and copies nothing")
    return sources, archives


def _inline(of: StageState, document: Any) -> Source:
    text = document.text
    if document.expanded:
        text = words.expand_document(text, of.values(), of.escape)
    folder = of.shared.layering.place("inline")
    with open(f"{folder}/file", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.utime(file.fileno(), (0, 0))
    return Source(of.folder(folder, document.name), "file", document.name)


def _fetch(of: StageState, one: Instruction, text: str, remote: _Remote) -> Source:
    work = of.shared.layering.work
    if fetched.is_git(text):
        checkout = fetched.git(text, work, keep_git=remote.keep_git)
        return Source(of.folder(checkout.folder, text), "", "")
    folder, name = fetched.download(text, work, remote.checksum)
    if not name and _arguments(of, one)[1].endswith("/"):
        raise one.fail(f"{text} names no file", "give the destination a file's name")
    name = name or "download"
    return Source(of.folder(folder, text), name, name)


def _is_archive(source: Source) -> bool:
    fd = trees.open_at(source.tree, source.path)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return False
    finally:
        os.close(fd)
    fd = trees.open_at(source.tree, source.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        return fetched.is_archive(file)
