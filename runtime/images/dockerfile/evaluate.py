"""One stage of a build, instruction by instruction: what is remembered is taken, what is not is done.

`evaluate` is a generator, so that the same code goes through a build that is remembered whole (with no event loop
at all) and through one where stages wait for each other. It asks for what it cannot decide (`asks`). Rules: blocking.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Generator
from dataclasses import replace
from typing import Any

from pycompose import shortages
from pycompose.errors import Place
from pycompose.runtime.images.errors import ImageError
from pycompose.runtime.images.store import Image

from . import config as configuration
from . import copying, words
from .asks import Ask, Asking, Base, Need, Result, Work
from .copy_instruction import copy
from .copying import CopyOptions
from .errors import BuildError
from .request import Happened
from .run_instruction import PATH, run
from .running import flags
from .stage_state import FILES, StageState, image_result
from .stages import arguments
from .syntax import Instruction, parse
from .trees import Tree


def evaluate(of: StageState) -> Generator[Ask, Any, Result]:
    """Raises BuildError with the position of the instruction."""
    yield from _from(of)
    for text in of.config.pop("OnBuild", None) or ():
        for one in parse(text, f"{of.stage.position.path} (ONBUILD of {of.stage.base})").instructions:
            yield from _instruction(of, replace(one, position=of.stage.position))
    for one in of.stage.instructions:
        yield from _instruction(of, one)
    return Result(tuple(of.layers), of.config, tuple(of.history), of.created, of.host, of.author, of.keys, of.args)


def _from(of: StageState) -> Asking:
    yield from _base(of)
    env = configuration.env(of.config)
    if "PATH" not in env:  # as BuildKit does: the image has one whatever its base says
        of.config["Env"] = [*(of.config.get("Env") or ()), f"PATH={PATH}"]


def _base(of: StageState) -> Asking:
    base = of.stage.base
    step = of.step(f"FROM {base}", None)
    named = of.request.contexts.get(base) or of.request.contexts.get(base.lower())
    if base == "scratch" and named is None:
        of.shared.tell(Happened(step, "cached"))
        return
    try:
        if named is None and of.stage.base_stage is not None:
            result: Result = yield Need(of.stage.base_stage)
            of.take_on(result)
            of.shared.tell(Happened(step, "cached"))
            return
        if isinstance(named, Tree):
            raise BuildError(f"{base}: a folder cannot be the base of a stage", "it can be copied from: COPY --from")
        image: Image = yield Base(named or base, of.request.pull, step)
        of.take_on(image_result(of.shared, image))
        of.shared.tell(Happened(step, "done" if step.number in of.shared.fetched else "cached"))
    except ImageError as error:
        raise positioned(error, of.stage.position) from None


def _instruction(of: StageState, one: Instruction) -> Asking:
    try:
        if one.word in FILES:
            of.at += 1
        yield from _evaluate(of, one)
    except ImageError as error:
        raise positioned(error, one.position) from None
    except OSError as error:
        hint = shortages.hint(shortages.number(error))
        raise BuildError(f"{one.word}: {shortages.reason(error)}", hint, place=one.position) from error


def _evaluate(of: StageState, one: Instruction) -> Asking:
    match one.word:
        case "ARG":
            _arg(of, one)
        case "MAINTAINER":
            flags(one, {})
            of.author = one.rest
            of.remember(one.word + " " + one.rest)
        case "RUN":
            yield from run(of, one)
        case "COPY" | "ADD":
            yield from copy(of, one)
        case "WORKDIR":
            yield from _workdir(of, one)
        case _:
            configuration.change(of.config, one, of.values(), of.escape, of.own, of.shared.warnings)
            of.remember(_said(of, one))


def _said(of: StageState, one: Instruction) -> str:
    if one.word == "ENV":
        pairs = configuration.pairs(one, of.values(), of.escape)
        return "ENV " + " ".join(f"{name}={value}" for name, value in pairs.items())
    return str(one)


def _arg(of: StageState, one: Instruction) -> None:
    flags(one, {})
    for name, default in arguments(one):
        value = of.request.args.get(name)
        if value is None and default is not None:
            value = words.expand(default, of.values(), of.escape)
        elif value is None:
            value = of.shared.plan.arguments.get(name)
        of.shared.used.add(name)
        if value is not None:
            of.args[name] = value
    of.remember("ARG " + one.rest)


def _workdir(of: StageState, one: Instruction) -> Asking:
    flags(one, {})
    path = words.expand(one.rest, of.values(), of.escape)
    if not path:
        raise one.fail("WORKDIR: the path is empty")
    path = posixpath.normpath(posixpath.join(of.cwd(), path)).replace("//", "/")
    of.config["WorkingDir"] = path
    text, step = f"WORKDIR {path}", of.step(f"WORKDIR {path}", one)
    user = of.config.get("User") or ""
    key = of.key("workdir", of.layers, of.host, path, user)
    if remembered := of.recall(key):
        of.shared.tell(Happened(step, "cached"))
        of.add(text, key, *remembered)
        return
    yield Work(key)
    if remembered := of.recall(key):
        of.shared.tell(Happened(step, "cached"))
        of.add(text, key, *remembered)
        return
    with of.under_way(step):
        manner = CopyOptions(path, of.owner(user) if user else None)
        layering = of.shared.layering

        def make(root: int) -> None:
            os.close(copying.Writer(root, manner).make_folder(path))

        layer = layering.written(of.layers, of.host, make)
        created = of.shared.now()
        of.keep((key,), layer, created)
    of.add(text, key, layer, created)


def positioned(error: ImageError, position: Place) -> BuildError:
    """The error with the line that is to blame, unless it has one."""
    if isinstance(error, BuildError):
        return error if error.place else BuildError(error.message, error.hint, position)
    return BuildError(error.message, error.hint, position)
