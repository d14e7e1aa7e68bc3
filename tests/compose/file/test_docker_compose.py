"""What a file means here is what it means to docker compose: `config --format json` of both, of every file we have.

Where a `docker compose` of version 2 or later is installed (or DOCKER_COMPOSE names one), the outputs are compared and
every difference is listed. Differences that stay are in EXPLAINED, with why; docs/compose-file.md tells them too.
`config` of docker compose needs no daemon.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pycompose.compose.errors import FileError
from pycompose.compose.file import show
from pycompose.compose.file.loader import Options, load

ROOT = Path(__file__).resolve().parents[3]
OURS = Path(__file__).parent / "files"
FILES = sorted([*ROOT.glob("examples/*/compose.yaml"), *OURS.glob("*.yaml")])
ABSENT = object()

# place, as the page tells it; a pattern of such paths; why the difference stays
SERVICE = r"services\.[^.]+\."
NEVER = r"\b\B"  # no file of ours shows it
EXPLAINED = [
    (
        "volumes.*.bind.create_host_path",
        SERVICE + r"volumes\.\d+\.bind\.create_host_path",
        "true is what nobody needs to say; false is told",
    ),
    (
        "volumes.*.bind, .volume, .tmpfs",
        SERVICE + r"volumes\.\d+\.(bind|volume|tmpfs|image)",
        "one that is empty is told by the kind of volume, not by how the file has it",
    ),
    (
        "blkio_config",
        SERVICE + r"blkio_config\..*\.(path|rate|weight|Path|Rate|Weight)",
        "docker compose's JSON has `Path`, `Rate` and `Weight`, which it cannot read again",
    ),
    ("develop.watch.*.exec", SERVICE + r"develop\.watch\.\d+\.exec", "docker compose's JSON has an empty command"),
    ("label_file", SERVICE + "label_file", "docker compose leaves it out; its labels are in `labels` here too"),
    ("build.args", SERVICE + r"build\.args\..*", "docker compose leaves out what has no value outside"),
    (
        "cpus, mem_limit, pids_limit, scale, restart",
        NEVER,
        "what deploy says too is told once; `restart: no` is not told",
    ),
    ("x-*", r"(.*\.)?x-.*", "docker compose's JSON leaves extensions of services out"),
]
NUMBERS = "a number keeps the digits that it is written with (1.10), where docker compose writes it anew (1.1)"
UNSET = "what has no value, and none outside, is left out, where docker compose has null"


def installed() -> list[str]:
    """The command of a docker compose of version 2 or later; skips the test where there is none."""
    candidates = [[os.environ["DOCKER_COMPOSE"]]] if os.environ.get("DOCKER_COMPOSE") else []
    candidates += [["docker", "compose"]] if shutil.which("docker") else []
    candidates += [["docker-compose"]] if shutil.which("docker-compose") else []
    for command in candidates:
        told = subprocess.run([*command, "version", "--short"], capture_output=True, text=True, check=False)
        if told.returncode == 0 and re.match(r"v?[2-9]\.", told.stdout):
            return command
    pytest.skip("no docker compose 2 or later is installed, and DOCKER_COMPOSE names none")


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


def explained(path: str, theirs: Any, ours: Any) -> bool:
    if re.fullmatch(SERVICE + r"environment\..*", path):
        numbers = isinstance(theirs, str) and isinstance(ours, str) and re.fullmatch(r"[-+.\d]+", theirs + ours)
        return (theirs is None and ours is ABSENT) or (numbers is not None and float(theirs) == float(ours))
    return any(re.fullmatch(pattern, path) for _, pattern, _ in EXPLAINED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_means_what_it_means_to_docker_compose(tmp_path: Path, path: Path) -> None:
    docker = installed()
    environ = {"PATH": os.environ["PATH"], "HOME": "/root", "TOKEN": "a token"}
    folder = shutil.copytree(path.parent, tmp_path / "files")
    file = folder / path.name
    file.write_text(re.sub("@(?=/)", str(folder), file.read_text()))  # ours write @/ for the folder that they are in
    command = [*docker, "-f", str(file), "config", "--format", "json"]
    told = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    if "validating " in told.stderr or "failed to cast" in told.stderr:
        pytest.skip(f"this docker compose does not know all of it: {told.stderr.strip().splitlines()[-1]}")
    assert told.returncode == 0, told.stderr
    try:
        tree = load(Options(files=(str(file),), environ=environ)).tree
    except FileError as error:
        pytest.fail(f"docker compose accepts this file\n{error}")
    ours = json.loads(show.to_json(show.used(tree)))
    left = [
        f"{place}: docker compose {'-' if a is ABSENT else a!r}, here {'-' if b is ABSENT else b!r}"
        for place, a, b in differences(json.loads(told.stdout), ours)
        if not explained(place, a, b)
    ]
    assert not left, "\n" + "\n".join(left)


def test_differences_are_told_by_their_place() -> None:
    theirs = {"a": 1, "b": {"c": [1, 2]}, "d": True, "e": 1}
    ours = {"a": 1, "b": {"c": [1, 3]}, "d": 1, "f": 1}
    assert list(differences(theirs, ours)) == [
        ("b.c.1", 2, 3),
        ("d", True, 1),
        ("e", 1, ABSENT),
        ("f", ABSENT, 1),
    ]
    assert [place for place, _, _ in differences({"a": 1, "b": 2}, {"b": 2, "a": 1})] == [" (order)"]
