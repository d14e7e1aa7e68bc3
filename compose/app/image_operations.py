"""Operations on images: fetch, push, build, remove, and make ready for the services that need them.

Rules: what is due is `images`' to decide, and the bytes are `runtime`'s. Prints nothing: `tell` is handed what goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pycompose.compose.model.errors import NoSuchService
from pycompose.errors import PycomposeError, SystemRefused
from pycompose.frozen import dataclass

from . import images, phases
from .choices import Choices
from .images import Failure, Fetch
from .phases import silent

if TYPE_CHECKING:
    from pycompose.compose.builds.service_builds import Overrides, Target
    from pycompose.compose.model.observed import Observed
    from pycompose.compose.model.project import Project
    from pycompose.runtime.images.dockerfile.request import Happened
    from pycompose.runtime.images.store import Image

    from .phases import Tell


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """`policy` overrules the file's pull policies. `build`: all that can be (True), nothing (False), or what is due.

    `watched`: what has a `develop` section is due, too.
    """

    policy: Literal["always", "missing", "never"] | None = None
    build: bool | None = None
    watched: bool = False


@dataclass(frozen=True, slots=True)
class PullOptions:
    dependencies: bool = False  # fetch for what the services depend on, too
    policy: Literal["always", "missing"] | None = None
    ignore_buildable: bool = False
    ignore_failures: bool = False


@dataclass(frozen=True, slots=True)
class PushOptions:
    dependencies: bool = False
    ignore_failures: bool = False


class FetchFailed(PycomposeError):
    """Images could not be fetched: `failures` says which and why."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        hints = list(dict.fromkeys(failure.error.hint for failure in failures if failure.error.hint))
        super().__init__("\n".join(images.explained(failure) for failure in failures), hint="\n".join(hints[:3]))
        self.failures = tuple(failures)


def make_ready(
    choices: Choices,
    project: Project,
    services: tuple[str, ...],
    options: ImageOptions | None = None,
    tell: Tell = silent,
    *,
    no_deps: bool = False,
) -> dict[str, str]:
    """Service -> digest of its image: what is due is fetched or built, and what is missing then is an error.

    Nothing is fetched or built in a dry run, whose plan lacks the digests of what would be.
    """
    from pycompose.compose.plan.select import chosen

    policy, build = (options.policy, options.build) if options else (None, None)
    wanted = chosen(project, services, no_deps)
    buildable = [n for n in wanted if project.services[n].build is not None]
    buildable += [n for n in images.needed_builds(project, wanted) if n not in buildable]
    buildable = [] if build is False else buildable
    watched = {n for n in buildable if options and options.watched and project.services[n].develop is not None}
    asked = [n for n in buildable if build or n in watched or project.services[n].pull_policy == "build"]
    due = images.to_fetch(project, services, no_deps=no_deps, policy=policy, to_build=asked)
    if choices.dry_run:
        missing = [n for n in buildable if n not in asked and not images.here(project.services[n])]
        to_build = [str(project.services[name].image) for name in (*asked, *missing)]
        for one in due:
            tell(phases.ImagePlanned("pull", one.image))
        for image in to_build:
            tell(phases.ImagePlanned("build", image))
        passed_over = [one.image for one in due] + to_build
        return images.ready(project, services, no_deps=no_deps, passed_over=passed_over)
    failures = fetch(due, tell)
    if fatal := [failure for failure in failures if not failure.fetch.optional]:
        raise FetchFailed(fatal)
    for failure in failures:
        text = images.explained(failure)
        if build is False:
            tell(phases.OperationWarning(f"{text}; it can be built"))
        else:
            tell(phases.Remark(f"{text}; it is built instead"))
    asked += [n for n in buildable if n not in asked and not images.here(project.services[n])]
    if asked:
        from pycompose.compose.builds.service_builds import Overrides

        build_services(choices, project, asked, Overrides({}), tell)
    return images.ready(project, services, no_deps=no_deps)


def fetch(due: Sequence[Fetch], tell: Tell = silent, skipped: Mapping[str, str] | None = None) -> list[Failure]:
    """Fetch images, several at once; what failed. `skipped`: image -> why it is left out."""
    if not due and not skipped:
        return []
    with phases.phase(tell, phases.TransfersBegin("pull", tuple(one.image for one in due), skipped or {})):
        try:
            return images.fetch(due, tell)
        except OSError as error:
            raise SystemRefused(error) from error


