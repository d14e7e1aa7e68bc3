"""One-off containers: what `run` makes of a service, starts with what it depends on, and stays with until it ends.

A one-off is a container of its service with another command perhaps, a name and an id of its own, and no restart
policy; it is no replica. What it is made from is a project of its own on record (`changed`), which goes with it. Rules:
its streams are taken before it is started, so that nothing it prints is lost; whoever runs it may leave or die, and it
goes on. Prints nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import field, replace
from typing import TYPE_CHECKING

from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

from . import operations
from .choices import Choices
from .operations import Outcome
from .phases import silent

if TYPE_CHECKING:
    from pycompose.compose.model.observed import Observed
    from pycompose.compose.model.project import Mount, Port, Project, Service, Volume
    from pycompose.compose.plan.steps import Plan
    from pycompose.runtime.client.process import TakenStreams
    from pycompose.runtime.places import ProjectPlaces

    from .image_operations import ImageOptions
    from .phases import Tell


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`terminal` and `interactive`: its stdin is a terminal, and is open."""

    service: str
    command: tuple[str, ...] = ()
    name: str = ""
    environment: tuple[str, ...] = ()  # NAME=value, or NAME with the value that it has for the project
    env_files: tuple[str, ...] = ()  # paths; what `environment` has is before what they have, and the first is before
    labels: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    folder: str = ""
    entrypoint: tuple[str, ...] | None = None
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()  # short forms; paths are the caller's
    publish: tuple[str, ...] = ()  # short forms
    service_ports: bool = False
    use_aliases: bool = False
    auto_remove: bool = False
    terminal: bool = False
    interactive: bool = True
    detached: bool = False
    no_deps: bool = False
    remove_orphans: bool = False
    ignore_orphans: bool = False


class OneOffContainer:
    """One that runs. Its streams are the caller's until `copy` returns."""

    def __init__(self, places: ProjectPlaces, name: str, container_id: str, options: RunOptions) -> None:
        self.places, self.name, self.id, self._options = places, name, container_id, options
        self._streams: TakenStreams | None = None

    @property
    def unwritable(self) -> int:
        """The errno of why an output of the caller's could not be written to; 0 if all could."""
        return self._streams.failure if self._streams else 0

    def signal(self, number: int) -> None:
        """To its first process; nothing happens to one that has ended."""
        assert self._streams is not None
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._streams.pidfd, number)

    def copy(self, typed: Callable[[bytes], tuple[bytes, bool]]) -> int | None:
        """Copy to and from the caller until it ends, and is removed where that was asked; its exit code.

        None where `typed`, which gets what is typed and tells what of it is passed on, asked to leave.
        """
        assert self._streams is not None
        streams, options = self._streams, self._options
        try:
            code = streams.copy(options.terminal, typed if options.terminal else None, options.interactive)
        finally:
            streams.close()
        if code is not None and options.auto_remove:
            self._await_removal()
        return code

    def _await_removal(self) -> None:
        """Return when it is gone; a project of which nothing is left then is ended."""
        from pycompose.compose.control import client, session
        from pycompose.compose.control.protocol import AwaitRemoval, ControlError

        with suppress(ControlError):  # the supervisor was killed: the next one removes it
            list(client.request(self.places.control_socket, AwaitRemoval(self.name)))
        with suppress(PycomposeError, OSError):
            session.close_if_empty(self.places, waiting=_leave_it)

    def _take(self, stdio: tuple[int, int, int]) -> None:
        from pycompose.runtime.client.process import TakenStreams

        self._streams = TakenStreams(self.places, self.id, stdio)

    def _begun(self) -> None:
        if self._streams is not None:
            self._streams.receive()


def _leave_it() -> None:
    raise PycomposeError("another command acts on the project, and ends it if need be")


