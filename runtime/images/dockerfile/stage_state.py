"""The state of one stage of a build while its instructions are evaluated: layers, configuration, history, arguments.

What is remembered is found by content: the layers below, what the instruction says, and the files that go in. Names of
images, stages and contexts are looked up in the order that BuildKit has: contexts, stages, images. Rules: blocking.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import posixpath
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import field
from typing import Any

from pycompose import shortages
from pycompose.frozen import dataclass
from pycompose.runtime.files.descent import read_regular
from pycompose.runtime.images import host_image
from pycompose.runtime.images.cache import Cache
from pycompose.runtime.images.errors import ImageError
from pycompose.runtime.images.store import Image
from pycompose.runtime.init import users

from . import config as configuration
from . import trees
from .asks import Ask, Base, Need, Result
from .digests import Digests
from .errors import BuildError, RunFailed
from .layering import Layering
from .request import BuildStep, Happened, Request, Tell
from .stages import BuildPlan, Stage, similar
from .syntax import Instruction
from .trees import Tree

VERSION = "1"  # of what keys are made of
FILES = ("RUN", "COPY", "ADD", "WORKDIR")


@dataclass(slots=True)
class Shared:
    """What the stages of one build have in common."""

    request: Request
    plan: BuildPlan
    layering: Layering
    cache: Cache
    digests: Digests
    tell: Tell
    imported: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # keys of cache_from -> records
    used: set[str] = field(default_factory=set)  # build arguments that some ARG asked for
    numbers: dict[int, int] = field(default_factory=dict)  # stage -> number of its first step
    fetched: set[int] = field(default_factory=set)  # steps whose image came from elsewhere
    warnings: list[str] = field(default_factory=list)

    def now(self) -> str:
        epoch = self.request.epoch
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))  # None is now


class StageState:
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

    def values(self) -> dict[str, str]:
        """What `$NAME` means: ENV before ARG."""
        return {**self.args, **configuration.env(self.config)}

    def cwd(self) -> str:
        return posixpath.normpath(posixpath.join("/", self.config.get("WorkingDir") or "/")).replace("//", "/")

    def step(self, title: str, one: Instruction | None) -> BuildStep:
        name = f"{self.stage.name} " if self.stage.name else f"{self.stage} " if len(self.shared.plan.order) > 1 else ""
        number = self.shared.numbers[self.stage.index] + self.at - 1
        position = one.position if one else self.stage.position
        return BuildStep(number, f"[{name}{self.at}/{self.count}] {title}", position)

    @contextlib.contextmanager
    def under_way(self, step: BuildStep) -> Any:
        self.shared.tell(Happened(step, "started"))
        try:
            yield
        except ImageError as error:
            reason = f"exit code {error.code}" if isinstance(error, RunFailed) else str(error)
            self.shared.tell(Happened(step, "failed", reason))
            raise
        except (GeneratorExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.shared.tell(Happened(step, "failed", shortages.reason(error)))
            raise
        self.shared.tell(Happened(step, "done"))

    def take_on(self, result: Result) -> None:
        self.layers, self.config = list(result.layers), copy.deepcopy(dict(result.config))
        self.history, self.created, self.host = list(result.history), result.created, result.host
        self.author, self.keys, self.args = result.author, dict(result.keys), dict(result.args)

    def remember(self, text: str, layer: str | None = None, created: str = "") -> None:
        """An entry of the history; with `layer`, one that has files ("" if there are none after all)."""
        entry: dict[str, Any] = {"created_by": text, "comment": "pycompose"}
        if created:
            entry = {"created": created, **entry}
            self.created = max(self.created, created)
        if not layer:
            entry["empty_layer"] = True
        self.history.append(entry)

    def key(self, *parts: object) -> str:
        text = json.dumps([VERSION, *parts], sort_keys=True, default=str).encode("utf-8", "surrogateescape")
        return "build:" + hashlib.sha256(text).hexdigest()

    def recall(self, key: str) -> tuple[str, str] | None:
        """(layer, when it was made) of what a key led to."""
        if self.fresh:
            return None
        record: Mapping[str, Any] | None = self.shared.cache.recall(key, self.shared.layering.work)
        if record is None and (imported := self.shared.imported.get(key)):
            record = imported
        return (str(record["layer"]), str(record["created"])) if record else None

    def keep(self, keys: Sequence[str], layer: str, created: str) -> None:
        for key in keys:
            self.shared.cache.remember(key, {"layer": layer, "created": created}, [layer] if layer else [])

    def add(self, text: str, key: str, layer: str, created: str) -> None:
        """The stage has a layer more."""
        if layer:
            self.layers.append(layer)
            self.keys[key] = layer
        self.remember(text, layer, created)

    def owner(self, text: str) -> tuple[int, int]:
        """The numbers of `user[:group]`; names are looked up in the stage's own files."""
        user, colon, group = text.partition(":")
        if user.isdecimal() and (group.isdecimal() or not colon):
            numbers = int(user), int(group or user)
            if max(numbers) < 1 << 31:
                return numbers
        files = []
        for name in ("etc/passwd", "etc/group"):
            data = b""
            if self.layers or self.host:
                tree = self.shared.layering.view(self.layers, self.host, "the image")
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    entry = trees.open_at(tree, trees.resolve(tree, name))
                    try:
                        data = read_regular(entry, users.LARGEST)
                    except OSError as error:
                        raise BuildError(f"{text!r}: /{name} of the image cannot be read: {error.strerror}") from None
                    finally:
                        os.close(entry)
            files.append(data)
        try:
            who = users.resolve(files[0], files[1], text)
        except users.UserError as error:
            raise BuildError(f"{text!r}: {error}") from None
        return who.uid, who.gid

    def folder(self, path: str, what: str, *, owned: bool = False) -> Tree:
        fd = os.open(path, trees.FOLDER)
        self.shared.layering.held.callback(os.close, fd)
        return Tree(fd, what, owned=owned)

    def origin(
        self, name: str, one: Instruction
    ) -> Generator[Ask, Any, tuple[Tree | None, tuple[tuple[str, ...], bool] | None]]:
        """What `--from=NAME` means: a tree of its own, or layers (and whether the host is below them)."""
        context = self.request.contexts.get(name) or self.request.contexts.get(name.lower())
        if isinstance(context, Tree):
            return context, None
        index = None if context else self.shared.plan.find(name)
        if index is not None:
            result: Result = yield Need(index)
        elif name == "scratch":
            raise one.fail("there is nothing to copy from scratch")
        else:
            try:
                image: Image = yield Base(context or name, self.request.pull)
            except ImageError as error:
                if hint := similar(name, self.shared.plan.stages):
                    raise BuildError(f"{name} is neither a stage nor an image: {error.message}", hint) from error
                raise
            result = image_result(self.shared, image)
        return None, (result.layers, result.host)


def image_result(shared: Shared, image: Image) -> Result:
    """An image as if it were a stage; its layers stay while the build goes on."""
    if image.is_host and not image.digest:
        return Result((), {"Env": [host_image.path()], "Cmd": ["/bin/sh"]}, (), "", host=True)
    store = shared.layering.store
    config = json.loads(store.config_of(image.digest))
    layers = tuple((config.get("rootfs") or {}).get("diff_ids") or ())
    store.need(shared.layering.work, layers)
    if missing := [one for one in layers if store.layer(one) is None]:
        raise BuildError(f"{image.name}: layer {missing[0]} is not on this machine any more", "load or pull it again")
    return Result(
        layers,
        dict(config.get("config") or {}),
        tuple(config.get("history") or ()),
        str(config.get("created") or ""),
        image.is_host,
        str(config.get("author") or ""),
    )
