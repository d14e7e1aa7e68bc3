"""From the files of a project to a `Project`.

Order: find files, environment (`.env`), then `composition` (parse, interpolate, include, extends, merge), then `build`.
All problems of a run are raised together, in the order of the files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from typing import Any

from pycompose.compose.model.errors import FileError, Problem
from pycompose.compose.model.fields import no_text
from pycompose.compose.model.known_words import NO_FILE, not_a_name
from pycompose.compose.model.own_variables import switched_on
from pycompose.compose.model.project import Project
from pycompose.errors import Place
from pycompose.frozen import dataclass

from . import dotenv
from .as_written import as_written
from .build_section import build
from .canonical import project_tree
from .composition import Composition, Scope
from .files import Fetch, Files
from .interpolate import Interpolation
from .paths import is_elsewhere
from .reading import Reading
from .service import EnvFile
from .source import Map, Text, Tree

SHOWN = 1000  # problems of one run, at most
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
    compatibility: bool = False  # names that no file gave are as of Compose 1
    existing: bool = False  # for what acts on containers that exist: what only making them needs may be missing
    fetch: Fetch | None = None  # brings files here that are elsewhere
    text: str | None = None  # of the file "-", instead of standard input


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
    files: Files


@dataclass(frozen=True, slots=True)
class LenientlyRead:
    """What can be read of files with `problems`; `whole`: each of them could be, and so the name is theirs.

    `lacking`: somewhere a variable has no value here, so that only the structure is what it was.
    """

    name: str
    project: Project | None
    problems: tuple[Problem, ...]
    whole: bool
    lacking: bool
    variables: Mapping[str, str] = field(default_factory=no_text)  # that were filled in


@dataclass(frozen=True, slots=True)
class Loaded:
    project: Project
    warnings: tuple[Problem, ...]
    variables: Mapping[str, str] = field(default_factory=no_text)  # that were filled in
    source: Tree = None  # the files as one tree
    normalize: bool = True

    @property
    def tree(self) -> dict[str, Any]:
        """The canonical compose file, made when somebody asks: few do."""
        return as_written(project_tree(self.project), self.source, normalize=self.normalize)


def merged(options: Options) -> Merged:
    """The files that `options` name, interpolated, included, extended and merged. Raises FileError."""
    reading, files = Reading(existing=options.existing), Files(options.fetch, options.text)
    try:
        working_dir = _here(options.project_directory or "")
    except FileError:
        if not options.files or not os.path.isabs(options.files[0]):
            raise
        working_dir = os.path.dirname(options.files[0])
    variables, environment_files = _environment(options, [working_dir], files, reading)
    paths = _find(options, variables, files)
    if not options.project_directory:
        parent = _here() if paths[0] == "-" else os.path.dirname(paths[0])
        if parent != working_dir:
            variables, environment_files = _environment(
                options, [working_dir, parent] if not options.files else [parent], files, reading
            )
        working_dir = parent
    names, unreadable = _names(paths, files)
    name = _project_name(options, variables, names, working_dir)
    if not name:
        raise unreadable or _fail(
            f"{working_dir} does not make a project name", "name the project with -p", code="name"
        )
    variables = {**variables, "COMPOSE_PROJECT_NAME": name}
    kept_in = None if options.resolve_paths else working_dir
    composition = Composition(files, reading, interpolate=options.interpolate, kept_in=kept_in)
    tree = composition.whole(paths, Scope(working_dir, variables))
    reading.warnings[:0] = files.warnings
    if tree is None and not reading.problems:
        reading.problem("empty compose file", Place(paths[0], 1, 1), 'it needs a "services" mapping', "empty")
    return Merged(tree, name, working_dir, tuple(paths), environment_files, variables, reading, files)


def _here(path: str = "") -> str:
    """The path made absolute; the current directory for none. Raises FileError where that is gone."""
    try:
        return os.path.abspath(path)
    except FileNotFoundError as error:
        raise _fail("the current directory is not there any more", "cd to one that is") from error


def _names(paths: list[str], files: Files) -> tuple[list[Tree], FileError | None]:
    """The value of `name` of each document, and why the first file that cannot be read is none."""
    names: list[Tree] = []
    unreadable = None
    for path in paths:
        try:
            names += [tree.get("name") for tree in files.documents(path) if isinstance(tree, Map)]
        except FileError as error:
            unreadable = unreadable or error
    return names, unreadable


def load(options: Options, services: tuple[str, ...] = ()) -> Loaded:
    """The project that `options` name, with the profiles of `services` active. Raises FileError."""
    whole = merged(options)
    project = _built(whole, options, services)
    if project is None or whole.reading.problems:
        raise FileError(_in_file_order(whole.reading.problems, whole.paths), tuple(whole.reading.warnings))
    return Loaded(project, tuple(whole.reading.warnings), whole.variables, whole.tree, options.normalize)


def read_leniently(options: Options, services: tuple[str, ...] = ()) -> LenientlyRead:
    """The same, with what is wrong beside it. Raises FileError where there is no file, or its name is wrong."""
    whole = merged(options)
    project = _built(whole, options, services)
    problems = _in_file_order(whole.reading.problems, whole.paths)
    reading = whole.reading
    return LenientlyRead(whole.name, project, problems, not reading.incomplete, reading.lacking, whole.variables)


WHATEVER_IS_FILLED_IN = frozenset({"unknown-key", "source", "external"})  # codes of problems


def unfilled(options: Options) -> Merged:
    """The merged files with no variable filled in. Raises FileError for what is wrong whatever their values are."""
    whole = merged(replace(options, interpolate=False))
    problems = whole.reading.problems
    if not problems:
        with suppress(FileError):  # a name that cannot be filled in
            filled = read_leniently(replace(options, interpolate=True)).problems
            problems = [problem for problem in filled if problem.code in WHATEVER_IS_FILLED_IN]
    if problems:
        raise FileError(_in_file_order(problems, whole.paths))
    return whole


def _built(whole: Merged, options: Options, services: tuple[str, ...]) -> Project | None:
    """What the tree means, where there is one."""
    reading, variables = whole.reading, whole.variables
    if whole.tree is None:
        return None

    def read_env_file(
        entry: EnvFile, lookup: Callable[[str], str | None], earlier: Mapping[str, str]
    ) -> dict[str, str]:
        if not os.path.exists(entry.path):
            if entry.required:
                kind = "label" if entry.attribute == "label_file" else "env"
                message = f"{kind} file {entry.path} not found: stat {entry.path}: no such file or directory"
                reading.problem(message, entry.section.at(entry.attribute), "is the path right?", "file")
            return {}
        try:
            content = whole.files.text(entry.path, entry.section.at(entry.attribute))
            return (
                dotenv.parse_raw(content, lookup)
                if entry.raw
                else dotenv.parse(content, entry.path, lookup, reading.unset, earlier)
            )
        except FileError as error:
            reading.problems.extend(error.problems)
            return {}

    return build(
        whole.tree,
        reading,
        name=whole.name,
        working_dir=whole.working_dir,
        config_files=whole.paths,
        environment_files=whole.environment_files,
        variables=variables,
        separator="_" if options.compatibility or switched_on(variables.get("COMPOSE_COMPATIBILITY")) else "-",
        profiles=options.profiles or tuple(p for p in variables.get("COMPOSE_PROFILES", "").split(",") if p),
        targets=services,
        read_env_file=None if options.existing else read_env_file,
        resolve_env=options.resolve_env,
        digest=(lambda path: None) if options.existing else whole.files.digest,
        normalize=options.normalize,
        resolve_paths=options.resolve_paths,
        check_consistency=options.check_consistency and not reading.incomplete,
    )


def _in_file_order(problems: list[Problem], paths: tuple[str, ...]) -> tuple[Problem, ...]:
    def place(problem: Problem) -> tuple[int, int, int]:
        at = problem.position
        if at is None:
            return (len(paths) + 1, 0, 0)
        return (paths.index(at.path) if at.path in paths else len(paths), at.line, at.column)

    ordered = sorted(dict.fromkeys(problems), key=place)
    if len(ordered) > SHOWN:
        ordered[SHOWN:] = [Problem(f"and {len(ordered) - SHOWN:,} problems more", code="more")]
    return tuple(ordered)


def _fail(message: str, hint: str = "", at: Place | None = None, code: str = "file") -> FileError:
    return FileError((Problem(message, at, hint, code),))


def _environment(
    options: Options, directories: list[str], files: Files, reading: Reading
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Variables for interpolation: the process's own, then env files (a later one wins), or `.env` (the first wins)."""
    environ = options.environ
    if "PWD" not in environ:  # a service manager or cron sets none, and docker compose knows it all the same
        with suppress(FileError):
            environ = {**environ, "PWD": _here()}
    named = options.env_files or tuple(p for p in environ.get("COMPOSE_ENV_FILES", "").split(",") if p)
    if named:
        paths = [_here(p) for p in named]
        if missing := next((path for path in paths if not os.path.exists(path)), None):
            raise _fail(f"couldn't find env file: {missing}", "is the path right?")
    elif switched_on(environ.get("COMPOSE_DISABLE_ENV_FILE")):
        paths = []
    else:
        paths = [p for p in (os.path.join(d, ".env") for d in reversed(directories)) if os.path.isfile(p)]
    variables: dict[str, str] = {}
    for path in paths:
        try:
            variables.update(dotenv.parse(files.text(path), path, environ.get, reading.unset, variables))
        except FileError:
            if not (reading.existing and (options.project_name or environ.get("COMPOSE_PROJECT_NAME"))):
                raise  # it may be what names the project
    return {**variables, **environ}, tuple(paths)


