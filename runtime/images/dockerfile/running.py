"""Options of RUN: `--mount` in all its kinds, `--network`, `--security`; and the protocol of who runs it.

Pure. A `Runner` is given by whoever joins containers and networks; this folder knows neither.
Source: docs.docker.com/reference/dockerfile (RUN --mount).
"""

from __future__ import annotations

import csv
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Protocol

from pycompose.frozen import dataclass
from pycompose.runtime.spec import Mount, RootFilesystem, no_text
from pycompose.sizes import size_in_bytes

from . import words
from .errors import BuildError
from .syntax import Instruction

NETWORKS = ("default", "none", "host")
RUN_FLAGS = {"mount": True, "network": False, "security": False, "device": True}  # …: whether several can be
_SWITCHES = ("link", "parents", "keep-git-dir", "unpack")  # flags that mean true where no value is said


@dataclass(frozen=True, slots=True)
class Wanted:
    """One --mount. `rw` is None where nothing is said."""

    kind: str  # bind, cache, tmpfs, secret, ssh
    target: str = ""
    source: str = ""
    origin: str = ""  # from=
    id: str = ""
    sharing: str = "shared"
    rw: bool | None = None
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    size: int = 0
    required: bool = False
    env: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One RUN: a command in a root. What it writes into the root's upper folder is the layer."""

    root: RootFilesystem
    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: str
    mounts: tuple[Mount, ...] = ()
    network: str = "default"


@dataclass(frozen=True, slots=True)
class RunLimits:
    """What a build gives all its RUN steps, as compose files and --shm-size, --ulimit, --add-host say it."""

    shm_size: int | None = None
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    extra_hosts: tuple[tuple[str, str], ...] = ()
    privileged: bool = False
    network: str = "default"  # where RUN does not say
    environment: Mapping[str, str] = field(default_factory=no_text)
    memory: int | None = None  # bytes


class Runner(Protocol):
    async def run(self, job: Job, output: Callable[[str], None]) -> int:
        """Run it to its end; its exit code. `output` gets its lines, both streams in order, without newlines."""


_FIELDS = {
    "bind": {"target", "source", "from", "rw"},
    "cache": {"target", "source", "from", "rw", "id", "sharing", "mode", "uid", "gid"},
    "tmpfs": {"target", "size"},
    "secret": {"target", "source", "id", "required", "mode", "uid", "gid", "env"},
    "ssh": {"target", "id", "required", "mode", "uid", "gid"},
}
_SAME = {"dst": "target", "destination": "target", "src": "source"}


def mount(text: str, one: Instruction, values: Mapping[str, str], escape: str, cwd: str) -> Wanted:
    """A --mount as it is written. Raises BuildError."""
    options: dict[str, str] = {}
    for item in next(csv.reader([text]), []):
        key, equals, value = item.partition("=")
        key = key.strip().lower()
        key = _SAME.get(key, key)
        if key in ("ro", "readonly", "rw", "readwrite"):
            said = not equals or truth(value, one, f"mount: {key}")
            writes = key in ("rw", "readwrite")
            key, value = "rw", "1" if said == writes else ""
        elif not equals and key != "required":
            raise one.fail(f"--mount: {item!r} lacks a value")
        elif key == "required":
            value = "1" if not equals or truth(value, one, f"mount: {key}") else ""
        else:
            try:
                value = words.expand(value, values, escape)
            except BuildError as error:
                raise one.fail(f"--mount: {error.message}", error.hint) from None
        options[key] = value
    kind = options.pop("type", "bind").lower()
    if kind not in _FIELDS:
        raise one.fail(f"--mount: unknown type {kind!r}", "bind, cache, tmpfs, secret and ssh are known")
    if unknown := sorted(set(options) - _FIELDS[kind]):
        raise one.fail(f"--mount=type={kind} does not know {', '.join(unknown)}", ", ".join(sorted(_FIELDS[kind])))
    target = options.get("target", "")
    if target or kind in ("bind", "cache", "tmpfs"):  # where nothing is said these three are at the working directory
        target = posixpath.normpath(posixpath.join(cwd, target))
        if target == "/":
            hint = "" if options.get("target") else "say target=…: without it the mount is at WORKDIR, which is / here"
            raise one.fail("--mount: a mount cannot replace the root", hint)
    if kind in ("secret", "ssh"):
        source = options.pop("source", "")
        if source and options.get("id"):
            raise one.fail("--mount=type=secret: id and source are the same, and only one of them can be said")
        name = source or options.get("id") or ("default" if kind == "ssh" else posixpath.basename(target))
        if not name:
            raise one.fail("--mount=type=secret needs an id")
        options["id"] = name
        if not target and not (kind == "secret" and options.get("env")):
            target = f"/run/secrets/{posixpath.basename(name)}" if kind == "secret" else ""
    sharing = options.get("sharing", "shared").lower()
    if sharing not in ("shared", "private", "locked"):
        raise one.fail(f"--mount: sharing={sharing}", "shared, private and locked are known")
    return Wanted(
        kind,
        target,
        options.get("source", ""),
        options.get("from", ""),
        options.get("id", ""),
        sharing,
        bool(options["rw"]) if "rw" in options else None,
        _octal(options.get("mode"), one),
        _number(options.get("uid"), one),
        _number(options.get("gid"), one),
        _size(options.get("size"), one),
        bool(options.get("required")),
        options.get("env", ""),
    )


