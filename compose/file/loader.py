"""From the files of a project to a `Project`: the only module of this folder that reads files.

Order: find files, environment (`.env`), parse, interpolate, extends, merge, build. All problems of a run are told
together; only what cannot be parsed at all ends a run early.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pycompose.compose.errors import FileError, Position, Problem
from pycompose.compose.model import Project, no_text

from . import dotenv
from .build import build
from .canonical import project_tree
from .interpolate import Interpolation
from .merge import merge, strip_resets
from .reading import Reading, suggestion
from .service import EnvFile
from .source import Map, Seq, Text, Tree, parse, text

NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says about the project; `environ` is the process environment."""

    files: tuple[str, ...] = ()
    project_name: str | None = None
    project_directory: str | None = None
    env_files: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=no_text)
    interpolate: bool = True  # these five are for `config --no-…`: to look at a file, never to run it
    normalize: bool = True  # implied networks, dependencies and names
    resolve_paths: bool = True
    resolve_env: bool = True  # read env files
    check_consistency: bool = True


@dataclass(frozen=True, slots=True)
class Merged:
    """The files as one tree, before `build` says what it means; what was found wrong so far is in `reading`."""

    tree: Tree
    name: str
    working_dir: str
    paths: tuple[str, ...]
    environment_files: tuple[str, ...]
    variables: Mapping[str, str]  # that are filled in
    reading: Reading


@dataclass(frozen=True, slots=True)
class Loaded:
    project: Project
    tree: dict[str, Any]  # canonical compose file
    warnings: tuple[Problem, ...]
    variables: Mapping[str, str] = field(default_factory=no_text)  # that were filled in


def merged(options: Options) -> Merged:
    """The files that `options` name, interpolated, included, extended and merged. Raises FileError."""
    reading = Reading()
    working_dir = os.path.abspath(options.project_directory) if options.project_directory else os.getcwd()
    variables, environment_files = _environment(options, [working_dir])
    paths = _find(options, variables)
    if not options.project_directory:
        parent = os.getcwd() if paths[0] == "-" else os.path.dirname(paths[0])
        if parent != working_dir:
            variables, environment_files = _environment(
                options, [working_dir, parent] if not options.files else [parent]
            )
        working_dir = parent
    documents = [(path, tree) for path in paths for tree in parse(_read(path), "stdin" if path == "-" else path)]
    name = _project_name(options, variables, documents, working_dir)
    variables = {**variables, "COMPOSE_PROJECT_NAME": name}
    interpolation = Interpolation(variables, on=options.interpolate)
    whole: Tree = None
    for path, document in documents:
        tree = interpolation.tree(document)
        tree = _include(tree, path, working_dir, interpolation, reading, (path,))
        tree = _extends(tree, path, working_dir, interpolation, reading)
        whole = merge(whole, strip_resets(tree) if whole is None else tree)
    reading.problems[:0] = interpolation.problems
    reading.warnings[:0] = interpolation.warnings
    return Merged(whole, name, working_dir, tuple(paths), environment_files, variables, reading)


def load(options: Options, services: tuple[str, ...] = ()) -> Loaded:
    """The project that `options` name, with the profiles of `services` active. Raises FileError."""
    found = merged(options)
    reading, variables = found.reading, found.variables

    def read_env_file(entry: EnvFile, into: Reading) -> dict[str, str]:
        try:
            with open(entry.path, encoding="utf-8") as stream:
                content = stream.read()
        except OSError as error:
            if entry.required or not isinstance(error, FileNotFoundError):
                message = f"env file {entry.path} cannot be read: {error.strerror}"
                into.problem(message, entry.section.at("env_file"), code="env-file")
            return {}
        try:
            return (
                dotenv.parse_raw(content, variables.get)
                if entry.raw
                else dotenv.parse(content, entry.path, variables.get)
            )
        except FileError as error:
            into.problems.extend(error.problems)
            return {}

    chosen = options.profiles or tuple(p for p in variables.get("COMPOSE_PROFILES", "").split(",") if p)
    if found.tree is None:
        reading.problem("the file is empty", Position(found.paths[0], 1, 1), code="empty")
    project = build(
        found.tree,
        reading,
        name=found.name,
        working_dir=found.working_dir,
        config_files=found.paths,
        environment_files=found.environment_files,
        variables=variables,
        profiles=chosen,
        targets=services,
        read_env_file=read_env_file if options.resolve_env else None,
        normalize=options.normalize,
        resolve_paths=options.resolve_paths,
        check_consistency=options.check_consistency,
    )
    if reading.problems:
        raise FileError(_in_file_order(reading.problems, found.paths))
    return Loaded(project, project_tree(project), tuple(reading.warnings), variables)


def _in_file_order(problems: list[Problem], paths: tuple[str, ...]) -> tuple[Problem, ...]:
    def place(problem: Problem) -> tuple[int, int, int]:
        at = problem.position
        if at is None:
            return (len(paths) + 1, 0, 0)
        return (paths.index(at.path) if at.path in paths else len(paths), at.line, at.column)

    return tuple(sorted(dict.fromkeys(problems), key=place))


