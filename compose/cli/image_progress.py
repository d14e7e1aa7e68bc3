"""Images fetched, pushed and built with their progress shown, for every command that needs them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.output import terminal
from pycompose.errors import PycomposeError

if TYPE_CHECKING:
    from pycompose.compose.app.images import Failure, Fetch
    from pycompose.compose.builds.service_builds import Overrides, Target
    from pycompose.compose.model.project import Project
    from pycompose.runtime.images.registry.progress import Transfer
    from pycompose.runtime.images.store import Image


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


def build_services(
    project: Project,
    names: Iterable[str],
    overrides: Overrides,
    *,
    quiet: bool = False,
    check: bool = False,
    choices: Choices | None = None,
) -> dict[str, Image]:
    """Build the images of those of the services that have a `build`, and show it; service -> image."""
    from pycompose.compose.builds import service_builds

    wanted = service_builds.targets(project, names)
    if not wanted:
        return {}
    if choices is not None and choices.dry_run:
        for target in wanted:
            click.echo(f"build {target.tags[0]} from {target.options.context}")
        return {}
    return build_targets(wanted, overrides, quiet=quiet, check=check, parallel=(choices and choices.parallel) or 0)


def build_targets(
    wanted: list[Target], overrides: Overrides, *, quiet: bool, check: bool = False, parallel: int = 0
) -> dict[str, Image]:
    from pycompose.compose.builds import service_builds
    from pycompose.compose.cli.output.build_progress import BuildProgress

    with BuildProgress(several=len(wanted) > 1, quiet=quiet) as progress:
        made = service_builds.build(wanted, overrides, progress.take, parallel=parallel, check=check)
    if check and not quiet:
        terminal.note("no problem found")
    for target in wanted if not quiet and not check else ():
        terminal.note(f" {target.tags[0] if target.tags else made[target.name].digest}  Built")
    return made


def push_images(names: Iterable[str]) -> None:
    pushed(dict.fromkeys(names, ""))
