"""Watch: changes of sources carried into containers, by the rules of `develop.watch`.

A batch of changed paths is carried out whole before the next is looked at: images are built and their services made
anew, files copied into every replica, containers restarted, hooks run. Rules: what fails is told, and the watch goes
on; nothing is printed; it ends by an interrupt, or once the project has no containers any more. `changes` may be called
by a thread, `act` by the main one alone, which a signal interrupts in order.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Literal

from pycompose.compose.control import session
from pycompose.compose.model.project import Project
from pycompose.compose.state import observe
from pycompose.errors import PycomposeError, SystemRefused
from pycompose.frozen import dataclass
from pycompose.runtime.copies.container_sync import SyncedPath
from pycompose.runtime.images.dockerfile import ignore
from pycompose.runtime.images.dockerfile.errors import BuildError
from pycompose.runtime.places import ProjectPlaces

from . import container_copy, image_operations, images, operations, phases, watch_rules
from .operations import PreparedUp
from .phases import WatchEvent
from .watch_rules import IgnoreFile
from .watched_files import Changes, WatchedFiles

if TYPE_CHECKING:
    from pycompose.compose.model.develop import WatchCommand
    from pycompose.compose.model.observed import Observed, ObservedContainer
    from pycompose.compose.plan.steps import Plan

    from .phases import Tell

LARGE = 1000  # paths in a batch from which on it is remarked


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """`prune`: images that a rebuild has left without a name are removed."""

    prune: bool = True
    seen_by: Literal["watch", "up"] = "watch"


class NothingWatched(PycomposeError):
    """No service of those selected has something to watch."""

    def __init__(self, seen_by: Literal["watch", "up"]) -> None:
        advice = (
            "consider setting a 'develop' section" if seen_by == "watch" else "see `develop` in docs/compose-file.md"
        )
        super().__init__(f"none of the selected services is configured for watch, {advice}")


class Watcher:
    """A watch of the services of a project that were selected, to be used as a context.

    Raises PycomposeError where rules cannot be kept, before anything is done.
    """

    def __init__(self, prepared: PreparedUp, tell: Tell, options: WatchOptions) -> None:
        self._prepared, self._tell, self._options = prepared, tell, options
        self._project: Project = prepared.project
        self._places: ProjectPlaces = prepared.located.places
        services = [name for name in self._project.services if name in prepared.selected]
        self.rules, self._warnings = watch_rules.rules_of(
            self._project, services, _ignore_files(self._project, services)
        )
        if not self.rules:
            for text in self._warnings:
                tell(phases.OperationWarning(text))
            raise NothingWatched(options.seen_by)
        self._held = ExitStack()
        self._files: WatchedFiles | None = None

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def begin(self) -> None:
        """Watch from now on, and copy what is to be there at first. Raises PycomposeError."""
        for text in self._warnings:
            self._tell(phases.OperationWarning(text))
        for rule in self.rules:
            if not os.path.exists(rule.path):
                self._tell(phases.OperationWarning(f"path {rule.path!r} of service {rule.service!r} is not there yet"))

        def passes_over(folder: str) -> bool:
            return all(rule.passes_over(folder) for rule in self.rules)

        warn = self._warned
        roots = dict.fromkeys(rule.path for rule in self.rules)
        files = WatchedFiles(roots, passes_over, (self._places.containers,), warn)
        self._files = self._held.enter_context(files)
        if any(rule.initial for rule in self.rules):
            first = watch_rules.first_sync(self.rules, files.everything())
            for service, paths in first.sync.items():
                self._attempt(lambda service=service, paths=paths: self._sync(service, paths))  # type: ignore[misc]
        self._tell(WatchEvent("enabled"))

    def _warned(self, text: str) -> None:
        self._tell(phases.OperationWarning(text))

    def changes(self, stop: Event) -> Changes:
        """The next batch of changed paths; empty once `stop` is set. Blocks."""
        assert self._files is not None
        return self._files.changes(stop)

    def run(self) -> None:
        """Carry out batch after batch, until the project ends. An interrupt goes through."""
        stop = Event()
        while (batch := self.changes(stop)) and not self.is_over(batch):
            self.act(batch)

    def is_over(self, batch: Changes) -> bool:
        """Whether the project's containers are all gone; looked into where one of them came or went."""
        place = f"{self._places.containers}/"
        if not any(path.startswith(place) or path == self._places.containers for path in batch.paths):
            return False
        if observe.containers(self._places):
            return False
        if not os.path.exists(self._places.run):
            return True
        with session.locked(self._places):  # whoever makes them anew just now has it
            return not observe.containers(self._places)

    def act(self, batch: Changes) -> None:
        """Carry out what a batch leads to; what fails is told."""
        actions = watch_rules.actions(self.rules, batch.paths, batch.replaced)
        if not actions:
            return
        if len(batch.paths) > LARGE:
            self._tell(WatchEvent("large", count=len(batch.paths)))
        if actions.rebuild:
            self._attempt(lambda: self._rebuild(actions.rebuild))
        for service, paths in actions.sync.items():
            self._tell(WatchEvent("syncing", (service,), len(paths)))
            self._attempt(lambda service=service, paths=paths: self._sync(service, paths))  # type: ignore[misc]
        if actions.restart:
            self._attempt(lambda: self._restart(actions.restart))
        for service, hook in actions.hooks:
            self._attempt(lambda service=service, hook=hook: self._run(service, hook))  # type: ignore[misc]

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except PycomposeError as error:
            self._tell(WatchEvent("failed", text=str(error)))
        except OSError as error:
            self._tell(WatchEvent("failed", text=str(SystemRefused(error))))

    def _rebuild(self, services: tuple[str, ...]) -> None:
        from pycompose.compose.builds.service_builds import Overrides

        choices, project, replaced = self._prepared.choices, self._project, frozenset[str]()
        self._tell(WatchEvent("rebuilding", services))
        with suppress(images.ImagesMissing):
            replaced = frozenset(images.ready(project, services, no_deps=True).values())
        try:
            image_operations.build_services(choices, project, services, Overrides({}), self._tell)
        except PycomposeError as error:
            self._tell(WatchEvent("build failed", services, text=str(error)))
            return
        self._tell(WatchEvent("built", services))
        options = replace(
            self._prepared.options,
            services=services,
            no_deps=True,
            force_recreate=True,
            no_recreate=False,
            no_start=False,
            wait=False,
            wait_timeout=None,
            remove_orphans=False,
            ignore_orphans=True,
            renew_anonymous_volumes=False,
            remake_volumes=frozenset(),
            images=images.ready(project, services, no_deps=True),
            mounted_images=images.mounted(project, services, no_deps=True),
        )
        replace(self._prepared, options=options).apply(self._tell, attached=())
        if self._options.prune:
            _prune(replaced)

    def _sync(self, service: str, paths: tuple[SyncedPath, ...]) -> None:
        """Into every replica; one that cannot be written to does not keep the others back."""
        containers = self._containers(service)
        if not containers:
            raise PycomposeError(f'no container found for service "{service}"')
        faults = []
        for container in containers:
            try:
                container_copy.sync(self._places, container, paths, self._warned)
            except PycomposeError as error:
                faults.append(str(error))
        if faults:
            raise PycomposeError("\n".join(faults))

    def _restart(self, services: tuple[str, ...]) -> None:
        from pycompose.compose.plan import commands

        def decide(observed: Observed) -> Plan:
            return commands.restart(self._project, observed, services, self._prepared.options.timeout, no_deps=False)

        operations.apply(self._prepared.choices, self._prepared.located, decide, "restart", self._tell)
        self._tell(WatchEvent("restarted", services))

    def _run(self, service: str, hook: WatchCommand) -> None:
        """A hook, in every replica that runs; what it prints is the caller's to see."""
        from .execution import ExecOptions, execute

        options = ExecOptions(hook.environment, hook.user or "", hook.working_dir or "", hook.privileged)
        for container in self._containers(service):
            if container.status != "running":
                continue
            with open(os.devnull, "rb") as nothing:
                code = execute(self._places, container.id, hook.command or (), options, (nothing.fileno(), 1, 2))
            if code:
                raise PycomposeError(f"hook of {container.name} exited with status {code}")

    def _containers(self, service: str) -> list[ObservedContainer]:
        everyone = observe.containers(self._places)
        return [one for one in everyone if one.service == service and not one.oneoff]


