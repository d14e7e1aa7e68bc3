"""Search for the project that a command is about: by -p, by the compose file, or as its last `up` had it.

Rules: the name alone is found without parsing YAML where that is safe, so that looking stays fast; whenever the quick
way is in doubt, the loader decides. What a quick look takes for a name is what the loader would take.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from pycompose.compose.model.known_words import NO_FILE, not_a_name
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass
from pycompose.runtime.places import Places, ProjectPlaces

from .choices import Choices
from .nearby_files import absolute, found_files

if TYPE_CHECKING:
    from pycompose.compose.file.loader import Loaded, Options
    from pycompose.compose.model.errors import FileError, Problem
    from pycompose.compose.model.project import Project

MOST_AT_A_GLANCE = 1 << 20  # bytes of a file that is not parsed
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\Z")
NAME_LINE = re.compile(r"^[\"']?name[\"']?[ \t]*:(.*)$", re.MULTILINE)
TOLD = 3  # problems of a file that is not needed are told at most
PLAIN_NAME = re.compile(r"\s*(?:\"([a-z0-9_-]+)\"|'([a-z0-9_-]+)'|([a-z0-9_-]+))\s*(?:#.*)?\Z")


@dataclass(frozen=True, slots=True)
class Located:
    """The project that a command is about; `warnings` are what is odd in its files, where these were read."""

    places: ProjectPlaces
    project: Project | None = None
    warnings: tuple[Problem, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)  # the caller's, and those of .env, where a file was read

    @property
    def described(self) -> Project:
        """Raises PycomposeError where there is neither a file nor an earlier `up`."""
        if self.project is None:
            raise PycomposeError(NO_FILE, hint="nor is there an earlier `up` to go by: name a file with -f")
        return self.project

    def check(self, services: Iterable[str]) -> None:
        """Raises NoSuchService for one that is not described, or behind a profile."""
        from pycompose.compose.state import lookup

        lookup.check(services, self.described.services)


def options_of(choices: Choices, *, existing: bool = False) -> Options:
    from pycompose.compose.file.loader import Options

    def fetch(name: str, named_by_file: bool) -> str:
        from .remote_files import RemoteFiles

        return RemoteFiles(choices.approve, existing=existing)(name, named_by_file)

    return Options(
        files=choices.files,
        project_name=choices.project_name,
        project_directory=choices.project_directory,
        env_files=choices.env_files,
        profiles=choices.profiles,
        compatibility=choices.compatibility,
        environ=dict(choices.environment),
        text=choices.text,
        existing=existing,
        fetch=fetch,
    )


def load(choices: Choices, services: tuple[str, ...] = (), options: Options | None = None) -> Loaded:
    """The project of the compose files, with what is odd in them."""
    from pycompose.compose.file.loader import load

    return load(options or options_of(choices), services)


def service_names(choices: Choices) -> list[str]:
    """The services of the file, also of profiles that are not active; none where the file cannot be read."""
    return list(_services_as_written(choices))


def profile_names(choices: Choices) -> list[str]:
    """The profiles of the file's services; none where the file cannot be read."""
    services = _services_as_written(choices).values()
    lists = [service.get("profiles") for service in services if isinstance(service, dict)]
    return sorted({str(name) for names in lists if isinstance(names, list) for name in names})


def _services_as_written(choices: Choices) -> dict[str, Any]:
    from pycompose.compose.file.loader import merged
    from pycompose.compose.model.errors import FileError

    try:
        tree = merged(replace(options_of(choices), fetch=None)).tree
    except (FileError, OSError):
        return {}
    services = tree.get("services") if isinstance(tree, dict) else None
    return services if isinstance(services, dict) else {}


def target(choices: Choices, services: tuple[str, ...] = (), *, remembered: bool = True) -> Located:
    """The project that is described; without a compose file, as the last `up` had it (None if there was none).

    With `remembered`, a project that -p names and no -f describes is the one of its last `up`, whatever file lies here.
    """
    from pycompose.compose.model.errors import FileError

    if (remembered or choices.recorded) and (located := _remembered(choices)) is not None:
        return located
    try:
        loaded = load(choices, services)
        return Located(Places.default().project(loaded.project.name), loaded.project, loaded.warnings, loaded.variables)
    except FileError as error:
        return _without_file(choices, error)


