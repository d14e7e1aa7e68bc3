"""COPY and ADD: from the instruction to the files that it names, and from those to a layer.

Files come from the build's context, another stage, an image, a here-document, a URL or a git repository. Rules:
blocking; what it cannot decide it asks for (`asks`).
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Generator, Mapping
from typing import Any

from . import copying, fetched, ignore, trees, words
from .asks import Ask, Asking, Work
from .copying import CopyOptions, Source
from .request import Happened
from .running import flags
from .stage_state import StageState
from .syntax import Instruction, heredoc_name
from .trees import Tree


def copy(of: StageState, one: Instruction) -> Asking:
    """Raises BuildError."""
    known = {"chown": False, "chmod": False, "link": False, "exclude": True}
    known |= {"from": False, "parents": False} if one.word == "COPY" else {}
    known |= {"checksum": False, "keep-git-dir": False, "unpack": False} if one.word == "ADD" else {}
    given = flags(one, known)

    def flag(name: str) -> str:
        return words.expand(given[name][-1], of.values(), of.escape) if name in given else ""

    texts, dest = _arguments(of, one)
    link = _truth(one, "link", flag("link"))
    manner = CopyOptions(
        dest,
        of.owner(flag("chown")) if flag("chown") else None,
        copying.checked_mode(flag("chmod")) if flag("chmod") else "",
        ignore.patterns(words.expand(text, of.values(), of.escape) for text in given.get("exclude", ())),
    )
    parents = _truth(one, "parents", flag("parents"))
    shown = str(one)
    step = of.step(shown, one)
    below = [] if link else of.layers
    host = of.host and not link
    parts = (below, host, dest, manner.owner, manner.mode, given.get("exclude"), parents, [t for t, _ in texts])
    quick = ""
    if origin := flag("from") if "from" in given else "":
        tree, told = yield from of.origin(origin, one)
        if told:
            quick = of.key("copy of layers", told, *parts)
            if found := of.recall(quick):
                of.shared.tell(Happened(step, "cached"))
                of.add(shown, quick, *found)
                return
            tree = of.shared.layering.view(*told, origin)
    else:
        tree = of.request.context
    assert tree is not None
    sources, archives = yield from _sources(of, one, tree, texts, given, parents=parents)
    if len(sources) > 1 and not manner.folder:
        raise one.fail(
            f"several files need a folder: {dest}", f"put a slash behind it: {dest}/ (it is made if it is missing)"
        )
    key = of.key("copy", copying.digest(sources, manner, of.shared.digests.of), *parts)
    keys = (key, quick) if quick else (key,)
    own = quick or key  # which of both is found first next time must not change the image
    if found := of.recall(key):
        of.shared.tell(Happened(step, "cached"))
        if quick:
            of.keep((quick,), *found)
        of.add(shown, own, *found)
        return
    yield Work(key)
    if found := of.recall(key):
        of.shared.tell(Happened(step, "cached"))
        of.add(shown, own, *found)
        return
    with of.under_way(step):

        def write(root: int) -> None:
            _write(of, root, manner, sources, archives)

        layer = of.shared.layering.written(below, host, write)
        created = of.shared.now()
        of.keep(keys, layer, created)
    of.add(shown, own, layer, created)


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
    told = one.json()
    raw = list(told) if told is not None else words.raw_words(one.rest, of.escape)
    if len(raw) < 2:
        raise one.fail(f"{one.word} needs at least a source and a destination")
    made = []
    for word in raw:
        is_heredoc = told is None and heredoc_name(word, of.escape) is not None and word is not raw[-1]
        made.append((word, word if is_heredoc else words.expand(word, of.values(), of.escape)))
    dest = made.pop()[1]
    if not dest:
        raise one.fail(f"{one.word}: the destination is empty")
    whole = posixpath.normpath(posixpath.join(of.cwd(), dest)).replace("//", "/")
    if dest.endswith(("/", "/.")) or dest in (".", ".."):
        whole = whole.rstrip("/") + "/"
    return made, whole


def _sources(
    of: StageState,
    one: Instruction,
    tree: Tree,
    texts: list[tuple[str, str]],
    given: Mapping[str, list[str]],
    *,
    parents: bool,
) -> Generator[Ask, Any, tuple[list[Source], set[int]]]:
    """The sources, and which of them are archives to unpack."""
    found: list[Source] = []
    archives: set[int] = set()
    here = {document.name: document for document in one.heredocs}
    for raw, text in texts:
        told = heredoc_name(raw, of.escape)
        if told is not None and told[0] in here:
            found.append(_inline(of, here[told[0]]))
        elif one.word == "ADD" and (fetched.is_git(text) or fetched.is_url(text)):
            yield Work()
            found.append(_remote(of, one, text, given))
            if given.get("unpack", ["false"])[-1] == "true" and not fetched.is_git(text):
                archives.add(len(found) - 1)
        else:
            local = copying.gather(tree, [text], parents=parents)
            for source in local:
                found.append(source)
                if one.word == "ADD" and given.get("unpack", ["true"])[-1] != "false" and _is_archive(source):
                    archives.add(len(found) - 1)
    if not found:
        raise copying.none_matches(tree, [text for _, text in texts])
    return found, archives


def _inline(of: StageState, document: Any) -> Source:
    text = document.text
    if document.expanded:
        text = words.expand_document(text, of.values(), of.escape)
    folder = of.shared.layering.place("inline")
    with open(f"{folder}/file", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.chmod(f"{folder}/file", 0o644)
    os.utime(f"{folder}/file", (0, 0))
    return Source(of.folder(folder, document.name), "file", document.name)


def _remote(of: StageState, one: Instruction, text: str, given: Mapping[str, list[str]]) -> Source:
    work = of.shared.layering.work
    if fetched.is_git(text):
        keep = given.get("keep-git-dir", ["false"])[-1] == "true"
        checkout = fetched.git(text, work, keep_git=keep)
        return Source(of.folder(checkout.folder, text), "", "")
    checksum = words.expand(given.get("checksum", [""])[-1], of.values(), of.escape)
    folder, name = fetched.download(text, work, checksum)
    if not name and _arguments(of, one)[1].endswith("/"):
        raise one.fail(f"{text} names no file", "give the destination a file's name")
    name = name or "download"
    return Source(of.folder(folder, text), name, name)


def _truth(one: Instruction, name: str, text: str) -> bool:
    if text.lower() in ("", "0", "f", "false"):
        return False
    if text.lower() in ("1", "t", "true"):
        return True
    raise one.fail(f"--{name}={text}: true or false is wanted")


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
