"""The rest of a `Project`: its file's meaning and graph, its images, copies, events, measurements."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pycompose import interruption
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

from .scope import Names, Progress, ProjectScope, heard, names
from .waiting import stop_event

if TYPE_CHECKING:
    from pycompose.compose.app.moments import Moment
    from pycompose.compose.app.service_graph import GraphForm
    from pycompose.compose.model.project import Project as Description
    from pycompose.compose.state.event_record import ContainerEvent


@dataclass(frozen=True, slots=True)
class ContainerStats:
    """What a container uses. None: this machine does not count it."""

    container: str  # name
    service: str
    cpu_percent: float | None  # of one processor
    memory: int | None  # bytes
    memory_limit: int  # bytes; without one of its own, the machine's memory
    pids: int | None
    received: int | None  # bytes
    sent: int | None
    read_bytes: int | None  # of disks
    written_bytes: int | None


@dataclass(frozen=True, slots=True)
class ServiceImage:
    """An image that containers of a service are made from; `size` is in bytes, 0 where it is not here any more."""

    service: str
    name: str
    digest: str
    size: int
    created: str


class ProjectFiles:
    """The third of a `Project` that is about more than its containers' lives."""

    _scope: ProjectScope
    description: Description

    def config(self) -> dict[str, Any]:
        """What the compose file means, in canonical form: data as of `pycompose config --format json`."""
        from pycompose.compose.app import locate
        from pycompose.compose.file import show

        return show.used(locate.load(self._scope.choices).tree)

    def config_yaml(self) -> str:
        """As `pycompose config` prints it."""
        from pycompose.compose.file import show

        return show.to_yaml(self.config())

    def graph(self, services: Names = (), *, form: GraphForm = "unicode", width: int = 120) -> str:
        """Which service waits for which, and how each is: a drawing, mermaid, dot or JSON."""
        from pycompose.compose.app import locate, service_graph

        chosen = names(services)
        return service_graph.drawn(locate.load(self._scope.choices, chosen).project, chosen, form, width)

    def cp(
        self,
        source: str | os.PathLike[str],
        target: str | os.PathLike[str],
        *,
        index: int = 0,
        archive: bool = False,
        follow_link: bool = False,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Copy between this machine and containers of a service: one of the two is "SERVICE:PATH".

        Into every replica, or that of the number `index`; out of the first one. `warn` is told of what is passed over.
        """
        from pycompose.compose.app import container_copy
        from pycompose.compose.app.container_copy import ServicePath
        from pycompose.runtime.copies.container_files import CopyManner

        whence, whither = ServicePath.parse(os.fspath(source)), ServicePath.parse(os.fspath(target))
        if bool(whence.service) == bool(whither.service):
            raise PycomposeError("one of source and target is SERVICE:PATH", hint='cp("web:/etc/nginx", "./nginx")')
        inward = bool(whither.service)
        places, manner = self._scope.places, CopyManner(archive, follow_link, None, warn)
        chosen = container_copy.choose(places, whither.service or whence.service, inward=inward, index=index)
        for container in chosen:
            if inward:
                container_copy.copy_in(places, container, whence.path, whither.path, manner)
            else:
                container_copy.copy_out(places, container, whence.path, whither.path, manner)

    def build(
        self,
        services: Names = (),
        *,
        args: Mapping[str, str | None] | None = None,
        no_cache: bool = False,
        pull: bool = False,
        push: bool = False,
        memory: int | None = None,
        check: bool = False,
        progress: Progress | None = None,
    ) -> dict[str, str]:
        """Build the images of services that have a `build`; service -> digest. With `check` only Dockerfiles are read.

        `memory`: bytes that each RUN step may have. Raises NoSuchService, PycomposeError.
        """
        from pycompose.compose.app import image_operations, locate
        from pycompose.compose.builds.service_builds import Overrides
        from pycompose.compose.state import lookup

        chosen = names(services)
        project = locate.load(self._scope.choices, chosen).project
        lookup.check(chosen, project.services)
        overrides = Overrides(args or {}, no_cache, pull, None, memory)
        images = image_operations.build_services(
            self._scope.choices, project, chosen or tuple(project.services), overrides, heard(progress), check=check
        )
        if push and images:
            tags = [project.services[name].image or project.own_image(name) for name in images]
            image_operations.push_images(dict.fromkeys(tags, ""), heard(progress))
        return {name: image.digest for name, image in images.items()}

    def pull(
        self,
        services: Names = (),
        *,
        policy: Literal["always", "missing"] | None = None,
        include_deps: bool = False,
        ignore_buildable: bool = False,
        ignore_failures: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """Fetch the images of services from their registries. Raises FetchFailed."""
        from pycompose.compose.app import image_operations, locate

        options = image_operations.PullOptions(include_deps, policy, ignore_buildable, ignore_failures)
        chosen = names(services)
        project = locate.target(self._scope.choices, chosen).described
        image_operations.pull(self._scope.choices, project, chosen, options, heard(progress))

    def push(
        self,
        services: Names = (),
        *,
        include_deps: bool = False,
        ignore_failures: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """Push the images of services that are built. Raises PycomposeError."""
        from pycompose.compose.app import image_operations, locate

        options = image_operations.PushOptions(include_deps, ignore_failures)
        chosen = names(services)
        project = locate.target(self._scope.choices, chosen).described
        image_operations.push(self._scope.choices, project, chosen, options, heard(progress))

    def images(self, services: Names = ()) -> list[ServiceImage]:
        """The images that the project's containers are made from, one for each service and digest."""
        from pycompose.compose.app.image_store import ask_store, translated_errors

        with translated_errors():
            known = {image.digest: image for image in ask_store().ls()}
        listed: dict[tuple[str, str], ServiceImage] = {}
        for one in self._scope.containers(names(services)):
            image = known.get(one.image_digest)
            size, created = (image.size, image.created) if image is not None else (0, "")
            listed[one.service, one.image_digest] = ServiceImage(
                one.service, one.image, one.image_digest, size, created
            )
        return list(listed.values())

    def events(
        self, services: Names = (), *, since: Moment | None = None, until: Moment | None = None
    ) -> Iterator[ContainerEvent]:
        """What happens to containers, as it happens, until `until`; with `since` also what is on record since then.

        Raises NoSuchService, ValueError for a time that is none.
        """
        from pycompose.compose.app import event_stream, moments

        chosen = names(services)
        self._scope.check(chosen, self.description)
        now = time.time()
        first, end = (None if m is None else moments.nanoseconds(moments.parse(m, now)) for m in (since, until))

        def stream() -> Iterator[ContainerEvent]:
            with stop_event() as stop:
                yield from event_stream.events(self._scope.places, chosen, first, end, stop)
            interruption.check()

        return stream()

    def stats(self, services: Names = (), *, interval: float = 1.0) -> list[ContainerStats]:
        """What the containers that run use: one look, of two measurements `interval` seconds apart."""
        from pycompose.compose.app import measurements

        chosen = names(services)
        self._scope.check(chosen, self.description)
        before = measurements.measure_all(self._scope.places, self._scope.containers(chosen))
        pause = threading.Event()
        with interruption.waking(pause.set):
            pause.wait(interval)
        interruption.check()
        containers = self._scope.containers(chosen)
        after = measurements.measure_all(self._scope.places, containers)
        return [
            ContainerStats(
                one.name,
                one.service,
                measured.cpu_percent(before.get(one.id)),
                measured.stats.memory,
                measured.memory_limit,
                measured.stats.pids,
                measured.received,
                measured.sent,
                measured.stats.read_bytes,
                measured.stats.write_bytes,
            )
            for one in containers
            if (measured := after.get(one.id)) is not None
        ]
