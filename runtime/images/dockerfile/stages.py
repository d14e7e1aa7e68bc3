"""A Dockerfile's instructions as stages, and what each stage needs of others. Pure.

Which stages a target needs, and in which order they can be built, is told by `plan`; stages that need each other in a
circle are an error. The order is the standard library's: this folder cannot import `compose`, which has networkx.
"""

from __future__ import annotations

import graphlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace

from pycompose.errors import Place
from pycompose.frozen import dataclass

from . import words
from .errors import BuildError
from .syntax import Dockerfile, Instruction

_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_ARCHITECTURES = {  # spellings of processors, and the variant that each means
    **{"amd64": ("amd64", ""), "x86_64": ("amd64", ""), "x86-64": ("amd64", "")},
    **{"arm64": ("arm64", ""), "aarch64": ("arm64", ""), "386": ("386", ""), "i386": ("386", "")},
    **{"arm": ("arm", "v7"), "armhf": ("arm", "v7"), "armel": ("arm", "v6")},
    **{name: (name, "") for name in ("ppc64le", "s390x", "riscv64", "mips64le", "loong64")},
}
PROXIES = tuple(
    name for word in ("HTTP", "HTTPS", "FTP", "NO", "ALL") for name in (f"{word}_PROXY", f"{word.lower()}_proxy")
)


@dataclass(frozen=True, slots=True)
class Stage:
    index: int
    name: str  # "" where it has none
    base: str  # an image's name, "scratch", or a stage's name in small letters
    instructions: tuple[Instruction, ...]
    position: Place
    needs: tuple[int, ...] = ()  # stages
    base_stage: int | None = None
    foreign: str = ""  # the --platform of FROM where it is not this machine's

    def __str__(self) -> str:
        return self.name or f"stage-{self.index}"


@dataclass(frozen=True, slots=True)
class BuildPlan:
    stages: tuple[Stage, ...]
    target: int
    order: tuple[int, ...]  # those that the target needs, and itself at the end
    arguments: Mapping[str, str] = field(default_factory=dict)  # of ARG before the first FROM, and of the platform
    escape: str = "\\"
    warnings: tuple[str, ...] = ()

    def find(self, name: str) -> int | None:
        """The stage that `--from=NAME` means."""
        return find(self.stages, name)


def find(stages: Sequence[Stage], name: str) -> int | None:
    lower = name.lower()
    named = [stage.index for stage in stages if stage.name and stage.name == lower]
    if named:
        return named[-1]
    if name.isdecimal() and int(name) < len(stages):
        return int(name)
    return None


def similar(name: str, stages: Sequence[Stage]) -> str:
    """A hint at the stage whose name is like this one; empty where none is."""
    from difflib import get_close_matches  # a millisecond that a good Dockerfile does not need

    near = get_close_matches(name.lower(), [stage.name for stage in stages if stage.name], 1)
    return f"did you mean the stage {near[0]}?" if near else ""


def plan(
    dockerfile: Dockerfile, target: str, args: Mapping[str, str], platform: Mapping[str, str], contexts: Iterable[str]
) -> BuildPlan:
    """`given` are --build-arg, `platform` TARGETARCH and the like, `contexts` names of further contexts.

    Raises BuildError.
    """
    escape, contexts = dockerfile.escape, set(contexts)
    values = {**platform, **{name: args[name] for name in platform if name in args}}
    instructions = list(dockerfile.instructions)
    while instructions and instructions[0].word == "ARG":
        one = instructions.pop(0)
        for name, default in arguments(one):
            if name in args:
                values[name] = args[name]
            elif default is not None:
                values[name] = _expanded(one, default, values, escape)
    if not instructions:
        raise BuildError("there is no FROM", place=dockerfile.instructions[0].position)
    stages: list[Stage] = []
    bodies: list[list[Instruction]] = []
    for one in instructions:
        if one.word == "FROM":
            stages.append(_from(one, len(stages), values, escape, stages))
            bodies.append([])
        elif not stages:
            raise one.fail(f"{one.word} before FROM", "only ARG may come before the first FROM")
        else:
            bodies[-1].append(one)
    whole = [replace(stage, instructions=tuple(body)) for stage, body in zip(stages, bodies, strict=True)]
    whole = [_with_needs(stage, whole, contexts, escape) for stage in whole]
    aim = _target(whole, target)
    order = _order(whole, aim)
    for stage in (whole[index] for index in order if whole[index].foreign):
        raise BuildError(
            f"--platform={stage.foreign}: only images of this machine can be built ({values['BUILDPLATFORM']})",
            "there is no emulation of other processors",
            stage.position,
        )
    return BuildPlan(tuple(whole), aim, order, values, escape, dockerfile.warnings)


def arguments(one: Instruction) -> list[tuple[str, str | None]]:
    """Names and defaults (unexpanded) of an ARG."""
    declared = []
    for word in words.raw_words(one.rest):
        name, equals, value = word.partition("=")
        name = name.strip("'\"")
        if not name:
            raise one.fail("ARG needs a name", "ARG NAME, or ARG NAME=default")
        declared.append((name, value if equals else None))
    return declared


def _expanded(one: Instruction, text: str, values: Mapping[str, str], escape: str) -> str:
    try:
        return words.expand(text, values, escape)
    except BuildError as error:
        raise one.fail(error.message, error.hint) from None


