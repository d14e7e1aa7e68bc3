"""The fixtures of pytest-docker by their names, so that a suite moves here by another requirement.

There only where pytest-docker is not installed. `docker_compose_file`, `docker_compose_project_name`, `docker_setup`
and `docker_cleanup` may be overridden as there; of the last two counts whether they build, and remove volumes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .composed_project import ComposedProject

Files = str | os.PathLike[str] | list[str] | list[Path]


class DockerServices:
    """As pytest-docker's `Services`; `project` is all of it."""

    def __init__(self, project: ComposedProject) -> None:
        self.project = project

    def port_for(self, service: str, container_port: int) -> int:
        """The port of this machine where a port of a service is published. Raises PycomposeError."""
        return self.project[service].port(container_port)[1]

    def wait_until_responsive(
        self, check: Callable[[], bool], timeout: float, pause: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Return once `check` is true. Raises Exception (as there) where it is not in time, in seconds."""
        end = clock() + timeout
        while not check():
            if clock() >= end:
                raise Exception("Timeout reached while waiting on service!")
            time.sleep(pause)


@pytest.fixture(scope="session")
def docker_ip() -> str:
    """Where published ports are reached."""
    return "127.0.0.1"


@pytest.fixture(scope="session")
def docker_compose_file(pytestconfig: pytest.Config) -> Files:
    return str(pytestconfig.rootpath / "tests" / "docker-compose.yml")


@pytest.fixture(scope="session")
def docker_compose_project_name(compose_project_name: str) -> str:
    return compose_project_name


@pytest.fixture(scope="session")
def docker_setup() -> Any:
    return ["up --build -d"]


@pytest.fixture(scope="session")
def docker_cleanup() -> Any:
    return ["down -v"]


@pytest.fixture(scope="session")
def docker_services(
    docker_compose_file: Files, docker_compose_project_name: str, docker_setup: Any, docker_cleanup: Any
) -> Iterator[DockerServices]:
    """The project of `docker_compose_file`, up for the session."""
    from .composed_project import ComposedProject

    files = docker_compose_file if isinstance(docker_compose_file, list) else [docker_compose_file]
    project = ComposedProject.load(list(files), name=docker_compose_project_name)
    ComposedProject.living.append(project)
    try:
        for command in _commands(docker_setup):
            if command[:1] == ["up"]:
                options = {"build": True} if "--build" in command else {}
                project.up_with({**options, "wait": "--wait" in command})
        yield DockerServices(project)
    finally:
        ComposedProject.living.remove(project)
        for command in _commands(docker_cleanup):
            if command[:1] == ["down"]:
                project.down(volumes=bool({"-v", "--volumes"} & set(command)), timeout=0)


def _commands(texts: Any) -> list[list[str]]:
    """Words of each command; none of an empty text, or None."""
    several = [texts] if isinstance(texts, str) else texts or []
    return [text.split() for text in several if text]
