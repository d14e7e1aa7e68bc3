"""docker compose's `config` beside ours: how both are asked, and which differences stay."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pycompose.compose.file import show
from pycompose.compose.file.loader import Options, load
from pycompose.compose.model.errors import FileError

ABSENT = object()
SERVICE = r"services\.[^.]+\."

# place, as the page about compose files tells it; a pattern of "path: theirs -> ours"; why the difference stays
EXPLAINED = [
    (
        "volumes.*.bind.create_host_path",
        SERVICE + r"volumes\.\d+\.bind\.create_host_path: - -> False",
        "docker compose leaves false out, and would read true again",
    ),
    (
        "volumes, of one letter",
        rf"({SERVICE}volumes\.\d+\.(source: - -> '\w'|target: '\w:.*)|volumes(\.\w)?: - -> .*)",
        "docker compose takes `v:/data` for a drive of Windows",
    ),
    (
        "build.ssh",
        SERVICE + r"build\.ssh\.\d+: .*",
        "docker compose writes a key as a mapping, which it cannot read again",
    ),
    ("networks.*.ipam.options", r"networks\.[^.]+\.ipam\.options: - -> .*", "docker compose loses them"),
    (
        "blkio_config",
        SERVICE + r"blkio_config\..*\.(path|rate|weight|Path|Rate|Weight): .*",
        "docker compose's JSON has `Path`, `Rate` and `Weight`, which it cannot read again",
    ),
    (
        "ulimits",
        SERVICE + r"ulimits\.[^.]+\.(soft|hard): - -> 0",
        "docker compose's JSON leaves out a limit of 0",
    ),
    ("develop.watch.*.exec", SERVICE + r"develop\.watch\.\d+\.exec: .* -> -", "docker compose has an empty command"),
    ("x-*", r"(.*\.)?x-.*: - -> .*", "docker compose's JSON leaves extensions out, but those at the top"),
    ("models", r"models: - -> .*", "docker compose's JSON leaves them out"),
]


def installed() -> list[str]:
    """The command of a docker compose of version 2 or later; skips the test where there is none."""
    if command := _installed():
        return list(command)
    pytest.skip("no docker compose 2 or later is installed, and DOCKER_COMPOSE names none")


@cache
def _installed() -> tuple[str, ...]:
    candidates = [[os.environ["DOCKER_COMPOSE"]]] if os.environ.get("DOCKER_COMPOSE") else []
    candidates += [["docker", "compose"]] if shutil.which("docker") else []
    candidates += [["docker-compose"]] if shutil.which("docker-compose") else []
    for command in candidates:
        told = subprocess.run([*command, "version", "--short"], capture_output=True, text=True, check=False)
        if told.returncode == 0 and re.match(r"v?[2-9]\.", told.stdout):
            return tuple(command)
    return ()


class Refused(Exception):
    """docker compose does not take the files."""


def compared(docker: list[str], files: tuple[Path, ...], environ: Mapping[str, str]) -> list[str]:
    """Every difference that is not explained, a line each. Raises Refused; FileError where only we refuse."""
    named = [word for file in files for word in ("-f", str(file))]
    command = [*docker, *named, "--profile", "*", "config", "--format", "json"]
    told = subprocess.run(command, capture_output=True, text=True, env=dict(environ), check=False)
    if told.returncode != 0:
        raise Refused(told.stderr.strip().splitlines()[-1])
    options = Options(files=tuple(map(str, files)), profiles=("*",), environ=dict(environ))
    ours = json.loads(show.to_json(show.used(load(options).tree)))
    return unexplained(json.loads(told.stdout), ours)


def unexplained(theirs: Any, ours: Any) -> list[str]:
    """The differences of two projects as `config --format json` prints them, but those that stay; a line each."""
    return [
        line for path, a, b in differences(theirs, ours) if not explained(line := f"{path}: {_shown(a)} -> {_shown(b)}")
    ]


def _shown(value: object) -> str:
    return "-" if value is ABSENT else repr(value)


def explained(line: str) -> bool:
    return any(re.fullmatch(pattern, line, re.DOTALL) for _, pattern, _ in EXPLAINED)


def differences(theirs: Any, ours: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted({*theirs, *ours}):
            place = f"{path}.{key}" if path else key
            yield from differences(theirs.get(key, ABSENT), ours.get(key, ABSENT), place)
        if [key for key in theirs if key in ours] != [key for key in ours if key in theirs]:
            yield f"{path} (order)", list(theirs), list(ours)
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for number, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            yield from differences(one, other, f"{path}.{number}")
    elif theirs != ours or isinstance(theirs, bool) != isinstance(ours, bool):
        yield path, theirs, ours


__all__ = ["EXPLAINED", "FileError", "Refused", "compared", "differences", "installed", "unexplained"]