def _from(one: Instruction, index: int, values: Mapping[str, str], escape: str, before: list[Stage]) -> Stage:
    foreign = ""
    for name, value in one.flags:
        if name != "platform":
            raise one.fail(f"FROM does not know --{name}", "--platform is its only flag")
        wanted = _expanded(one, value or "", values, escape)
        if not wanted:
            raise one.fail(f"--platform={value or ''} is empty", _empty_arguments(value or "", values))
        here = {_platform(values["TARGETPLATFORM"]), _platform(values["BUILDPLATFORM"]), ("linux", "", "")}
        foreign = "" if _platform(wanted) in here else wanted
    parts = one.rest.split()
    if len(parts) not in (1, 3) or (len(parts) == 3 and parts[1].upper() != "AS"):
        raise one.fail("FROM wants IMAGE, or IMAGE AS NAME")
    base = _expanded(one, parts[0], values, escape)
    if not base:
        raise one.fail(f"the image {parts[0]} is empty", _empty_arguments(parts[0], values))
    odd = base.endswith((":", "@")) or base.startswith((":", "@", "/")) or "//" in base
    if odd and (empty := _empty_arguments(parts[0], values)):
        raise one.fail(f"the image {parts[0]} becomes {base}, which is no image", empty)
    name = parts[2].lower() if len(parts) == 3 else ""
    if name and not _NAME.fullmatch(name):
        raise one.fail(f"{parts[2]!r} cannot be the name of a stage", "letters first, then also digits and _ . -")
    if name == "scratch":
        raise one.fail("a stage cannot be named scratch")
    stage = next((s.index for s in reversed(before) if s.name and s.name == base.lower()), None)
    return Stage(index, name, base, (), one.position, base_stage=stage, foreign=foreign)


def _platform(text: str) -> tuple[str, str, str]:
    """System, processor and variant of `OS/ARCH/VARIANT`, `OS` or `ARCH`; each in one of its spellings."""
    system, _, rest = text.lower().partition("/")
    if not rest and system in _ARCHITECTURES:
        system, rest = "linux", system
    processor, _, variant = rest.partition("/")
    processor, implied = _ARCHITECTURES.get(processor, (processor, ""))
    variant = f"v{variant}" if variant.isdecimal() else variant or implied
    if (processor, variant) in (("amd64", "v1"), ("arm64", "v8")):
        variant = ""
    return system, processor, variant


def _empty_arguments(text: str, values: Mapping[str, str]) -> str:
    """A hint at the arguments of a FROM that have no value; empty where all have one."""
    names = [name for name in dict.fromkeys(_VARIABLE.findall(text)) if not values.get(name)]
    unknown = [name for name in names if name not in values]
    if not names:
        return ""
    if unknown:
        return (
            f"ARG {unknown[0]} has no value before FROM: write ARG {unknown[0]}=… above the first FROM, or use "
            f"--build-arg {unknown[0]}=…"
        )
    return f"ARG {names[0]} is empty: give it a default, or use --build-arg {names[0]}=…"


def _with_needs(stage: Stage, every: list[Stage], contexts: set[str], escape: str) -> Stage:
    needs = [] if stage.base_stage is None or stage.base.lower() in contexts else [stage.base_stage]
    for one in stage.instructions:
        for name in sources(one, escape):
            if name.lower() in contexts:
                continue
            index = find(every, name)
            if index == stage.index:
                raise one.fail(f"stage {name!r} copies from itself")
            if index is not None:
                needs.append(index)
    return replace(stage, needs=tuple(dict.fromkeys(needs)))


def sources(one: Instruction, escape: str) -> list[str]:
    """The stages, contexts or images that an instruction takes files from."""
    names = []
    if one.word == "COPY":
        names = [value or "" for name, value in one.flags if name == "from"]
    elif one.word == "RUN":
        for name, value in one.flags:
            if name == "mount":
                pairs = [item.partition("=") for item in (value or "").strip("\"'").split(",")]
                names += [pair[2] for pair in pairs if pair[0].lower() == "from"]
    for name in names:
        if "$" in name:
            raise one.fail(
                f"from={name}: variables cannot be used here", "FROM ... AS NAME can take them: use its name"
            )
        if not name:
            raise one.fail("from= needs a name")
    return names


def _target(every: list[Stage], target: str) -> int:
    if not target:
        return len(every) - 1
    index = find(every, target)
    if index is None:
        known = ", ".join(stage.name for stage in every if stage.name)
        hint = similar(target, every) or (f"stages are {known}" if known else "no stage has a name")
        raise BuildError(f"there is no stage {target!r}", hint)
    return index


def _order(every: list[Stage], target: int) -> tuple[int, ...]:
    wanted: set[int] = set()
    pending = [target]
    while pending:
        index = pending.pop()
        if index not in wanted:
            wanted.add(index)
            pending += every[index].needs
    try:
        order = graphlib.TopologicalSorter({index: every[index].needs for index in sorted(wanted)}).static_order()
        return tuple(order)
    except graphlib.CycleError as error:
        circle = [str(every[index]) for index in error.args[1]]
        raise BuildError(
            f"stages need each other: {' -> '.join(circle)}", place=every[error.args[1][0]].position
        ) from None
