"""Compose files as they are published: as written, but for the files of this machine that they name.

Each env file and each extended file gets a plain name of its own, made of the digest of its path, which stands for it
in the published text. What a reader should know before such files leave the machine is gathered on the way: literal
values, and where they stand. Raises FileError.
Source: docker compose publishes the same names (sha256 of the path, `.env` and `.yaml`).
"""

from __future__ import annotations

import hashlib
import os.path
import re
from collections.abc import Iterator, Mapping, Sequence

from pycompose.compose.model.errors import FileError, Problem
from pycompose.errors import Place
from pycompose.frozen import dataclass

from .files import Files
from .interpolate import Interpolation
from .paths import is_elsewhere
from .reading import Reading
from .source import Map, Seq, Text, Tree, position

TOKEN = re.compile(r"""((?:[&!]\S*[ \t]+)*)("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s'"|>][^\n]*)""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """`name` has no folder; `extends`: it is there for others to extend, and no part of the project by itself."""

    name: str
    text: str
    extends: bool = False


@dataclass(frozen=True, slots=True)
class WrittenScalar:
    """A scalar as it is written, variables not filled in; `path` are the keys that lead to it."""

    path: tuple[str, ...]
    value: str


@dataclass(frozen=True, slots=True)
class PublishedProject:
    files: tuple[PublishedFile, ...]
    env_files: Mapping[str, str]  # path -> name
    literals: tuple[WrittenScalar, ...]
    users_of_env_files: tuple[str, ...]  # services


def publication(paths: Sequence[str], directory: str, variables: Mapping[str, str]) -> PublishedProject:
    """Of the files of a project, whose paths start from `directory`; the files that they extend come along."""
    gathering = _Gathering(variables)
    queue = [(path, directory, False) for path in paths]
    known = set(paths)
    for path, folder, extends in queue:  # it grows
        for parent in gathering.take(path, folder, extends):
            if parent not in known:
                known.add(parent)
                queue.append((parent, os.path.dirname(parent), True))
    if gathering.reading.problems:
        raise FileError(tuple(gathering.reading.problems))
    return PublishedProject(
        tuple(gathering.published),
        gathering.env_files,
        tuple(gathering.literals),
        tuple(dict.fromkeys(gathering.users)),
    )


def _included(entries: Tree) -> Iterator[str]:
    for entry in entries if isinstance(entries, Seq) else ():
        paths = entry.get("path") if isinstance(entry, Map) else entry
        yield from (str(path) for path in (paths if isinstance(paths, Seq) else (paths,)))


def name_of(path: str, ending: str) -> str:
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest() + ending


class _Gathering:
    def __init__(self, variables: Mapping[str, str]) -> None:
        self.files, self.reading = Files(), Reading()
        self.filled = Interpolation(variables, self.reading)
        self.published: list[PublishedFile] = []
        self.env_files: dict[str, str] = {}
        self.literals: list[WrittenScalar] = []
        self.users: list[str] = []

    def take(self, path: str, directory: str, extends: bool) -> list[str]:
        """Publish one file; the paths of those that it extends."""
        changes: dict[tuple[int, int], str] = {}
        parents: list[str] = []
        for tree in self.files.documents(path):
            if not isinstance(tree, Map):
                continue
            if any(not is_elsewhere(name) for name in _included(tree.get("include"))):
                self.reading.problem(
                    "cannot publish compose file with local includes",
                    tree.keys_at.get("include"),
                    "publish what `pycompose config` prints of it",
                    "include",
                )
            services = tree.get("services")
            for name, service in services.items() if isinstance(services, Map) else ():
                if isinstance(service, Map):
                    self.env_files_of(name, service, directory, changes)
                    parents += self.parents_of(service, directory, changes)
            self.literals += _literals(tree)
        text = _changed(self.files.text(path), path, changes)
        name = name_of(path, ".yaml") if extends else os.path.basename(path)
        self.published.append(PublishedFile(name, text, extends))
        return parents

    def env_files_of(self, name: str, service: Map, directory: str, changes: dict[tuple[int, int], str]) -> None:
        entries = service.get("env_file")
        for entry in entries if isinstance(entries, Seq) else (entries,):
            written = entry.get("path") if isinstance(entry, Map) else entry
            if isinstance(written, Text):
                path = self._path(written, directory)
                self.users.append(name)
                self.env_files[path] = name_of(path, ".env")
                _change(written, self.env_files[path], changes)

    def parents_of(self, service: Map, directory: str, changes: dict[tuple[int, int], str]) -> Iterator[str]:
        extends = service.get("extends")
        written = extends.get("file") if isinstance(extends, Map) else None
        if isinstance(written, Text) and not is_elsewhere(written):
            path = self._path(written, directory)
            _change(written, name_of(path, ".yaml"), changes)
            yield path

    def _path(self, written: Text, directory: str) -> str:
        value = str(self.filled.scalar(written)) if "$" in written else str(written)
        return os.path.normpath(os.path.join(directory, os.path.expanduser(value)))


def _change(written: Text, name: str, changes: dict[tuple[int, int], str]) -> None:
    assert written.at is not None
    changes[written.at.line, written.at.column] = name


def _changed(text: str, path: str, changes: Mapping[tuple[int, int], str]) -> str:
    """The text with other scalars in those places, as from the last to the first."""
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for (line_number, column), name in sorted(changes.items(), reverse=True):
        start = starts[line_number - 1] + column - 1
        token = TOKEN.match(text, start)
        if token is None:
            message = "a path that is published must be plain or quoted, on one line"
            raise FileError((Problem(message, Place(path, line_number, column), code="publish"),))
        end = token.end()
        if token[2][0] not in "\"'":
            end = start + len(token[1]) + len(re.split(r"\s+#|[,\]}]|:\s|\s*$", token[2], maxsplit=1)[0])
        text = f"{text[:start]}{name}{text[end:]}"
    return text


def _literals(tree: Tree) -> Iterator[WrittenScalar]:
    """Every scalar of a tree, in its order; `KEY=VALUE` in a list is a key of its own."""
    left: list[tuple[tuple[str, ...], Tree]] = [((), tree)]
    while left:
        path, value = left.pop()
        if isinstance(value, Map):
            left += reversed([((*path, str(key)), inner) for key, inner in value.items()])
        elif isinstance(value, Seq):
            left += reversed([((*path, str(number)), inner) for number, inner in enumerate(value)])
        elif value is not None and position(value):
            key, equals, rest = str(value).partition("=")
            if equals and path[-1:] and path[-1].isdecimal() and re.fullmatch(r"\w+", key):
                yield WrittenScalar((*path[:-1], key), rest)
            else:
                yield WrittenScalar(path, str(value))