def pull(
    choices: Choices, project: Project, services: tuple[str, ...], options: PullOptions, tell: Tell = silent
) -> None:
    """Fetch the images of services. Raises FetchFailed."""
    due, skipped = images.to_pull(project, _chosen(project, services, options.dependencies), options.policy)
    if options.ignore_buildable:
        skipped |= {one.image: "Can be built" for one in due if one.optional}
        due = [one for one in due if not one.optional]
    if choices.dry_run:
        for one in due:
            tell(phases.ImagePlanned("pull", one.image))
        return
    failures = fetch(due, tell, skipped)
    if buildable := [failure for failure in failures if failure.fetch.optional]:
        names = " ".join(name for failure in buildable for name in failure.fetch.services)
        tell(phases.OperationWarning(f"some images must be built: pycompose build {names}"))
    if fatal := [failure for failure in failures if not failure.fetch.optional]:
        if not options.ignore_failures:
            raise FetchFailed(fatal)
        for failure in fatal:
            tell(phases.OperationWarning(images.explained(failure)))


def push(
    choices: Choices, project: Project, services: tuple[str, ...], options: PushOptions, tell: Tell = silent
) -> None:
    """Push the images of services that are built. Raises PycomposeError."""
    wanted: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for name in _chosen(project, services, options.dependencies):
        service = project.services[name]
        if service.image in (None, "host"):
            continue
        if service.build is None:
            skipped[str(service.image)] = "Not built here"
        else:
            wanted[str(service.image)] = name
    if choices.dry_run:
        for image in wanted:
            tell(phases.ImagePlanned("push", image))
        return
    push_images(wanted, tell, skipped=skipped, lenient=options.ignore_failures)


def push_images(
    wanted: Mapping[str, str],
    tell: Tell = silent,
    *,
    skipped: Mapping[str, str] | None = None,
    lenient: bool = False,
) -> None:
    """Push images (image -> service, or ""). Raises PycomposeError unless `lenient`."""
    if not wanted and not skipped:
        return
    with phases.phase(tell, phases.TransfersBegin("push", tuple(wanted), skipped or {})):
        failures = images.push(wanted, tell)
    lines = []
    for failure in failures:
        who = f'service "{wanted[failure.fetch.image]}": ' if wanted[failure.fetch.image] else ""
        lines.append(f'{who}image "{failure.fetch.image}" cannot be pushed: {failure.error}')
    if lines and not lenient:
        raise PycomposeError(
            "\n".join(lines), hint="\n".join(dict.fromkeys(f.error.hint for f in failures if f.error.hint))
        )
    for line in lines:
        tell(phases.OperationWarning(line))


def build_services(
    choices: Choices,
    project: Project,
    names: Iterable[str],
    overrides: Overrides,
    tell: Tell = silent,
    *,
    check: bool = False,
) -> dict[str, Image]:
    """Build the images of those of the services that have a `build`; service -> image.

    With `check` only the Dockerfiles are read. In a dry run `tell` is handed what would be built.
    """
    from pycompose.compose.builds import service_builds

    targets = service_builds.targets(project, names)
    if not choices.dry_run:
        return build_targets(targets, overrides, tell, check=check, parallel=choices.parallel or 0)
    for target in targets:
        tell(phases.ImagePlanned("build", target.tags[0], target.options.context))
    return {}


def build_targets(
    targets: Sequence[Target], overrides: Overrides, tell: Tell = silent, *, check: bool = False, parallel: int = 0
) -> dict[str, Image]:
    """Build images, side by side; name of the target -> image. Raises PycomposeError."""
    if not targets:
        return {}
    from pycompose.compose.builds import service_builds

    def happened(name: str, event: Happened) -> None:
        tell(phases.BuildEvent(name, event))

    with phases.phase(tell, phases.BuildsBegin(tuple(target.name for target in targets))):
        images_of = service_builds.build(targets, overrides, happened, parallel=parallel, check=check)
    for target in targets if not check else ():
        tell(phases.ImageBuilt(target.tags[0] if target.tags else images_of[target.name].digest))
    return images_of


def remove_unused(
    choices: Choices,
    project: Project | None,
    observed: Observed,
    which: Literal["local", "all"],
    tell: Tell = silent,
) -> None:
    """Remove the images of a project that was taken down; one that something uses stays, with a warning."""
    used = [container.image for container in observed.containers]
    for name in images.to_remove(project, used, which):
        if choices.dry_run:
            tell(phases.ImagePlanned("remove", name))
        elif stays := images.remove(name):
            tell(phases.OperationWarning(stays))
        else:
            tell(phases.ImageRemoved(name))


def _chosen(project: Project, services: tuple[str, ...], dependencies: bool) -> tuple[str, ...]:
    for name in services:
        if name not in project.services:
            raise NoSuchService(name, project.services)
    if dependencies:
        from pycompose.compose.plan.select import chosen

        return chosen(project, services)
    return services or tuple(project.services)
