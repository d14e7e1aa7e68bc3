"""Snapshot of what exists on a machine for one project, frozen and taken once, from which everything is decided.

Plain data: no I/O and no decisions. `Host.observe` makes it; `reconcile` and the displays read it.
Labels are docker compose's (`com.docker.compose.*`), so a project can be understood without its file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from pycompose.frozen import dataclass

from .fields import no_text
from .lifetime import Healthcheck, RestartPolicy

NO_RESTART = RestartPolicy()

ContainerStatus = Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]
HealthStatus = Literal["none", "starting", "healthy", "unhealthy"]


class Label:
    """docker compose's label names."""

    PROJECT = "com.docker.compose.project"
    SERVICE = "com.docker.compose.service"
    NUMBER = "com.docker.compose.container-number"
    ONEOFF = "com.docker.compose.oneoff"
    CONFIG_HASH = "com.docker.compose.config-hash"
    IMAGE = "com.docker.compose.image"
    DEPENDS_ON = "com.docker.compose.depends_on"  # "svc:condition:restart,…"
    WORKING_DIR = "com.docker.compose.project.working_dir"
    CONFIG_FILES = "com.docker.compose.project.config_files"
    ENVIRONMENT_FILE = "com.docker.compose.project.environment_file"
    VERSION = "com.docker.compose.version"
    REPLACE = "com.docker.compose.replace"
    SLUG = "com.docker.compose.slug"
    NETWORK = "com.docker.compose.network"
    VOLUME = "com.docker.compose.volume"
    HOOK = "com.docker.compose.hook"  # "pre_start": of the container of one
    HOOK_INDEX = "com.docker.compose.hook-index"
    ANONYMOUS = "com.docker.volume.anonymous"


@dataclass(frozen=True, slots=True)
class OneOff:
    """What `run` says of a container of a service that is none of its replicas."""

    id: str  # of the container, 64 hex digits: whoever runs it knows it before it is there
    auto_remove: bool = False  # at its end, with its anonymous volumes
    use_aliases: bool = False  # it has its service's names on its networks


def short_name(container: str, project: str) -> str:
    """A container's name without the project's before it."""
    return re.sub(f"^{re.escape(project)}[-_]", "", container)  # "_": with --compatibility


@dataclass(frozen=True, slots=True)
class HealthProbe:
    """One run of a health check, as in docker's `State.Health.Log`; times in unix seconds."""

    started: float
    ended: float
    exit_code: int  # -1: it did not end in time
    output: str  # its first 4096 bytes


@dataclass(frozen=True, slots=True)
class Supervision:
    """What the supervisor knows of a container beyond the runtime; persisted, so that the next one goes on from it."""

    stop_requested: bool = False  # somebody stopped or killed it: its restart policy rests
    health: HealthStatus = "none"
    failing_streak: int = 0
    restarts: int = 0  # by policy, since it was last started by a person
    restarting: bool = False  # waiting for its back-off to pass
    attempts: int = 0  # of `restarts`, those that count against `max_attempts`
    returning_at: float = 0.0  # when a command that starts it, or what replaces it, said so; unix seconds
    probes: tuple[HealthProbe, ...] = ()  # the last ones; on record as of the last that failed or changed the health


@dataclass(frozen=True, slots=True)
class PublishedPort:
    host_ip: str
    published: int
    target: int
    protocol: str


@dataclass(frozen=True, slots=True)
class ObservedContainer:
    id: str  # 64 hex digits
    name: str
    service: str
    number: int
    status: ContainerStatus
    oneoff: bool = False  # it is no replica: of `run`, or of a hook
    auto_remove: bool = False  # a one-off container that goes by itself when it has ended
    hook: str = ""  # "pre_start": it is the container of one
    unlogged: bool = False  # nothing that it writes is kept: the logging driver "none"
    image: str = ""  # as the file wrote it
    image_digest: str = ""  # what it was made from
    command: tuple[str, ...] = ()
    config_hash: str = ""
    hash_parts: Mapping[str, str] = field(default_factory=no_text)
    generation: str = ""  # of the project it was made from
    created: float = 0.0  # unix seconds
    started: float | None = None
    finished: float | None = None
    pid: int | None = None
    exit_code: int | None = None  # None while running, and where nobody can tell any more
    oom_killed: bool = False
    supervision: Supervision = Supervision()
    restart: RestartPolicy = NO_RESTART
    healthcheck: Healthcheck | None = None  # its service's, with the image's merged in
    networks: tuple[str, ...] = ()  # real names
    addresses: Mapping[str, str] = field(default_factory=no_text)  # network -> address, while running
    volumes: Mapping[str, str] = field(default_factory=no_text)  # target -> volume name, anonymous ones too
    anonymous_volumes: tuple[str, ...] = ()
    mounted_images: Mapping[str, str] = field(default_factory=no_text)  # target -> digest
    ports: tuple[PublishedPort, ...] = ()
    exposed: tuple[str, ...] = ()  # "80/tcp", "81-82/udp": while running; some may be published
    depends_on: tuple[tuple[str, str, bool], ...] = ()  # (service, condition, restart), from the label
    shared: Mapping[str, str] = field(default_factory=no_text)  # namespace -> id of its container (or PROJECT/ID)
    volume_donors: tuple[str, ...] = ()  # ids of the containers whose volumes it has by volumes_from
    stop_grace_period: float | None = None  # seconds
    stop_signal: str | None = None
    labels: Mapping[str, str] = field(default_factory=no_text)

    @property
    def runs(self) -> bool:
        return self.status in ("running", "paused")

    @property
    def returning(self) -> bool:
        """Whether a command under way starts it, or what replaces it.

        A short run's end is on record before the supervisor's word that this is the run that the command began.
        """
        return self.supervision.returning_at > (self.started or 0.0)

    @property
    def unpublished(self) -> list[PublishedPort]:
        """The exposed ports that are not published, each as a port on no address (as docker lists them)."""
        taken = {(port.target, port.protocol) for port in self.ports}
        exposed = set()
        for text in self.exposed:
            numbers, _, protocol = text.partition("/")
            first, _, last = numbers.partition("-")
            exposed |= {(number, protocol) for number in range(int(first), int(last or first) + 1)}
        return [PublishedPort("", 0, number, protocol) for number, protocol in sorted(exposed - taken)]

    @property
    def health(self) -> str:
        """Empty where nothing is checked, and where nothing runs."""
        return self.supervision.health if self.runs and self.supervision.health != "none" else ""

    def short_name(self, project: str) -> str:
        """As docker compose prefixes log lines: without the project."""
        return short_name(self.name, project)


@dataclass(frozen=True, slots=True)
class ObservedNetwork:
    name: str
    key: str
    config_hash: str = ""
    subnets: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=no_text)
    in_use: tuple[str, ...] = ()  # names of attached containers of other projects


@dataclass(frozen=True, slots=True)
class ObservedVolume:
    name: str
    key: str
    config_hash: str = ""
    labels: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class Observed:
    project: str
    containers: tuple[ObservedContainer, ...] = ()
    networks: tuple[ObservedNetwork, ...] = ()  # of this machine; those of others have no key
    volumes: tuple[ObservedVolume, ...] = ()  # likewise
    lost: frozenset[str] = frozenset()  # PROJECT/ID of containers whose namespaces ours had, and that are gone

    def of_service(self, service: str) -> tuple[ObservedContainer, ...]:
        """Replicas of `service` by number, one-off and hooks' containers left out."""
        replicas = (c for c in self.containers if c.service == service and not c.oneoff)
        return tuple(sorted(replicas, key=lambda c: c.number))
