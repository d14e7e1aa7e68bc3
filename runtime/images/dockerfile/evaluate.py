"""One stage of a build, instruction by instruction: what is remembered is taken, what is not is done.

`evaluate` is a generator, so that the same code goes through a build that is remembered whole (with no event loop
at all) and through one where stages wait for each other. It asks for what it cannot decide:

    Need(stage)   -> the Result of another stage
    Base(name)    -> the Image of that name
    Work(key)     -> None; now files will be written, or fetched. Who asks looks again whether it is remembered
    Execute(job)  -> the exit code of a RUN step

What is remembered is found by content: the layers below, what the instruction says, and the files that go in.
Rules: blocking. Names of images, stages and contexts are looked up in the order that BuildKit has: contexts, stages,
images.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import posixpath
import stat
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from pycompose.errors import Place
from pycompose.frozen import dataclass
from pycompose.runtime.images import host_image
from pycompose.runtime.images.cache import Cache
from pycompose.runtime.images.errors import ImageError
from pycompose.runtime.images.store import Image
from pycompose.runtime.init import users

from . import config as configuration
from . import copying, fetched, ignore, trees, words
from .copying import Manner, Source
from .digests import Digests
from .errors import BuildError, RunFailed
from .layering import Layering
from .request import Happened, Request, Step, Tell
from .running import Job, flags
from .stages import PROXIES, Plan, Stage, arguments
from .syntax import Instruction, heredoc_name, parse
from .trees import Tree

VERSION = "1"  # of what keys are made of
FILES = ("RUN", "COPY", "ADD", "WORKDIR")


@dataclass(frozen=True, slots=True)
class Result:
    """A finished stage. `config`, `history` are of the image's JSON; `keys` lead from the cache to its layers."""

    layers: tuple[str, ...]  # diff_ids, the lowest first
    config: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]
    created: str
    host: bool = False
    author: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Need:
    stage: int


@dataclass(frozen=True, slots=True)
class Base:
    name: str
    pull: bool = False
    step: Step | None = None  # of the FROM that asks


@dataclass(frozen=True, slots=True)
class Work:
    key: str = ""  # of what will be done; whoever does the same already is waited for


@dataclass(frozen=True, slots=True)
class Execute:
    job: Job
    output: Callable[[str], None]


Ask = Need | Base | Work | Execute
Asking = Generator[Ask, Any, Any]


@dataclass(slots=True)
class Shared:
    """What the stages of one build have in common."""

    request: Request
    plan: Plan
    layering: Layering
    cache: Cache
    digests: Digests
    tell: Tell
    imported: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # keys of cache_from -> records
    used: set[str] = field(default_factory=set)  # build arguments that some ARG asked for
    numbers: dict[int, int] = field(default_factory=dict)  # stage -> number of its first step
    fetched: set[int] = field(default_factory=set)  # steps whose image came from elsewhere

    def now(self) -> str:
        epoch = self.request.epoch
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))  # None is now