def _find(options: Options, variables: Mapping[str, str], files: Files) -> list[str]:
    paths = options.files
    if not paths and (listed := variables.get("COMPOSE_FILE")):
        paths = tuple(p for p in listed.split(variables.get("COMPOSE_PATH_SEPARATOR", os.pathsep)) if p)
    if paths:
        return [p if p == "-" else files.local(p, "") if is_elsewhere(p) else _here(p) for p in paths]
    start = directory = _here(options.project_directory or "")
    while True:
        chosen = _first_of(directory, NAMES, "config", files)
        if chosen:
            return [*chosen, *_first_of(directory, OVERRIDES, "override", files)]
        if directory == os.path.dirname(directory):
            hint = f"there is no compose.yaml in {start} or above it: name one with -f"
            raise _fail(NO_FILE, hint, code="no-file")
        directory = os.path.dirname(directory)


def _first_of(directory: str, names: Sequence[str], kind: str, files: Files) -> list[str]:
    """The first of these files that is there; that there are others is a warning."""
    there = [path for name in names if os.path.isfile(path := os.path.join(directory, name))]
    if len(there) > 1:
        message = f"Found multiple {kind} files with supported names: {', '.join(there)}"
        files.warnings += [Problem(message, code="several-files"), Problem(f"Using {there[0]}", code="several-files")]
    return there[:1]


def normal_name(name: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "", name.lower()).lstrip("_-")


def _project_name(options: Options, variables: Mapping[str, str], names: list[Tree], working_dir: str) -> str:
    """The name that was asked for, that of the file, or that of the folder; empty where none of them makes one."""
    for chosen, origin in (
        (options.project_name, "-p"),
        (variables.get("COMPOSE_PROJECT_NAME"), "COMPOSE_PROJECT_NAME"),
    ):
        if chosen:
            if normal_name(chosen) != chosen:
                proposal = f'; try "{name}"' if (name := normal_name(chosen)) else ""
                raise _fail(not_a_name(chosen), f"it is from {origin}{proposal}", code="name")
            return chosen
    for value in reversed(names):
        if isinstance(value, Text):
            reading = Reading()
            if not options.interpolate:
                return normal_name(value)
            chosen = str(Interpolation(variables, reading).scalar(value)) if "$" in value else str(value)
            if reading.problems:
                raise FileError(tuple(reading.problems))
            if not chosen:
                continue
            if not (name := normal_name(chosen)):
                raise _fail(
                    not_a_name(chosen), "the name of the file is made of its letters and digits", value.at, "name"
                )
            return name
    return normal_name(os.path.basename(working_dir))
