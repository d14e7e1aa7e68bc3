"""Archive of what is on record of one project, for whoever looks for a fault: a tar.gz, with secrets left out.

In it: records of the containers, resolved projects, plan traces, events, and the ends of all logs. Left out of the
records: values of environment variables and of build arguments, contents of configs and secrets, credentials in URLs.
Where such a value stands in any text, a log or a command, it is left out too, if it is long enough to be told from
other words. Nobody need run; what cannot be read is passed over. Registry credentials and files of containers are
never read.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, Any

from pycompose.runtime.places import ProjectPlaces

LEFT_OUT = "(left out)"
LARGEST = 4 << 20  # bytes of one file that are taken; of a log they are the last
SHORTEST = 6  # characters of a variable's value that is left out of texts
SHORTEST_CONTENT = 3  # of a line of a config or secret
URL_CREDENTIALS = re.compile(r"(?<=://)[^/@\s\"']+(?=@)")

SETTINGS = frozenset({"environment", "provided", "env", "args", "build_args"})  # keys of names and values
RECORDS = ("state.json", "config.json", "process.json", "exit.json")  # of a container's folder
TEXTS = (
    "keeper.log",
    "supervisor.log",
    "supervisor.json",
    "trace.1",
    "trace",
    "events.1",
    "events",
)  # of the run folder


def write(places: ProjectPlaces, out: IO[bytes]) -> None:
    """Raises OSError where `out` cannot be written."""
    records = {name: tree for name, path in _records(places) if (tree := _json(path)) is not None}
    values: set[str] = set()
    for tree in records.values():
        _collect(tree, values)
    values |= {json.dumps(value)[1:-1] for value in values}  # as it stands in a line of JSON
    longest_first = sorted(values, key=len, reverse=True)
    hidden = re.compile("|".join(map(re.escape, longest_first))) if values else None

    def scrubbed(text: str) -> str:
        text = URL_CREDENTIALS.sub(LEFT_OUT, text)
        return hidden.sub(LEFT_OUT, text) if hidden else text

    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, tree in records.items():
            _add(archive, places, name, json.dumps(_without(tree, scrubbed), indent=1, ensure_ascii=False))
        for name, path in _logs(places):
            if (text := _end(path)) is not None:
                _add(archive, places, name, scrubbed(text))


def _records(places: ProjectPlaces) -> Iterator[tuple[str, str]]:
    for name in _names(places.generations):
        yield f"generations/{name}", f"{places.generations}/{name}"
    for container in _names(places.containers):
        for name in RECORDS:
            yield f"containers/{container}/{name}", f"{places.container(container)}/{name}"


def _logs(places: ProjectPlaces) -> Iterator[tuple[str, str]]:
    for name in TEXTS:
        yield name, f"{places.run}/{name}"
    for container in _names(places.containers):
        yield f"containers/{container}/log", f"{places.container(container)}/log"


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _json(path: str) -> Any:
    with suppress(OSError, ValueError), open(path, encoding="utf-8") as file:
        return json.load(file)
    return None


def _end(path: str) -> str | None:
    """The last whole lines: half of one might be half of a secret."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LARGEST))
            cut = file.tell() > 0
            data = file.read(LARGEST)
    except OSError:
        return None
    if cut:
        data = data.partition(b"\n")[2]
    return data.decode(errors="replace")


def _settings(tree: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Key, name and value of what an object sets."""
    for key in SETTINGS & tree.keys():
        setting = tree[key]
        if isinstance(setting, dict):
            yield from ((key, name, value) for name, value in setting.items() if isinstance(value, str))
        elif isinstance(setting, list) and key != "args":  # of a process these are its command
            pairs = (str(pair).partition("=") for pair in setting)
            yield from ((key, name, value) for name, _, value in pairs)


def _collect(tree: Any, values: set[str]) -> None:
    if isinstance(tree, dict):
        values.update(value for _, _, value in _settings(tree) if len(value) >= SHORTEST)
        for kind in ("secrets", "configs"):
            if isinstance(definitions := tree.get(kind), dict):
                for definition in definitions.values():
                    lines = _content(definition).splitlines() if isinstance(definition, dict) else []
                    values.update(line.strip() for line in lines if len(line.strip()) >= SHORTEST_CONTENT)
    for below in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        _collect(below, values)


def _content(definition: dict[str, Any]) -> str:
    if definition.get("content"):
        return str(definition["content"])
    path = definition.get("file")
    return (_end(path) or "") if isinstance(path, str) and os.path.isfile(path) else ""


def _without(tree: Any, scrubbed: Callable[[str], str]) -> Any:
    if isinstance(tree, str):
        return scrubbed(tree)
    if isinstance(tree, list):
        return [_without(one, scrubbed) for one in tree]
    if not isinstance(tree, dict):
        return tree
    kept = {key: _without(value, scrubbed) for key, value in tree.items()}
    for key in SETTINGS & tree.keys():
        if isinstance(tree[key], dict):
            kept[key] = {name: None if value is None else LEFT_OUT for name, value in tree[key].items()}
        elif isinstance(tree[key], list) and key != "args":
            kept[key] = [f"{str(pair).partition('=')[0]}={LEFT_OUT}" for pair in tree[key]]
    if isinstance(tree.get("content"), str):
        kept["content"] = LEFT_OUT
    return kept


def _add(archive: tarfile.TarFile, places: ProjectPlaces, name: str, text: str) -> None:
    data = text.encode()
    member = tarfile.TarInfo(f"{places.project}/{name}")
    member.size, member.mode, member.mtime = len(data), 0o600, int(time.time())
    archive.addfile(member, io.BytesIO(data))
