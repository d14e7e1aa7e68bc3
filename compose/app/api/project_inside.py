"""The inside of a project's containers: commands in them, and what they wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, Unpack

from .scope import Names, Progress, ProjectScope, names
from .service_objects import Container

if TYPE_CHECKING:
    from pycompose.compose.app.log_entries import LogEntry
    from pycompose.compose.app.moments import Moment
    from pycompose.compose.model.project import Project as Description

    from .captured import Command, Completed, Input
    from .one_offs import StartKeywords
    from .scope import ExecKeywords


class ProjectInside:
    """The half of a `Project` that looks into it."""

    _scope: ProjectScope
    description: Description

    def exec(
        self,
        service: str,
        command: Command,
        *,
        index: int = 0,
        **options: Unpack[ExecKeywords],
    ) -> Completed:
        """Run a command in a container of a service that runs; as `Container.exec`."""
        container = Container(self._scope, self._scope.one(service, index))
        return container.exec(command, **options)

    def run(
        self,
        service: str,
        command: Command = (),
        *,
        input: Input = None,
        check: bool = False,
        timeout: float | None = None,
        rm: bool = False,
        name: str = "",
        env: Mapping[str, str | None] | None = None,
        user: str = "",
        workdir: str = "",
        entrypoint: Command | None = None,
        labels: Mapping[str, str] | None = None,
        volumes: Iterable[str] = (),
        publish: Iterable[str] = (),
        service_ports: bool = False,
        use_aliases: bool = False,
        no_deps: bool = False,
        build: bool | None = None,
        pull: Literal["always", "missing", "never"] | None = None,
        progress: Progress | None = None,
    ) -> Completed:
        """Run a command (else the service's own) in a new container until it ends; what it depends on is started.

        `rm`: remove the container then. `volumes` and `publish` are short forms. Raises CommandFailed (`check`),
        CommandTimeout, PycomposeError (exit code 125, 126 or 127) where it cannot be started.
        """
        from . import one_offs

        keywords: StartKeywords = {
            "rm": rm,
            "name": name,
            "env": env,
            "user": user,
            "workdir": workdir,
            "entrypoint": entrypoint,
            "labels": labels,
            "volumes": volumes,
            "publish": publish,
            "service_ports": service_ports,
            "use_aliases": use_aliases,
            "no_deps": no_deps,
            "build": build,
            "pull": pull,
            "progress": progress,
        }
        completed = one_offs.run(self._scope, service, command, input, timeout, keywords)
        return completed.check() if check else completed

    def run_detached(
        self,
        service: str,
        command: Command = (),
        **options: Unpack[StartKeywords],
    ) -> Container:
        """As `run`, and the container goes on by itself."""
        from . import one_offs

        container_id = one_offs.start(self._scope, service, command, options)
        return Container(self._scope, self._scope.by_name(container_id))

    def logs(
        self,
        services: Names = (),
        *,
        follow: bool = False,
        tail: int | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
    ) -> Iterator[LogEntry]:
        """The lines that containers wrote, in the order of time; with `follow` also those that come, while any runs.

        `tail`: the last lines of each container. `since` and `until` are times, ages (timedelta) or as of the command.
        Raises NoSuchService.
        """

        chosen = names(services)
        self._scope.check(chosen, self.description)
        return self._scope.logs(
            lambda one: not one.oneoff and (not chosen or one.service in chosen),
            follow=follow,
            tail=tail,
            since=since,
            until=until,
        )
