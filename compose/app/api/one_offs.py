"""One-off containers of the Python API: `run` with streams that are bytes, and `run_detached`."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal, TypedDict

from pycompose import interruption
from pycompose.compose.app import one_off
from pycompose.compose.app.image_operations import ImageOptions
from pycompose.compose.app.one_off import RunOptions
from pycompose.errors import PycomposeError

from . import captured
from .scope import Progress, ProjectScope, heard

if TYPE_CHECKING:
    from .captured import Command, Completed, Input


class StartKeywords(TypedDict, total=False):
    """As the parameters of `Project.run` but those of its streams."""

    rm: bool
    name: str
    env: Mapping[str, str | None] | None
    user: str
    workdir: str
    entrypoint: Command | None
    labels: Mapping[str, str] | None
    volumes: Iterable[str]
    publish: Iterable[str]
    service_ports: bool
    use_aliases: bool
    no_deps: bool
    build: bool | None
    pull: Literal["always", "missing", "never"] | None
    progress: Progress | None


def _options(service: str, command: Command, keywords: StartKeywords, *, detached: bool) -> RunOptions:
    entrypoint = keywords.get("entrypoint")
    variables = (keywords.get("env") or {}).items()
    return RunOptions(
        service=service,
        command=captured.words(command) if command else (),
        name=keywords.get("name", ""),
        environment=tuple(key if value is None else f"{key}={value}" for key, value in variables),
        labels=keywords.get("labels") or {},
        user=keywords.get("user", ""),
        folder=keywords.get("workdir", ""),
        entrypoint=None if entrypoint is None else captured.words(entrypoint),
        volumes=tuple(keywords.get("volumes", ())),
        publish=tuple(keywords.get("publish", ())),
        service_ports=keywords.get("service_ports", False),
        use_aliases=keywords.get("use_aliases", False),
        auto_remove=keywords.get("rm", False),
        interactive=not detached,
        detached=detached,
        no_deps=keywords.get("no_deps", False),
    )


def start(scope: ProjectScope, service: str, command: Command, keywords: StartKeywords) -> str:
    """Start one that goes on by itself; its id."""
    options = _options(service, command, keywords, detached=True)
    return one_off.start(scope.choices, options, _images(keywords), heard(keywords.get("progress")))[1].id


def run(
    scope: ProjectScope, service: str, command: Command, content: Input, timeout: float | None, keywords: StartKeywords
) -> Completed:
    """Run one to its end. Whoever breaks it off kills its container."""
    options = _options(service, command, keywords, detached=False)

    def copied(stdio: tuple[int, int, int]) -> int:
        tell = heard(keywords.get("progress"))
        _, container = one_off.start(scope.choices, options, _images(keywords), tell, stdio)
        with interruption.instead(lambda: container.signal(signal.SIGKILL)):
            code = container.copy(lambda data: (data, False))
        if code is None:
            raise PycomposeError("nobody can tell how the container ended")
        return code

    return captured.captured(options.command, content, timeout, copied)


def _images(keywords: StartKeywords) -> ImageOptions:
    return ImageOptions(keywords.get("pull"), keywords.get("build"))
