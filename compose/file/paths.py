"""Attributes of a compose file that hold paths, and another file's tree with those made absolute. Pure.

What an `include`d or `extend`ed file says is relative to that file's folder, wherever it ends up; the project's own
files are left alone, `build` joins their paths to the project's folder.
Source: compose specification, "Extends" and "Include".
"""

from __future__ import annotations

import os.path
import posixpath
import re
from collections.abc import Callable

from .source import Map, Seq, Text, Tree, text

ELSEWHERE = "././"  # before the source of a bind of another file, where paths are left as they are
REMOTE = ("service:", "docker-image://", "oci-layout://", "github.com/", "git@", "target:")
FETCHABLE = re.compile(r"oci://|git://|git@|ssh://git@|https?://[^#?]+\.git(?:#|$)|github\.com/")
WINDOWS = re.compile(r"[A-Za-z]:\\|\\\\")  # how an absolute path of Windows starts
Change = Callable[[Text], Text]


def absolute(path: str, directory: str) -> str:
    """An empty `directory` leaves paths as they are written."""
    if not directory or WINDOWS.match(path):
        return path
    return normal(posixpath.join(directory, os.path.expanduser(path)))


def normal(path: str) -> str:
    """Without `.`, `..`, slashes at the end and doubled ones, the two at the beginning that POSIX keeps too."""
    return posixpath.normpath(re.sub("^//+", "/", path))


def _joined(path: str, directory: str) -> str:
    """A path of another file, as it is shown: one that is absolute stays as it is written."""
    return path if path.startswith("/") else absolute(path, directory)


def image(name: str, directory: str) -> str:
    """An image's name, whose path is made absolute where it has one: oci:PATH[:TAG], docker-archive:PATH[:NAME]."""
    transport, _, rest = name.partition(":")
    if transport not in ("oci", "docker-archive") or not rest:
        return name
    path, colon, tag = rest.partition(":")
    return f"{transport}:{absolute(path, directory)}{colon}{tag}"


def is_remote(context: str) -> bool:
    """A build context that is not a folder of this machine."""
    return "://" in context or context.startswith(REMOTE)


def is_elsewhere(file: str) -> bool:
    """A compose file that is not on this machine: of a registry, a repository, a web server."""
    return "://" in file or file.startswith(("git@", "github.com/"))


def shown(file: str) -> str:
    """The name of a file that is elsewhere, without a password that may be in it."""
    return re.sub(r"(?<=://)[^/@]*@", "***@", file)


def is_fetchable(file: str) -> bool:
    """A compose file of a registry or a git repository: `oci://…`, `https://….git`, `git@…`, `git://…`."""
    return FETCHABLE.match(file) is not None


def is_path(source: str) -> bool:
    """The source of a volume in short syntax: a path, or the name of a volume."""
    return source.startswith((".", "/", "~")) or WINDOWS.match(source) is not None


def rebased(tree: Tree, directory: str) -> Tree:
    """A whole file's tree."""
    if not isinstance(tree, Map):
        return tree
    moved = tree.copy()
    for kind, one in (("services", rebased_service), ("configs", _source), ("secrets", _source), ("volumes", _volume)):
        entries = tree.get(kind)
        if isinstance(entries, Map):
            moved[kind] = _each(entries, one, directory)
    return moved


def rebased_service(service: Tree, directory: str) -> Tree:
    if not isinstance(service, Map):
        return service

    def path(value: Text) -> Text:
        return text(_joined(value, directory), value.at, value.plain)

    def context(value: Text) -> Text:
        return value if is_remote(value) else path(value)

    def keyed(value: Text) -> Text:
        """NAME=path, of additional_contexts and ssh in their list form."""
        name, equals, rest = value.partition("=")
        return text(f"{name}={context(text(rest))}", value.at, value.plain) if equals else value

    moved = service.copy()
    _change(moved, "image", lambda value: text(image(value, directory), value.at, value.plain))
    _change(moved, "env_file", path)
    _change(moved, "label_file", path)
    _change(moved, "build", context)
    if isinstance(section := moved.get("build"), Map):
        build = section.copy()
        build.put("context", build.get("context") or text(".", build.at), build.keys_at.get("context"))
        _change(build, "context", context)
        for key in ("additional_contexts", "ssh"):
            _change(build, key, context if isinstance(build.get(key), Map) else keyed)
        moved["build"] = build
    volumes = moved.get("volumes")
    if isinstance(volumes, Seq):
        moved["volumes"] = Seq((_mount(v, path) for v in volumes), volumes.at)
    develop = moved.get("develop")
    if isinstance(develop, Map) and isinstance(watches := develop.get("watch"), Seq):
        changed = Seq((_with_path(w, "path", path) for w in watches), watches.at)
        moved["develop"] = develop.replaced("watch", changed)
    return moved


def _each(entries: Map, change: Callable[[Tree, str], Tree], directory: str) -> Map:
    moved = entries.copy()
    for key, value in entries.items():
        moved[key] = change(value, directory)
    return moved


def _change(holder: Map, key: str, change: Change) -> None:
    """Text, a list of text or of mappings with `path`, or a mapping to text."""
    value = holder.get(key)
    if isinstance(value, Text):
        holder[key] = change(value)
    elif isinstance(value, Seq):
        items = (change(v) if isinstance(v, Text) else _with_path(v, "path", change) for v in value)
        holder[key] = Seq(items, value.at)
    elif isinstance(value, Map) and key in ("additional_contexts", "ssh"):
        new = value.copy()
        new.update({k: change(v) if isinstance(v, Text) else v for k, v in value.items()})
        holder[key] = new


def _with_path(value: Tree, key: str, change: Change) -> Tree:
    if isinstance(value, Map) and isinstance(named := value.get(key), Text):
        return value.replaced(key, change(named))
    return value


def _mount(value: Tree, path: Change) -> Tree:
    if isinstance(value, Text) and is_path(value):
        source, *rest = volume_parts(value)
        if not rest:
            return value  # an anonymous volume: this is its target
        moved = path(text(source))
        shown = moved if is_path(moved) else ELSEWHERE + moved  # without, it would be a volume's name
        return text(":".join((shown, *rest)), value.at, value.plain)
    if isinstance(value, Map) and value.get("type") == "bind":
        return _with_path(value, "source", path)
    return value


def _source(value: Tree, directory: str) -> Tree:
    return _with_path(value, "file", lambda path: text(_joined(path, directory), path.at, path.plain))


def _volume(value: Tree, directory: str) -> Tree:
    """The local driver's way to write a bind: type none, o bind, device a path."""
    options = value.get("driver_opts") if isinstance(value, Map) else None
    if isinstance(value, Map) and isinstance(options, Map) and "bind" in str(options.get("o") or "").split(","):
        change: Change = lambda path: text(_joined(path, directory), path.at, path.plain)  # noqa: E731
        return value.replaced("driver_opts", _with_path(options, "device", change))
    return value


def volume_parts(spec: str) -> list[str]:
    """`[SOURCE:]TARGET[:OPTIONS]` at its colons; one inside `${…}` is none, nor one after the letter of a drive."""
    parts, depth, start = [], 0, 0
    for index, character in enumerate(spec):
        if character == "{" and index and spec[index - 1] == "$":
            depth += 1
        elif character == "}" and depth:
            depth -= 1
        elif character == ":" and not depth and not (index == start + 1 and WINDOWS.match(spec, start)):
            parts.append(spec[start:index])
            start = index + 1
    return [*parts, spec[start:]]