def existing(choices: Choices, services: tuple[str, ...] = ()) -> Located:
    """The project whose containers are acted on: as its file has it where that can be read, else as on record.

    What only making containers needs may be missing: env files, variables, values of secrets. Raises FileError where
    neither tells which project it is, and for a service that is not there.
    """
    from pycompose.compose.file.loader import read_leniently
    from pycompose.compose.model.errors import FileError, Problem
    from pycompose.compose.state.generations import newest

    if (located := _remembered(choices)) is not None:
        return located
    try:
        loaded = read_leniently(options_of(choices, existing=True), services)
    except FileError as error:
        return _without_file(choices, error)
    problems = loaded.problems
    if not problems and loaded.project is not None:
        places = Places.default().project(loaded.name)
        recorded = newest(places) if loaded.lacking else None
        restored = _restored(loaded.project, recorded) if recorded else loaded.project
        return Located(places, restored, variables=loaded.variables)
    name = _named_outside(choices) or (loaded.name if loaded.whole else _quick_name(choices))
    if any(problem.code == "no-such-service" for problem in problems) or not name:
        raise FileError(problems)
    places = Places.default().project(name)
    if (project := newest(places)) is None and loaded.project is None and not os.path.isdir(places.state):
        raise FileError(problems)
    by_record = Problem("the file cannot be used as it is: containers are found by the records of the last `up`")
    return Located(places, project or loaded.project, (*problems[:TOLD], by_record))


def _restored(project: Project, recorded: Project) -> Project:
    """The project with its services as on record, where a variable of them may have no value any more.

    Which services there are, and which needs which, is the file's.
    """
    services = {
        name: replace(recorded.services[name], depends_on=service.depends_on) if name in recorded.services else service
        for name, service in project.services.items()
    }
    return replace(project, services=services)


def _remembered(choices: Choices) -> Located | None:
    """The project that -p names as its last `up` had it, where no -f describes it."""
    from pycompose.compose.state.generations import newest

    if not choices.project_name or choices.files or choices.environment.get("COMPOSE_FILE"):
        return None
    places = _named(choices.project_name)
    project = newest(places)
    return None if project is None else Located(places, project)


def _named_outside(choices: Choices) -> str | None:
    return choices.project_name or choices.environment.get("COMPOSE_PROJECT_NAME")


def _without_file(choices: Choices, error: FileError) -> Located:
    """The project as its last `up` had it, where the error is that there is no compose file; else raises it."""
    from pycompose.compose.file.loader import normal_name
    from pycompose.compose.state.generations import newest

    missing = error.problems[0].code == "no-file"
    folder = os.path.basename(absolute(choices.project_directory or "."))
    name = _named_outside(choices) or normal_name(folder)
    if choices.files or not missing or not name or normal_name(name) != name:
        raise error
    places = Places.default().project(name)
    if not _named_outside(choices) and not os.path.isdir(places.state):
        raise error
    return Located(places, newest(places))


def likely_places(choices: Choices) -> ProjectPlaces | None:
    """The project's places where a look is enough to tell them; the files are not read, and may be wrong."""
    name = _named_outside(choices) or _quick_name(choices)
    return Places.default().project(name) if name and NAME.match(name) else None


def named(choices: Choices) -> Located:
    """The project by its name alone; a file is parsed only where the name cannot be told otherwise."""
    name = _named_outside(choices) or _quick_name(choices)
    return Located(_named(name)) if name else existing(choices)


def _named(name: str) -> ProjectPlaces:
    if not NAME.match(name):
        raise PycomposeError(not_a_name(name), hint="such as my-project")
    return Places.default().project(name)


def _quick_name(choices: Choices) -> str | None:
    """The project's name as the loader would find it, or None where only the loader can tell."""
    if choices.env_files or choices.environment.get("COMPOSE_ENV_FILES") or "-" in choices.files:
        return None
    paths = [absolute(path) for path in choices.files] or found_files(choices)
    if not all(paths) or not paths:
        return None
    folder = absolute(choices.project_directory) if choices.project_directory else os.path.dirname(paths[0])
    for place in {absolute("."), folder}:
        if os.path.exists(f"{place}/.env"):
            text = _text(f"{place}/.env")
            if text is None or "COMPOSE_" in text:
                return None
    name = os.path.basename(folder)
    for path in paths:
        text = _text(path)
        if text is None:
            return None
        names = NAME_LINE.findall(text)
        if re.search(r"^(?:---|[{%?!&*])", text, re.MULTILINE) or len(names) > 1:
            return None
        if names:
            plain = PLAIN_NAME.match(names[0])
            if plain is None:
                return None
            name = next(group for group in plain.groups() if group)
    return name if NAME.match(name) else None


def _text(path: str) -> str | None:
    """A regular file's text; None where only the loader can tell: a FIFO can be read once, a device may never end."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_AT_A_GLANCE:
            return None
        with open(path, encoding="utf-8") as file:
            return file.read(MOST_AT_A_GLANCE)
    except (OSError, ValueError):
        return None