def _fail(message: str, hint: str = "", at: Position | None = None, code: str = "file") -> FileError:
    return FileError((Problem(message, at, hint, code),))


def _read(path: str) -> str:
    if path == "-":
        return sys.stdin.read()
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except OSError as error:
        raise _fail(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _fail(f"{path} is not UTF-8 text") from error


def _environment(options: Options, directories: list[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Variables for interpolation: the process's own, then env files (a later one wins), or `.env` (the first wins)."""
    environ = options.environ
    named = options.env_files or tuple(p for p in environ.get("COMPOSE_ENV_FILES", "").split(",") if p)
    if named:
        paths = [os.path.abspath(p) for p in named]
    elif environ.get("COMPOSE_DISABLE_ENV_FILE", "").lower() in ("1", "true"):
        paths = []
    else:
        paths = [p for p in (os.path.join(d, ".env") for d in reversed(directories)) if os.path.isfile(p)]
    variables: dict[str, str] = {}
    for path in paths:
        variables.update(dotenv.parse(_read(path), path, {**variables, **environ}.get))
    return {**variables, **environ}, tuple(paths)


def _find(options: Options, variables: Mapping[str, str]) -> list[str]:
    given = options.files
    if not given and (listed := variables.get("COMPOSE_FILE")):
        given = tuple(p for p in listed.split(variables.get("COMPOSE_PATH_SEPARATOR", os.pathsep)) if p)
    if given:
        return [p if p == "-" else os.path.abspath(p) for p in given]
    start = directory = os.path.abspath(options.project_directory or os.getcwd())
    while True:
        for name in NAMES:
            path = os.path.join(directory, name)
            if os.path.isfile(path):
                others = (os.path.join(directory, o) for o in OVERRIDES)
                return [path, *[o for o in others if os.path.isfile(o)][:1]]
        if directory == os.path.dirname(directory):
            raise _fail(f"no compose file in {start} or above it", "name one with -f, or make a compose.yaml")
        directory = os.path.dirname(directory)


def normal_name(name: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "", name.lower()).lstrip("_-")


def _project_name(
    options: Options, variables: Mapping[str, str], documents: list[tuple[str, Tree]], working_dir: str
) -> str:
    for given, origin in (
        (options.project_name, "-p"),
        (variables.get("COMPOSE_PROJECT_NAME"), "COMPOSE_PROJECT_NAME"),
    ):
        if given:
            if normal_name(given) != given:
                raise _fail(
                    f'"{given}" ({origin}) cannot be a project name', f'try "{normal_name(given)}"', code="name"
                )
            return given
    for _, tree in reversed(documents):
        value = tree.get("name") if isinstance(tree, Map) else None
        if isinstance(value, Text):
            interpolation = Interpolation(variables)
            given = str(interpolation.scalar(value)) if "$" in value else str(value)
            if interpolation.problems:
                raise FileError(tuple(interpolation.problems))
            if normal_name(given) != given or not given:
                raise _fail(f'"{given}" cannot be a project name', f'try "{normal_name(given)}"', value.at, "name")
            return given
    name = normal_name(os.path.basename(working_dir))
    if not name:
        raise _fail(f"{working_dir} does not make a project name", "name the project with -p", code="name")
    return name


def _include(
    tree: Tree, path: str, working_dir: str, interpolation: Interpolation, reading: Reading, chain: tuple[str, ...]
) -> Tree:
    """The tree with its `include`d files beneath it; relative paths of theirs are made absolute."""
    if not isinstance(tree, Map) or tree.get("include") is None:
        return tree
    entries = tree["include"]
    for item in entries if isinstance(entries, Seq) else [entries]:
        listed: Tree = item.get("path") if isinstance(item, Map) else item
        paths = [
            os.path.join(working_dir, p)
            for p in (listed if isinstance(listed, Seq) else [listed])
            if isinstance(p, Text)
        ]
        if not paths:
            reading.problem("an include needs a path", item.at if item is not None else tree.at, code="include")
            continue
        base: Tree = None
        for one in map(os.path.normpath, paths):
            if one in chain:
                reading.problem(
                    "files include each other: " + " -> ".join((*chain, one)), item.at if item else None, code="cycle"
                )
                return tree
            directory = os.path.dirname(one)
            if isinstance(item, Map) and isinstance(item.get("project_directory"), Text):
                directory = os.path.normpath(os.path.join(working_dir, str(item["project_directory"])))
            for document in parse(_read(one), one):
                part = _include(interpolation.tree(document), one, directory, interpolation, reading, (*chain, one))
                part = _extends(part, one, directory, interpolation, reading)
                base = merge(base, _rebase_all(part, directory))
        if isinstance(base, Map):
            base.pop("name", None)
            for kind in ("services", "networks", "volumes", "configs", "secrets"):
                own, other = tree.get(kind), base.get(kind)
                for key in own if isinstance(own, Map) and isinstance(other, Map) else ():
                    if key in other:  # type: ignore[operator]
                        at = own.keys_at.get(key)  # type: ignore[union-attr]
                        reading.problem(
                            f'{kind.removesuffix("s")} "{key}" is defined here and in an included file',
                            at,
                            code="include",
                        )
            tree = merge(base, tree)
            assert isinstance(tree, Map)
    tree.pop("include", None)
    return tree


def _extends(tree: Tree, path: str, working_dir: str, interpolation: Interpolation, reading: Reading) -> Tree:
    if not isinstance(tree, Map) or not isinstance(tree.get("services"), Map):
        return tree
    services = tree["services"]
    assert isinstance(services, Map)
    files: dict[str, Map] = {path: services}

    def resolve(file: str, name: str, directory: str, chain: tuple[tuple[str, str], ...]) -> Tree:
        service = files[file][name]
        if not isinstance(service, Map) or service.get("extends") is None:
            return service
        extends = service["extends"]
        at = service.keys_at.get("extends")
        target = extends.get("service") if isinstance(extends, Map) else extends
        other = extends.get("file") if isinstance(extends, Map) else None
        if not isinstance(target, Text):
            reading.problem(f'"extends" of service "{name}" needs a service', at, code="extends")
            return service
        other_file, other_directory = file, directory
        if isinstance(other, Text):
            other_file = os.path.normpath(os.path.join(directory, other))
            other_directory = os.path.dirname(other_file)
        if other_file not in files:
            parsed: Tree = None
            for document in parse(_read(other_file), other_file):
                parsed = merge(parsed, interpolation.tree(document))
            found = parsed.get("services") if isinstance(parsed, Map) else None
            files[other_file] = found if isinstance(found, Map) else Map()
        if target not in files[other_file]:
            hint = suggestion(target, files[other_file])
            reading.problem(f'service "{name}" extends "{target}", which is not defined', target.at, hint, "undefined")
            return service
        step = (other_file, str(target))
        if step in chain:
            way = " -> ".join(n for _, n in (*chain, step))
            reading.problem(f"services extend each other: {way}", at, code="cycle")
            return service
        base = resolve(other_file, target, other_directory, (*chain, step))
        if other_file != file:
            base = _rebase(base, other_directory)
        wrapped: Tree = service
        for outer in (name, "services"):
            holder = Map(service.at)
            holder.put(outer, wrapped)
            wrapped = holder
        lower: Tree = base
        for outer in (name, "services"):
            holder = Map(service.at)
            holder.put(outer, lower)
            lower = holder
        both = merge(lower, wrapped)
        assert isinstance(both, Map)
        inner = both["services"]
        assert isinstance(inner, Map)
        result = inner[name]
        assert isinstance(result, Map)
        result.pop("extends", None)
        return result

    made = Map(services.at)
    made.keys_at, made.tags = services.keys_at, services.tags
    for name in services:
        made[name] = resolve(path, name, working_dir, ((path, name),))
    new = Map(tree.at)
    new.keys_at, new.tags = tree.keys_at, tree.tags
    new.update(tree)
    new["services"] = made
    return new


def _rebase_all(tree: Tree, directory: str) -> Tree:
    if isinstance(tree, Map):
        services = tree.get("services")
        if isinstance(services, Map):
            for name in services:
                services[name] = _rebase(services[name], directory)
        for kind in ("configs", "secrets"):
            entries = tree.get(kind)
            for entry in entries.values() if isinstance(entries, Map) else ():
                if isinstance(entry, Map) and isinstance(entry.get("file"), Text):
                    entry["file"] = _joined(entry["file"], directory)
    return tree


def _joined(value: Tree, directory: str) -> Tree:
    if not isinstance(value, Text) or value.startswith(("/", "~")):
        return value
    return text(os.path.normpath(os.path.join(directory, value)), value.at, value.plain)


def _rebase(service: Tree, directory: str) -> Tree:
    """Relative paths of a service of another file, made absolute."""
    if not isinstance(service, Map):
        return service
    made = Map(service.at)
    made.keys_at, made.tags = service.keys_at, service.tags
    made.update(service)
    volumes = made.get("volumes")
    if isinstance(volumes, Seq):
        made["volumes"] = Seq([_rebased_volume(v, directory) for v in volumes], volumes.at)
    files = made.get("env_file")
    if isinstance(files, Text):
        made["env_file"] = _joined(files, directory)
    elif isinstance(files, Seq):
        made["env_file"] = Seq([_joined(f, directory) for f in files], files.at)
    return made


def _rebased_volume(volume: Tree, directory: str) -> Tree:
    if isinstance(volume, Text) and volume.startswith("."):
        source, colon, rest = volume.partition(":")
        return text(os.path.normpath(os.path.join(directory, source)) + colon + rest, volume.at, volume.plain)
    if isinstance(volume, Map) and volume.get("type") == "bind":
        made = Map(volume.at)
        made.keys_at = volume.keys_at
        made.update(volume)
        made["source"] = _joined(volume.get("source"), directory)
        return made
    return volume
