"""`pull` and `push`, and what the commands that make containers do before: fetch the images that are due or missing.

Rules: what is fetched is `images`' to decide, and the bytes are `runtime`'s. Here it is shown, and errors are told.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click
from pycompose.compose.app import locate as projects
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.root import Choices, command
from pycompose.compose.state import lookup
from pycompose.errors import PycomposeError

if TYPE_CHECKING:
    from pycompose.compose.app.images import Failure, Fetch
    from pycompose.compose.model.project import Project
    from pycompose.runtime.images.registry.progress import Transfer

SERVICES = click.argument("services", nargs=-1)
QUIET = click.option("-q", "--quiet", is_flag=True, help="Show nothing while it goes on.")


class Progress:
    """Transfers being watched: `with Progress("pull", images) as progress:`, and `progress.take` for each event.

    Events come from the thread that transfers; another one redraws the picture.
    """

    def __init__(self, verb: str, images: list[str], *, quiet: bool = False) -> None:
        from pycompose.compose.cli.output import live as progress
        from pycompose.compose.cli.output import plan_progress
        from pycompose.compose.cli.output.transfer_progress import Transfers

        self.board = Transfers(verb, images, time.monotonic())
        self._out, self._frame = progress.stream(), plan_progress.FRAME
        self._quiet = quiet or terminal.progress == "quiet"
        self._live = progress.live() and not self._quiet
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._screen = plan_progress.Screen(
            self._out, lambda: progress.size(self._out), colour=terminal.coloured(self._out)
        )

    def __enter__(self) -> Self:
        if self._live:
            self._screen.draw(self.board, time.monotonic())
            self._thread = threading.Thread(target=self._move, daemon=True)
            self._thread.start()
        return self

    def _move(self) -> None:
        while not self._over.wait(self._frame):
            with self._lock:
                if not self._over.is_set():
                    self._screen.draw(self.board, time.monotonic())

    def take(self, event: Transfer) -> None:
        with self._lock:
            changed = self.board.take(event, time.monotonic())
            if self._live or self._quiet:
                return
            if terminal.progress == "json":
                if changed or self._due():
                    print(self.board.as_json(event), file=self._out, flush=True)
            elif changed and (line := self.board.plain(event)):
                print(line, file=self._out, flush=True)

    _told = 0.0

    def _due(self) -> bool:
        """Numbers alone are told ten times a second at most."""
        if time.monotonic() - self._told < self._frame:
            return False
        self._told = time.monotonic()
        return True

    def skip(self, image: str, why: str) -> None:
        with self._lock:
            self.board.skip(image, why, time.monotonic())
            if not self._live and not self._quiet and terminal.progress != "json":
                print(f" Image {image}  Skipped  {why}", file=self._out, flush=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self.board.finish(time.monotonic())
            self._screen.draw(self.board, time.monotonic(), last=True)


def make_ready(
    choices: Choices,
    project: Project,
    services: tuple[str, ...],
    *,
    no_deps: bool = False,
    policy: str | None = None,
    quiet: bool = False,
    build: bool | None = None,
    quiet_build: bool = False,
) -> dict[str, str]:
    """Service -> digest of its image: what is due is fetched or built, and what is missing then is an error.

    `build`: all that can be built (True), nothing (False), or what is missing and what the file wants built each time.
    Nothing is fetched or built in a dry run, whose plan lacks the digests of what would be.
    """
    from pycompose.compose.app import images

    buildable = [n for n in images.needed(project, services, no_deps) if project.services[n].build is not None]
    buildable = [] if build is False else buildable
    asked = [n for n in buildable if build or project.services[n].pull_policy == "build"]
    due = images.to_fetch(project, services, no_deps=no_deps, policy=policy, to_build=asked)
    if choices.dry_run:
        for one in due:
            terminal.note(f"would pull image {one.image}")
        missing = [n for n in buildable if n not in asked and not images.here(project.services[n])]
        for name in (*asked, *missing):
            terminal.note(f"would build image {project.services[name].image}")
        apart = [one.image for one in due] + [str(project.services[name].image) for name in (*asked, *missing)]
        return images.ready(project, services, no_deps=no_deps, passed_over=apart)
    failures = fetched(due, quiet=quiet)
    if fatal := [failure for failure in failures if not failure.fetch.optional]:
        raise failed(fatal)
    for failure in failures:
        told = "it can be built" if build is False else "it is built instead"
        (terminal.warn if build is False else terminal.note)(f"{images.explained(failure)}; {told}")
    asked += [n for n in buildable if n not in asked and not images.here(project.services[n])]
    if asked:
        from pycompose.compose.builds.service_builds import Overrides

        from .build import build_services

        build_services(project, asked, Overrides({}), quiet=quiet_build, choices=choices)
    return images.ready(project, services, no_deps=no_deps)


def fetched(due: list[Fetch], *, quiet: bool = False, skipped: dict[str, str] | None = None) -> list[Failure]:
    """Fetch, and show it; what failed."""
    from pycompose.compose.app import images

    if not due and not skipped:
        return []
    with Progress("pull", [*(skipped or {}), *(one.image for one in due)], quiet=quiet) as progress:
        for image, why in (skipped or {}).items():
            progress.skip(image, why)
        try:
            return images.fetch(due, progress.take)
        except OSError as error:
            hint = "run it as root, or set PYCOMPOSE_STATE" if isinstance(error, PermissionError) else ""
            raise PycomposeError(f"{error.filename}: {error.strerror}", hint=hint) from error


def failed(failures: list[Failure]) -> PycomposeError:
    from pycompose.compose.app import images

    hints = list(dict.fromkeys(failure.hint for failure in failures if failure.hint))
    return PycomposeError("\n".join(images.explained(failure) for failure in failures), hint="\n".join(hints[:3]))


def _chosen(project: Project, services: tuple[str, ...], with_needed: bool) -> tuple[str, ...]:
    from pycompose.compose.app import images

    for name in services:
        if name not in project.services:
            raise lookup.no_such_service(name, project.services)
    if with_needed:
        return tuple(images.needed(project, services, False))
    return services or tuple(project.services)


@command("pull")
@click.option("--ignore-buildable", is_flag=True, help="Leave out what can be built.")
@click.option("--ignore-pull-failures", is_flag=True, help="Fetch what can be fetched, and succeed.")
@click.option("--include-deps", is_flag=True, help="Fetch for what the services depend on, too.")
@click.option("--policy", type=click.Choice(["missing", "always"]), help="Instead of what the file says.")
@click.option("--no-parallel", is_flag=True, hidden=True)
@click.option("--parallel", is_flag=True, hidden=True)
@QUIET
@SERVICES
@click.pass_obj
def pull(
    choices: Choices,
    ignore_buildable: bool,
    ignore_pull_failures: bool,
    include_deps: bool,
    policy: str | None,
    no_parallel: bool,
    parallel: bool,
    quiet: bool,
    services: tuple[str, ...],
) -> None:
    """Fetch the images of services from their registries."""
    from pycompose.compose.app import images

    _, known = projects.target(choices, services)
    project = projects.needed(known)
    names = _chosen(project, services, include_deps)
    due, skipped = images.to_pull(project, names, policy)
    if ignore_buildable:
        skipped |= {one.image: "Can be built" for one in due if one.optional}
        due = [one for one in due if not one.optional]
    if choices.dry_run:
        for one in due:
            terminal.note(f"would pull image {one.image}")
        return
    failures = fetched(due, quiet=quiet, skipped=skipped)
    if buildable := [failure for failure in failures if failure.fetch.optional]:
        names = tuple(name for failure in buildable for name in failure.fetch.services)
        terminal.warn(f"some images must be built: pycompose build {' '.join(names)}")
    if fatal := [failure for failure in failures if not failure.fetch.optional]:
        if not ignore_pull_failures:
            raise failed(fatal)
        for failure in fatal:
            terminal.warn(images.explained(failure))


@command("push")
@click.option("--ignore-push-failures", is_flag=True, help="Push what can be pushed, and succeed.")
@click.option("--include-deps", is_flag=True, help="Push for what the services depend on, too.")
@QUIET
@SERVICES
@click.pass_obj
def push(
    choices: Choices, ignore_push_failures: bool, include_deps: bool, quiet: bool, services: tuple[str, ...]
) -> None:
    """Push the images of services that are built to their registries."""
    _, known = projects.target(choices, services)
    project = projects.needed(known)
    wanted: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for name in _chosen(project, services, include_deps):
        service = project.services[name]
        if service.image in (None, "host"):
            continue
        if service.build is None:
            skipped[str(service.image)] = "Not built here"
        else:
            wanted[str(service.image)] = name
    if choices.dry_run:
        for image in wanted:
            terminal.note(f"would push image {image}")
        return
    pushed(wanted, skipped=skipped, quiet=quiet, lenient=ignore_push_failures)


def pushed(
    wanted: dict[str, str], *, skipped: dict[str, str] | None = None, quiet: bool = False, lenient: bool = False
) -> None:
    """Push images (image -> service, or nothing), and show it. Raises PycomposeError unless `lenient`."""
    from pycompose.compose.app import images

    if not wanted and not skipped:
        return
    with Progress("push", [*(skipped or {}), *wanted], quiet=quiet) as progress:
        for image, why in (skipped or {}).items():
            progress.skip(image, why)
        failures = images.push(wanted, progress.take)
    lines = []
    for failure in failures:
        who = f'service "{wanted[failure.fetch.image]}": ' if wanted[failure.fetch.image] else ""
        lines.append(f'{who}image "{failure.fetch.image}" cannot be pushed: {failure.message}')
    if lines and not lenient:
        raise PycomposeError("\n".join(lines), hint="\n".join(dict.fromkeys(f.hint for f in failures if f.hint)))
    for line in lines:
        terminal.warn(line)