class Evaluation:
    def __init__(self, shared: Shared, stage: Stage) -> None:
        self.shared, self.stage, self.request = shared, stage, shared.request
        self.escape = shared.plan.escape
        self.layers: list[str] = []
        self.config: dict[str, Any] = {}
        self.history: list[Mapping[str, Any]] = []
        self.created, self.author, self.host = "", "", False
        self.args: dict[str, str] = {}
        self.own: set[str] = set()
        self.keys: dict[str, str] = {}
        self.fresh = self.request.no_cache or stage.name in self.request.no_cache_filter
        self.at, self.count = 1, 1 + sum(one.word in FILES for one in stage.instructions)

    # Values

    def values(self) -> dict[str, str]:
        """What `$NAME` means: ENV before ARG."""
        return {**self.args, **configuration.env(self.config)}

    def cwd(self) -> str:
        return posixpath.normpath(posixpath.join("/", self.config.get("WorkingDir") or "/")).replace("//", "/")

    # The stage

    def run(self) -> Generator[Ask, Any, Result]:
        """Raises BuildError with the position of the instruction."""
        yield from self._from()
        for text in self.config.pop("OnBuild", None) or ():
            for one in parse(text, f"{self.stage.position.path} (ONBUILD of {self.stage.base})").instructions:
                yield from self._instruction(replace(one, position=self.stage.position))
        for one in self.stage.instructions:
            yield from self._instruction(one)
        return Result(
            tuple(self.layers), self.config, tuple(self.history), self.created, self.host, self.author, self.keys
        )

    def step(self, title: str, one: Instruction | None) -> Step:
        name = f"{self.stage.name} " if self.stage.name else f"{self.stage} " if len(self.shared.plan.order) > 1 else ""
        number = self.shared.numbers[self.stage.index] + self.at - 1
        position = one.position if one else self.stage.position
        return Step(number, f"[{name}{self.at}/{self.count}] {title}", position)

    @contextlib.contextmanager
    def under_way(self, step: Step) -> Any:
        self.shared.tell(Happened(step, "started"))
        try:
            yield
        except ImageError as error:
            told = f"exit code {error.code}" if isinstance(error, RunFailed) else str(error)
            self.shared.tell(Happened(step, "failed", told))
            raise
        except (GeneratorExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.shared.tell(Happened(step, "failed", str(error)))
            raise
        self.shared.tell(Happened(step, "done"))

    def _from(self) -> Asking:
        base = self.stage.base
        step = self.step(f"FROM {base}", None)
        named = self.request.contexts.get(base) or self.request.contexts.get(base.lower())
        if base == "scratch" and named is None:
            self.shared.tell(Happened(step, "cached"))
            return
        try:
            if named is None and self.stage.base_stage is not None:
                found: Result = yield Need(self.stage.base_stage)
                self._take_on(found)
                self.shared.tell(Happened(step, "cached"))
                return
            if isinstance(named, Tree):
                raise BuildError(
                    f"{base}: a folder cannot be the base of a stage", "it can be copied from: COPY --from"
                )
            image: Image = yield Base(named or base, self.request.pull, step)
            self._of_image(image)
            self.shared.tell(Happened(step, "done" if step.number in self.shared.fetched else "cached"))
        except ImageError as error:
            raise positioned(error, self.stage.position) from None

    def _take_on(self, found: Result) -> None:
        self.layers, self.config = list(found.layers), copy.deepcopy(dict(found.config))
        self.history, self.created, self.host = list(found.history), found.created, found.host
        self.author, self.keys = found.author, dict(found.keys)

    def _of_image(self, image: Image) -> None:
        self._take_on(image_result(self.shared, image))

    def _instruction(self, one: Instruction) -> Asking:
        try:
            if one.word in FILES:
                self.at += 1
            yield from self._evaluate(one)
        except ImageError as error:
            raise positioned(error, one.position) from None
        except OSError as error:
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise BuildError(f"{one.word}: {what}", place=one.position) from error

    def _evaluate(self, one: Instruction) -> Asking:
        match one.word:
            case "ARG":
                self._arg(one)
            case "MAINTAINER":
                flags(one, {})
                self.author = one.rest
                self._remember(one.word + " " + one.rest)
            case "RUN":
                from .instructions import run

                yield from run(self, one)
            case "COPY" | "ADD":
                yield from self._copy(one)
            case "WORKDIR":
                yield from self._workdir(one)
            case _:
                configuration.change(self.config, one, self.values(), self.escape, self.own)
                self._remember(self._said(one))

    def _said(self, one: Instruction) -> str:
        if one.word == "ENV":
            made = configuration.pairs(one, self.values(), self.escape)
            return "ENV " + " ".join(f"{name}={value}" for name, value in made.items())
        return str(one)

    def _arg(self, one: Instruction) -> None:
        flags(one, {})
        for name, default in arguments(one):
            given = self.request.args.get(name)
            if given is None and default is not None:
                given = words.expand(default, self.values(), self.escape)
            elif given is None:
                given = self.shared.plan.arguments.get(name)
            self.shared.used.add(name)
            if given is not None:
                self.args[name] = given
        self._remember("ARG " + one.rest)

    def _remember(self, text: str, layer: str | None = None, created: str = "") -> None:
        """An entry of the history; with `layer`, one that has files ("" if there are none after all)."""
        entry: dict[str, Any] = {"created_by": text, "comment": "pycompose"}
        if created:
            entry = {"created": created, **entry}
            self.created = max(self.created, created)
        if not layer:
            entry["empty_layer"] = True
        self.history.append(entry)

    # What is remembered

    def key(self, *parts: object) -> str:
        told = json.dumps([VERSION, *parts], sort_keys=True, default=str).encode("utf-8", "surrogateescape")
        return "build:" + hashlib.sha256(told).hexdigest()

    def recall(self, key: str) -> tuple[str, str] | None:
        """(layer, when it was made) of what a key led to."""
        if self.fresh:
            return None
        found: Mapping[str, Any] | None = self.shared.cache.recall(key, self.shared.layering.work)
        if found is None and (brought := self.shared.imported.get(key)):
            found = brought
        return (str(found["layer"]), str(found["created"])) if found else None

    def keep(self, keys: Sequence[str], layer: str, created: str) -> None:
        for key in keys:
            self.shared.cache.remember(key, {"layer": layer, "created": created}, [layer] if layer else [])

    def add(self, text: str, key: str, layer: str, created: str) -> None:
        """The stage has a layer more."""
        if layer:
            self.layers.append(layer)
            self.keys[key] = layer
        self._remember(text, layer, created)

    # WORKDIR

    def _workdir(self, one: Instruction) -> Asking:
        flags(one, {})
        path = words.expand(one.rest, self.values(), self.escape)
        if not path:
            raise one.fail("WORKDIR: the path is empty")
        path = posixpath.normpath(posixpath.join(self.cwd(), path)).replace("//", "/")
        self.config["WorkingDir"] = path
        text, step = f"WORKDIR {path}", self.step(f"WORKDIR {path}", one)
        user = self.config.get("User") or ""
        key = self.key("workdir", self.layers, self.host, path, user)
        if found := self.recall(key):
            self.shared.tell(Happened(step, "cached"))
            self.add(text, key, *found)
            return
        yield Work(key)
        if found := self.recall(key):
            self.shared.tell(Happened(step, "cached"))
            self.add(text, key, *found)
            return
        with self.under_way(step):
            manner = Manner(path, self._owner(user) if user else None)
            layering = self.shared.layering

            def make(root: int) -> None:
                os.close(copying.Writer(root, manner).make_folder(path))

            layer = layering.written(self.layers, self.host, make)
            created = self.shared.now()
            self.keep((key,), layer, created)
        self.add(text, key, layer, created)

    def _owner(self, text: str) -> tuple[int, int]:
        """The numbers of `user[:group]`; names are looked up in the stage's own files."""
        user, colon, group = text.partition(":")
        if user.isdecimal() and (group.isdecimal() or not colon):
            numbers = int(user), int(group or user)
            if max(numbers) < 1 << 31:
                return numbers
        found = []
        for name in ("etc/passwd", "etc/group"):
            data = b""
            if self.layers or self.host:
                tree = self.shared.layering.view(self.layers, self.host, "the image")
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    fd = trees.open_at(tree, trees.resolve(tree, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                    with open(fd, "rb") as file:
                        data = file.read(1 << 24)
            found.append(data)
        try:
            who = users.resolve(found[0], found[1], text)
        except users.UserError as error:
            raise BuildError(f"{text!r}: {error}") from None
        return who.uid, who.gid

    # COPY and ADD

    def _copy(self, one: Instruction) -> Asking:
        known = {"chown": False, "chmod": False, "link": False, "exclude": True}
        known |= {"from": False, "parents": False} if one.word == "COPY" else {}
        known |= {"checksum": False, "keep-git-dir": False, "unpack": False} if one.word == "ADD" else {}
        given = flags(one, known)

        def flag(name: str) -> str:
            return words.expand(given[name][-1], self.values(), self.escape) if name in given else ""

        texts, dest = self._arguments(one)
        link = _truth(one, "link", flag("link"))
        manner = Manner(
            dest,
            self._owner(flag("chown")) if flag("chown") else None,
            copying.checked_mode(flag("chmod")) if flag("chmod") else "",
            ignore.patterns(words.expand(text, self.values(), self.escape) for text in given.get("exclude", ())),
        )
        parents = _truth(one, "parents", flag("parents"))
        shown = str(one)
        step = self.step(shown, one)
        below = [] if link else self.layers
        host = self.host and not link
        parts = (below, host, dest, manner.owner, manner.mode, given.get("exclude"), parents, [t for t, _ in texts])
        quick = ""
        if origin := flag("from") if "from" in given else "":
            tree, told = yield from self.origin(origin, one)
            if told:
                quick = self.key("copy of layers", told, *parts)
                if found := self.recall(quick):
                    self.shared.tell(Happened(step, "cached"))
                    self.add(shown, quick, *found)
                    return
                tree = self.shared.layering.view(*told, origin)
        else:
            tree = self.request.context
        assert tree is not None
        sources, archives = yield from self._sources(one, tree, texts, given, parents=parents)
        if len(sources) > 1 and not manner.folder:
            raise one.fail(
                f"several files need a folder: {dest}", f"put a slash behind it: {dest}/ (it is made if it is missing)"
            )
        key = self.key("copy", copying.digest(sources, manner, self.shared.digests.of), *parts)
        keys = (key, quick) if quick else (key,)
        own = quick or key  # which of both is found first next time must not change the image
        if found := self.recall(key):
            self.shared.tell(Happened(step, "cached"))
            if quick:
                self.keep((quick,), *found)
            self.add(shown, own, *found)
            return
        yield Work(key)
        if found := self.recall(key):
            self.shared.tell(Happened(step, "cached"))
            self.add(shown, own, *found)
            return
        with self.under_way(step):

            def write(root: int) -> None:
                self._write(root, manner, sources, archives)

            layer = self.shared.layering.written(below, host, write)
            created = self.shared.now()
            self.keep(keys, layer, created)
        self.add(shown, own, layer, created)

    def _write(self, root: int, manner: Manner, sources: list[Source], archives: set[int]) -> None:
        """Copy; the archives among them are unpacked first."""
        ready = []
        for number, source in enumerate(sources):
            if number not in archives:
                ready.append(source)
                continue
            fd = trees.open_at(source.tree, source.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(fd, "rb") as file:
                folder = fetched.unpack(file, self.shared.layering.work)
            ready.append(Source(self._folder(folder, source.base, owned=True), "", ""))
        copying.Writer(root, manner).write(ready)

    def _folder(self, path: str, what: str, *, owned: bool = False) -> Tree:
        fd = os.open(path, trees.FOLDER)
        self.shared.layering.held.callback(os.close, fd)
        return Tree(fd, what, owned=owned)

    def _arguments(self, one: Instruction) -> tuple[list[tuple[str, str]], str]:
        """(sources as they are written and expanded, destination)."""
        told = one.json()
        raw = list(told) if told is not None else words.raw_words(one.rest, self.escape)
        if len(raw) < 2:
            raise one.fail(f"{one.word} needs at least a source and a destination")
        made = []
        for word in raw:
            is_heredoc = told is None and heredoc_name(word, self.escape) is not None and word is not raw[-1]
            made.append((word, word if is_heredoc else words.expand(word, self.values(), self.escape)))
        dest = made.pop()[1]
        if not dest:
            raise one.fail(f"{one.word}: the destination is empty")
        whole = posixpath.normpath(posixpath.join(self.cwd(), dest)).replace("//", "/")
        if dest.endswith(("/", "/.")) or dest in (".", ".."):
            whole = whole.rstrip("/") + "/"
        return made, whole

    def _sources(
        self,
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
            told = heredoc_name(raw, self.escape)
            if told is not None and told[0] in here:
                found.append(self._inline(here[told[0]]))
            elif one.word == "ADD" and (fetched.is_git(text) or fetched.is_url(text)):
                yield Work()
                found.append(self._remote(one, text, given))
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

    def _inline(self, document: Any) -> Source:
        text = document.text
        if document.expanded:
            text = words.expand_document(text, self.values(), self.escape)
        folder = self.shared.layering.place("inline")
        with open(f"{folder}/file", "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        os.chmod(f"{folder}/file", 0o644)
        os.utime(f"{folder}/file", (0, 0))
        return Source(self._folder(folder, document.name), "file", document.name)

    def _remote(self, one: Instruction, text: str, given: Mapping[str, list[str]]) -> Source:
        work = self.shared.layering.work
        if fetched.is_git(text):
            keep = given.get("keep-git-dir", ["false"])[-1] == "true"
            checkout = fetched.git(text, work, keep_git=keep)
            return Source(self._folder(checkout.folder, text), "", "")
        checksum = words.expand(given.get("checksum", [""])[-1], self.values(), self.escape)
        folder, name = fetched.download(text, work, checksum)
        if not name and self._arguments(one)[1].endswith("/"):
            raise one.fail(f"{text} names no file", "give the destination a file's name")
        name = name or "download"
        return Source(self._folder(folder, text), name, name)

    def origin(
        self, name: str, one: Instruction
    ) -> Generator[Ask, Any, tuple[Tree | None, tuple[tuple[str, ...], bool] | None]]:
        """What `--from=NAME` means: a tree of its own, or layers (and whether the host is below them)."""
        context = self.request.contexts.get(name) or self.request.contexts.get(name.lower())
        if isinstance(context, Tree):
            return context, None
        index = None if context else self.shared.plan.find(name)
        if index is not None:
            found: Result = yield Need(index)
        elif name == "scratch":
            raise one.fail("there is nothing to copy from scratch")
        else:
            image: Image = yield Base(context or name, self.request.pull)
            found = image_result(self.shared, image)
        return None, (found.layers, found.host)


def positioned(error: ImageError, position: Place) -> BuildError:
    """The error with the line that is to blame, unless it has one."""
    if isinstance(error, BuildError):
        return error if error.place else BuildError(error.message, error.hint, position)
    return BuildError(str(error), error.hint, position)


def image_result(shared: Shared, image: Image) -> Result:
    """An image as if it were a stage; its layers stay while the build goes on."""
    if image.is_host and not image.digest:
        return Result((), {"Env": [host_image.path()], "Cmd": ["/bin/sh"]}, (), "", host=True)
    store = shared.layering.store
    told = json.loads(store.config_of(image.digest))
    layers = tuple((told.get("rootfs") or {}).get("diff_ids") or ())
    store.need(shared.layering.work, layers)
    if missing := [one for one in layers if store.layer(one) is None]:
        raise BuildError(f"{image.name}: layer {missing[0]} is not on this machine any more", "load or pull it again")
    return Result(
        layers,
        dict(told.get("config") or {}),
        tuple(told.get("history") or ()),
        str(told.get("created") or ""),
        image.is_host,
        str(told.get("author") or ""),
    )


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


__all__ = ["PROXIES", "Ask", "Base", "Evaluation", "Execute", "Need", "Result", "Shared", "Work", "image_result"]