def truth(text: str, one: Instruction, flag: str) -> bool:
    """The value of a switch. Raises BuildError."""
    if text.lower() in ("1", "t", "true"):
        return True
    if text.lower() in ("0", "f", "false"):
        return False
    raise one.fail(f"--{flag}={text}: true or false is wanted")


def _octal(text: str | None, one: Instruction) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-7]{1,5}", text):
        raise one.fail(f"--mount: mode={text}: an octal number is wanted")
    return int(text, 8)


def _number(text: str | None, one: Instruction) -> int:
    if not text:
        return 0
    if not text.isdecimal() or len(text) > 10 or int(text) >= 1 << 31:
        raise one.fail(f"--mount: {text!r} is no number of a user or group")
    return int(text)


def _size(text: str | None, one: Instruction) -> int:
    if not text:
        return 0
    size = size_in_bytes(text)
    if size is None:
        raise one.fail(f"--mount: size={text} is no size", "64m, 1g")
    return size


def flags(one: Instruction, known: Mapping[str, bool]) -> dict[str, list[str]]:
    """The flags of an instruction by name; `known` says whether one may be there several times. Raises BuildError."""
    options: dict[str, list[str]] = {}
    for name, value in one.flags:
        if name not in known:
            names = ", ".join(f"--{each}" for each in sorted(known))
            raise one.fail(f"{one.word} does not know --{name}", f"it knows {names}" if names else "it has no flags")
        if value is None and name not in _SWITCHES:
            raise one.fail(f"--{name} lacks a value", f"--{name}=…: a blank instead of the = ends the flag")
        if name in options and not known[name]:
            raise one.fail(f"--{name} is there twice")
        options.setdefault(name, []).append("true" if value is None else value)
    return options


def run_options(one: Instruction) -> dict[str, list[str]]:
    """The flags of a RUN. Raises BuildError for what build steps cannot have."""
    options = flags(one, RUN_FLAGS)
    if "device" in options:
        raise one.fail("RUN --device is not supported", "services can have devices, build steps cannot")
    if (security := options.get("security", ["sandbox"])[-1]) != "sandbox":
        raise one.fail(f"RUN --security={security} is not supported", "build steps have the profile of services")
    if (network := options.get("network", ["default"])[-1]) not in NETWORKS:
        raise one.fail(f"RUN --network={network}", "default, none and host are known")
    return options


def copy_options(one: Instruction) -> dict[str, list[str]]:
    """The flags of a COPY or ADD. Raises BuildError."""
    known = {"chown": False, "chmod": False, "link": False, "exclude": True}
    known |= {"from": False, "parents": False} if one.word == "COPY" else {}
    known |= {"checksum": False, "keep-git-dir": False, "unpack": False} if one.word == "ADD" else {}
    return flags(one, known)


def lines(texts: Sequence[str]) -> tuple[str, ...]:
    """The last lines of a step's output that are worth showing."""
    return tuple(texts[-20:])