def _ignore_files(project: Project, services: Iterable[str]) -> dict[str, IgnoreFile]:
    """Service -> the .dockerignore of its build. Raises PycomposeError for one that cannot be read.

    A lone `*` is for contexts that only have a Dockerfile: nothing is kept back for it, as docker compose does it.
    """
    files: dict[str, IgnoreFile] = {}
    for name in services:
        build = project.services[name].build
        if build is None or not os.path.isdir(build.context):
            continue
        folder = os.path.realpath(build.context)
        named = [f"{build.dockerfile}.dockerignore"] if build.dockerfile else ["Dockerfile.dockerignore"]
        for candidate in (*named, ".dockerignore"):
            path = os.path.join(folder, candidate)
            if not os.path.isfile(path):
                continue
            try:
                with open(path, encoding="utf-8", errors="surrogateescape") as file:
                    rules = ignore.read(file.read(), path)
            except OSError as error:
                raise SystemRefused(error) from error
            except BuildError as error:
                raise PycomposeError(str(error)) from error
            if rules.takes_back or not rules.leaves_out("any"):
                files[name] = IgnoreFile(folder, rules)
            break
    return files


def _prune(replaced: frozenset[str]) -> None:
    """Remove those of the images that have no name any more and are used by nobody."""
    from pycompose.runtime.images import gc

    from .image_store import ask_store, translated_errors

    with translated_errors():
        gc.prune(ask_store(), among=replaced)


@contextmanager
def only_watch(places: ProjectPlaces) -> Iterator[None]:
    """Hold that nobody else watches the project by `watch`. Raises PycomposeError where somebody does."""
    with ExitStack() as held:
        try:
            folder = os.open(places.state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield  # there is nothing yet to be watched
            return
        held.callback(os.close, folder)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = f'cannot take exclusive lock for project "{places.project}"'
            holder = _holder(folder)
            raise PycomposeError(f"{text}: process with PID {holder} is still running") from None
        yield


def _holder(folder: int) -> str:
    """The process that has a lock (man 5 proc_locks), or "?"."""
    inode = str(os.fstat(folder).st_ino)
    with open("/proc/locks", encoding="ascii") as file:
        for line in file:
            fields = line.split()
            if len(fields) > 5 and fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == inode:
                return fields[4]
    return "?"
