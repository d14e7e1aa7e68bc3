"""Projects by blocking calls: what every command does, from any thread, without printing.

    from pycompose import Project

    project = Project.load("compose.yaml", name="demo")
    project.up(scale={"worker": 4}, wait=True)
    print(project["worker"].addresses)
    project.down()

Rules: a `Project` is pinned to its files, name and variables when it is loaded; what is in the files is read again by
each call, as by each command. Services, options and defaults are the command line's. `progress` is handed what goes on.
What goes wrong is a PycomposeError with `message`, `hint` and `place`. A call that ^C breaks off is undone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from pycompose.compose.app.choices import Choices

from .project_files import ProjectFiles
from .project_inside import ProjectInside
from .project_life import ProjectLife
from .scope import Names, NoSuchProject, ProjectScope, names
from .service_objects import Container, Service

if TYPE_CHECKING:
    from pycompose.compose.model.project import Project as Description


Path = str | os.PathLike[str]
Paths = Path | Iterable[Path]


class LoadKeywords(TypedDict, total=False):
    """As the parameters of `Project.load`."""

    name: str | None
    profiles: Iterable[str]
    env: Mapping[str, str] | None
    env_files: Paths | None
    directory: Path | None


def _paths(paths: Paths | None) -> tuple[str, ...]:
    if paths is None:
        return ()
    several = (paths,) if isinstance(paths, str | os.PathLike) else paths
    return tuple(os.fspath(path) for path in several)


class Project(ProjectLife, ProjectInside, ProjectFiles):
    """A project: its services, its containers, and all that is done with them."""

    def __init__(self, scope: ProjectScope, description: Description) -> None:
        """Not for users: `load`, `from_text` and `named` make them."""
        self._scope, self.description = scope, description

    @classmethod
    def load(
        cls,
        files: Paths | None = None,
        *,
        name: str | None = None,
        profiles: Iterable[str] = (),
        env: Mapping[str, str] | None = None,
        env_files: Paths | None = None,
        directory: Path | None = None,
    ) -> Self:
        """The project of compose files; without `files`, of the one that lies in the current folder or above it.

        `env` are variables beside the process's, and before them. Raises FileError, with every problem and its place.
        """
        choices = Choices(
            files=_paths(files),
            project_name=name,
            project_directory=None if directory is None else os.fspath(directory),
            env_files=_paths(env_files),
            profiles=tuple(profiles),
            environ={**os.environ, **(env or {})},
        )
        return cls._loaded(choices)

    @classmethod
    def from_text(
        cls,
        text: str,
        *,
        name: str | None = None,
        profiles: Iterable[str] = (),
        env: Mapping[str, str] | None = None,
        env_files: Paths | None = None,
        directory: Path | None = None,
    ) -> Self:
        """The project of a compose file that is a text; paths in it are of `directory`, or of the current folder."""
        choices = Choices(
            files=("-",),
            project_name=name,
            project_directory=os.path.abspath(os.fspath(directory) if directory is not None else ""),
            env_files=_paths(env_files),
            profiles=tuple(profiles),
            environ={**os.environ, **(env or {})},
            text=text,
        )
        return cls._loaded(choices)

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any], **options: Unpack[LoadKeywords]) -> Self:
        """The project of a compose file that is data; the rest as for `from_text`."""
        import json

        return cls.from_text(json.dumps(tree), **options)

    @classmethod
    def named(cls, name: str) -> Self:
        """A project that was brought up before: as its files have it, or its last `up` where these are gone.

        Raises NoSuchProject.
        """
        from pycompose.compose.state import generations
        from pycompose.runtime.places import Places

        places = Places.default().project(name)
        description = generations.newest(places)
        if description is None:
            raise NoSuchProject(name)
        files = description.config_files
        there = bool(files) and all(os.path.isfile(path) for path in files)
        environ = {name: value for name, value in os.environ.items() if name != "COMPOSE_FILE"}
        choices = Choices(
            files=files if there else (),
            project_name=name,
            project_directory=description.working_dir,
            env_files=description.environment_files if there else (),
            environ=environ,
            recorded=not there,
        )
        return cls(ProjectScope(choices, places), description)

    @classmethod
    def _loaded(cls, choices: Choices) -> Self:
        from pycompose.compose.app import locate
        from pycompose.runtime.places import Places

        description = locate.load(choices).project
        pinned = replace(
            choices,
            files=tuple(description.config_files),
            project_name=description.name,
            project_directory=description.working_dir,
            env_files=tuple(description.environment_files),
        )
        return cls(ProjectScope(pinned, Places.default().project(description.name)), description)

    def __repr__(self) -> str:
        return f"<Project {self.name}: {', '.join(self.services) or 'no services'}>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """In a notebook: its graph with live states, and its containers."""
        from .notebook_picture import bundle

        return bundle(repr(self), self.description, self.containers)

    @property
    def name(self) -> str:
        return self._scope.places.project

    @property
    def directory(self) -> str:
        """The folder that paths in the file are of."""
        return self.description.working_dir

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(self.description.config_files)

    # services and containers

    @property
    def services(self) -> tuple[str, ...]:
        """Names of the services, as they were when the project was loaded."""
        return tuple(self.description.services)

    def __iter__(self) -> Iterator[str]:
        return iter(self.services)

    def __len__(self) -> int:
        return len(self.services)

    def __contains__(self, service: object) -> bool:
        return service in self.description.services

    def __getitem__(self, service: str) -> Service:
        """A service of the file, or one that has containers. Raises NoSuchService."""
        described = {**self.description.disabled_services, **self.description.services}
        if service not in described:
            self._scope.check((service,), self.description)
        return Service(self._scope, service, described.get(service))

    @property
    def containers(self) -> list[Container]:
        """All there are, stopped ones and those of `run` too."""
        return self.ps(all=True)

    def container(self, name: str) -> Container:
        """By its name or id. Raises ContainerGone."""
        return Container(self._scope, self._scope.by_name(name))

    def ps(self, services: Names = (), *, all: bool = False) -> list[Container]:
        """Containers that run, or all. Raises NoSuchService."""
        chosen = names(services)
        self._scope.check(chosen, self.description)
        shown = ("running", "paused", "restarting")
        return [Container(self._scope, one) for one in self._scope.containers(chosen) if all or one.status in shown]