def start(
    choices: Choices,
    options: RunOptions,
    images: ImageOptions | None = None,
    tell: Tell = silent,
    stdio: tuple[int, int, int] = (0, 1, 2),
) -> tuple[Outcome, OneOffContainer]:
    """A one-off container of a service, started after what it depends on, unless this is a dry run.

    Raises PycomposeError, with exit code 125, 126 or 127 where its program cannot be run.
    """
    from pycompose.compose.model.observed import OneOff
    from pycompose.compose.plan import reconcile
    from pycompose.compose.plan.reconcile import UpOptions

    needs = UpOptions(
        services=(options.service,),
        no_deps=options.no_deps,
        no_recreate=True,
        remove_orphans=options.remove_orphans,
        ignore_orphans=options.ignore_orphans,
    )
    one_off = OneOff(os.urandom(32).hex(), options.auto_remove, options.use_aliases)
    with operations.prepared_up(choices, needs, images, tell) as prepared:
        provided = operations.variables_of(prepared.located)
        provided.remodel = lambda project: changed(project, options, one_off.id, prepared.located.variables)
        project = provided.project
        name = project.services[options.service].container_name or ""
        container = OneOffContainer(prepared.located.places, name, one_off.id, options)

        def decide(observed: Observed) -> Plan:
            needs = replace(prepared.options, provided=provided.run, ended=provided.ended)
            return reconcile.run(provided.project, observed, needs, service=options.service, name=name, one_off=one_off)

        def ready() -> None:
            if not options.detached:
                container._take(stdio)

        outcome = operations.apply(choices, prepared.located, decide, "run", tell, ready=ready, provided=provided)
        if not choices.dry_run:
            container._begun()
    return outcome, container


def changed(project: Project, options: RunOptions, container_id: str, variables: Mapping[str, str]) -> Project:
    """The project with the service as the container is to be. Raises FileError for short forms that are none."""
    service = project.services[options.service]
    mounts, volumes = _mounts(project, service, options)
    deploy = service.deploy and replace(service.deploy, restart_policy=None)
    cap_add = [name for name in service.cap_add if name not in options.cap_drop]
    cap_drop = [name for name in service.cap_drop if name not in options.cap_add]
    command = options.command or (() if options.entrypoint is not None else service.command)
    parts = (project.name, service.name, "run", container_id[:12])
    service = replace(
        service,
        container_name=options.name or project.separator.join(parts),
        command=command,
        entrypoint=service.entrypoint if options.entrypoint is None else options.entrypoint,
        environment={**service.environment, **_environment(options, variables)},
        labels={**service.labels, **options.labels},
        user=options.user or service.user,
        working_dir=options.folder or service.working_dir,
        cap_add=tuple(dict.fromkeys((*cap_add, *options.cap_add))),
        cap_drop=tuple(dict.fromkeys((*cap_drop, *options.cap_drop))),
        mounts=mounts,
        ports=service.ports if options.service_ports else _ports(options),
        tty=options.terminal,
        stdin_open=options.interactive,
        restart=None,
        deploy=deploy,
    )
    return replace(
        project,
        services={**project.services, service.name: service},
        volumes={**project.volumes, **volumes},
    )


def _environment(options: RunOptions, variables: Mapping[str, str]) -> dict[str, str]:
    from pycompose.compose.file import dotenv
    from pycompose.errors import SystemRefused

    pairs = (text.partition("=") for text in options.environment)
    values = {name: value if equals else variables.get(name) for name, equals, value in pairs}
    environment = {name: value for name, value in values.items() if value is not None}
    for path in options.env_files:
        try:
            with open(path, encoding="utf-8") as file:
                content = file.read()
        except OSError as error:
            raise SystemRefused(error) from error
        except ValueError as error:
            raise PycomposeError(f"{path} is no text: {error}", hint="an env file has lines of NAME=value") from error
        environment = {**dotenv.parse(content, path, environment.get, lambda name, at: None, {}), **environment}
    return environment


def _ports(options: RunOptions) -> tuple[Port, ...]:
    from pycompose.compose.file.networking import GOOD_PORT, parse_port

    ports: list[Port] = []
    for text in options.publish:
        try:
            ports += parse_port(text)
        except ValueError as error:
            raise PycomposeError(f'port "{text}" cannot be published: {error}', hint=GOOD_PORT) from error
    return tuple(dict.fromkeys(ports))


def _mounts(project: Project, service: Service, options: RunOptions) -> tuple[tuple[Mount, ...], Mapping[str, Volume]]:
    """The service's and those that were asked for, which are before it; volumes that the file does not have."""
    if not options.volumes:
        return service.mounts, {}
    from pycompose.compose.file.mounting import short_mounts
    from pycompose.compose.model.project import Volume, VolumeMount

    further = short_mounts(options.volumes, f'service "{service.name}"', os.getcwd())
    by_target = {mount.target: mount for mount in (*service.mounts, *further)}
    names = [mount.source for mount in further if isinstance(mount, VolumeMount) and mount.source]
    # One that no file describes is nobody's: it has no key, and `down` leaves it.
    unknown = {name: Volume("", name) for name in names if name not in project.volumes}
    return tuple(by_target.values()), unknown
