"""Images of services, made ready before anything is decided: fetched where the file or the user says so, or if missing.

Their digests are part of what `reconcile` compares, so a new image under an old name makes containers anew.
`to_fetch` decides, `fetch` fetches (many at once), `ready` says what is here. Rules: only `fetch` and `push` change the
store, and only they import what speaks to registries.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from pycompose import shortages
from pycompose.compose.model.project import ImageMount, Project, Service
from pycompose.compose.model.quantities import duration_of
from pycompose.errors import PycomposeError, SystemRefused
from pycompose.frozen import dataclass
from pycompose.runtime.errors import RuntimeFailure
from pycompose.runtime.places import Places

if TYPE_CHECKING:
    from pycompose.runtime.images.registry.progress import Report
    from pycompose.runtime.images.store import Store

HINT = "pycompose pull fetches it, pycompose image load ARCHIVE takes it in; image: host needs none"
DAY = 86_400.0
PERIODS = {"daily": DAY, "weekly": 7 * DAY}

T = TypeVar("T")


class ImagesMissing(PycomposeError):
    """`missing`: services and images."""

    def __init__(self, missing: tuple[tuple[str, str], ...]) -> None:
        lines = [f'service "{service}": image "{image}" is not on this machine' for service, image in missing]
        super().__init__("\n".join(lines), hint=HINT)
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Fetch:
    """An image to be fetched; `optional`: it can be built, if it cannot be fetched."""

    image: str
    services: tuple[str, ...]
    platform: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that could not be fetched or pushed, and why."""

    fetch: Fetch
    error: PycomposeError


def ready(
    project: Project, services: Iterable[str] = (), *, no_deps: bool = False, passed_over: Iterable[str] = ()
) -> dict[str, str]:
    """Service -> digest of its image, of the services asked for (all, if none) and of what they need.

    Images that are only mounted, or hooks', must be here too; those `passed_over` need not be. Raises ImagesMissing
    with every one that is not here, PycomposeError for what is no image's name.
    """
    from pycompose.compose.plan.select import chosen

    images: list[tuple[str, str, bool]] = []
    for name in chosen(project, tuple(services), no_deps):
        service = project.services[name]
        if service.provider is None:
            images.append((name, service.image or "", True))
        images += [(name, image, False) for image in service.further_images]
    digests, missing, apart = {"host": ""}, [], set(passed_over)
    for name, image, _ in images:
        if image not in digests and not (digest := _digest(name, image)):
            if image not in apart:
                missing.append((name, image or "(none)"))
        elif image not in digests:
            digests[image] = digest
    if missing:
        raise ImagesMissing(tuple(dict.fromkeys(missing)))
    return {name: digests[image] for name, image, is_service in images if is_service and digests.get(image)}


def mounted(project: Project, services: Iterable[str] = (), *, no_deps: bool = False) -> dict[str, str]:
    """Image -> its digest, of the images that these services mount; of those that are here."""
    from pycompose.compose.plan.select import chosen

    mounts = (
        (name, mount.source)
        for name in chosen(project, tuple(services), no_deps)
        for mount in project.services[name].mounts
        if isinstance(mount, ImageMount)
    )
    return {image: digest for name, image in dict.fromkeys(mounts) if (digest := _digest(name, image))}


def to_fetch(
    project: Project,
    services: Iterable[str] = (),
    *,
    no_deps: bool = False,
    policy: str | None = None,
    now: float | None = None,
    to_build: Iterable[str] = (),
) -> list[Fetch]:
    """What has to be fetched before these services can be made; `policy` overrules the file's (`up --pull`).

    `to_build` are services whose images will be built anyway. Raises PycomposeError for what is no image's name.
    """
    from pycompose.compose.plan.select import chosen

    asked: dict[str, Fetch] = {}
    apart, built_here = set(to_build), builders(project)
    for name in chosen(project, tuple(services), no_deps):
        service = project.services[name]
        platform, pull_policy = _platform(service), policy or service.pull_policy or "missing"
        built = service.build is not None
        named = service.image and not _is_own(project, name, service.image) and name not in apart
        named = named and (built or service.image not in built_here)
        if service.image and named and _is_due(name, service.image, platform, pull_policy, built and not policy, now):
            _ask(asked, name, service.image, platform, built)
        for image in service.further_images:
            if image not in built_here and _is_due(name, image, "", pull_policy, False, now):
                _ask(asked, name, image, "", False)
    return list(asked.values())


def to_pull(project: Project, services: Iterable[str], policy: str | None = None) -> tuple[list[Fetch], dict[str, str]]:
    """What `pull` fetches of exactly these services; and image -> why it does not, for the others."""
    asked: dict[str, Fetch] = {}
    skipped: dict[str, str] = {}
    built_here = builders(project)
    for name in services:
        service = project.services[name]
        image, platform = service.image or "", _platform(service)
        pull_policy = policy or service.pull_policy or "always"
        for further in service.further_images:
            if further != "host" and further not in built_here:
                _ask(asked, name, further, "", False)
        if image in ("", "host"):
            continue
        if (pull_policy in ("never", "build") or _is_own(project, name, image)) and not policy:
            skipped[image] = "Can be built" if service.build is not None else "Not to be pulled"
        elif service.build is None and image in built_here:
            skipped[image] = f"Built by {built_here[image]}"
        elif pull_policy == "missing" and not image.endswith(":latest") and _digest(name, image, platform):
            skipped[image] = "Already here"
        else:
            _ask(asked, name, image, platform, service.build is not None)
    return list(asked.values()), skipped


def _platform(service: Service) -> str:
    """Of a service's image; empty where neither the file nor the user says one: this machine's."""
    return service.platform or os.environ.get("DOCKER_DEFAULT_PLATFORM", "")


def builders(project: Project) -> dict[str, str]:
    """Image -> the service that builds it: it is fetched for no other."""
    services = (*project.services.values(), *project.disabled_services.values())
    return {service.image: service.name for service in services if service.build is not None and service.image}


def needed_builds(project: Project, services: Iterable[str]) -> list[str]:
    """The services whose builds make images, not here yet, that these services use and do not build themselves."""
    built_here = builders(project)
    names = []
    for name in services:
        service = project.services[name]
        used = [] if service.build is not None else [service.image or ""]
        used += service.further_images
        names += [built_here[image] for image in used if image in built_here and not _digest(name, image)]
    return [name for name in dict.fromkeys(names) if name in project.services]


def _is_own(project: Project, service: str, image: str) -> bool:
    """A name that no file gave: nothing of that name is in a registry."""
    return project.services[service].build is not None and image == project.own_image(service)


def _ask(asked: dict[str, Fetch], service: str, image: str, platform: str, optional: bool) -> None:
    earlier = asked.get(image)
    if earlier is None:
        asked[image] = Fetch(image, (service,), platform, optional)
        return
    if earlier.platform and platform and earlier.platform != platform:
        both, platforms = f'"{earlier.services[0]}" and "{service}"', f"{earlier.platform} and {platform}"
        message = f'services {both} want image "{image}" for {platforms}'
        raise PycomposeError(message, hint="a name leads to one image on this machine: name one of them by its digest")
    services = (*earlier.services, service)
    asked[image] = Fetch(image, services, earlier.platform or platform, earlier.optional and optional)


def _is_due(service: str, image: str, platform: str, policy: str, built: bool, now: float | None) -> bool:
    if image == "host":
        return False
    if archived := _in_archive(image):
        import os

        return policy != "never" and (os.path.exists(archived) or not _digest(service, image))
    if policy == "always":
        return True
    if policy in ("never", "build"):
        return False
    if not _digest(service, image, platform):
        return True
    if built or policy == "missing":
        return False
    period = PERIODS.get(policy) or duration_of(policy.removeprefix("every_")) or 0.0
    return bool(period) and (time.time() if now is None else now) - _store().fetched(image) > period


def _in_archive(image: str) -> str:
    """The path of the archive that an image is in, if it is named so."""
    if not image.startswith(("oci:", "docker-archive:")):
        return ""
    from pycompose.runtime.images.reference import in_archive

    archived = in_archive(image)
    return archived.path if archived else ""


def fetch(fetches: Iterable[Fetch], report: Report) -> list[Failure]:
    """Fetch images, several at once; what failed. Raises KeyboardInterrupt."""
    from pycompose.runtime.images.manifest import platform
    from pycompose.runtime.images.registry import progress

    fetches_due, store, failures = list(fetches), _store(), list[Failure]()
    registries = []
    for fetch_one in fetches_due:
        if not _in_archive(fetch_one.image):
            registries.append(fetch_one)
            continue
        report(progress.Transfer(fetch_one.image, "", "started"))
        with _failing(fetch_one, report, failures):
            digest = _load(store, fetch_one.image)
            report(progress.Transfer(fetch_one.image, "", "done", text=digest))
    if not registries:
        return failures

    import trio
    from pycompose.runtime.images.registry.pull import AT_ONCE, pull

    async def one_image(fetch_one: Fetch, limit: trio.CapacityLimiter) -> None:
        with _failing(fetch_one, report, failures):
            chosen = platform(fetch_one.platform) if fetch_one.platform else None
            await pull(store, fetch_one.image, platform=chosen, report=report, limit=limit)

    async def all_images() -> None:
        limit = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for fetch_one in registries:
                nursery.start_soon(one_image, fetch_one, limit)

    run_tasks(all_images)
    return failures


@contextmanager
def _failing(what: Fetch, report: Report, failures: list[Failure]) -> Iterator[None]:
    """What goes wrong with one image is told, and ends no other: an image, the system, what is short."""
    from pycompose.runtime.images.errors import ImageError
    from pycompose.runtime.images.registry import progress

    try:
        yield
    except Exception as error:
        if not isinstance(error, ImageError | OSError) and not shortages.number(error):
            raise
        report(progress.Transfer(what.image, "", "failed", text=shortages.reason(error)))
        failures.append(_failure(what, error))


def push(images: Iterable[str], report: Report) -> list[Failure]:
    """Push images, several at once; what failed. Raises KeyboardInterrupt."""
    import trio
    from pycompose.runtime.images.registry.push import AT_ONCE
    from pycompose.runtime.images.registry.push import push as push_one

    store, failures = _store(), list[Failure]()

    async def one_image(image: str, limit: trio.CapacityLimiter) -> None:
        with _failing(Fetch(image, ()), report, failures):
            await push_one(store, image, report=report, limit=limit)

    async def all_images() -> None:
        limit = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for image in dict.fromkeys(images):
                nursery.start_soon(one_image, image, limit)

    run_tasks(all_images)
    return failures


def run_tasks(main: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """As `trio.run`; an interrupt is one, not a group of one."""
    from pycompose.compose.control.trio_run import run_trio

    try:
        return run_trio(main, *arguments)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is not None:
            raise KeyboardInterrupt from None
        raise


def _load(store: Store, image: str) -> str:
    from pycompose.runtime.images.load import load_one
    from pycompose.runtime.images.reference import in_archive

    named = in_archive(image)
    assert named is not None
    return load_one(store, named).digest


def to_remove(project: Project | None, used: Iterable[str], which: str) -> list[str]:
    """The images that `down --rmi` removes: of the project's services, and those that its containers `used`.

    "local": those that got their names from the project, because they were built and the file names none.
    """
    services = project.services.values() if project is not None else ()
    names = [s.image for s in services if s.image and (which == "all" or _is_own_name(project, s.name, s.image))]
    if which == "all":
        names += used
    return [name for name in dict.fromkeys(names) if name != "host"]


def _is_own_name(project: Project | None, service: str, image: str) -> bool:
    return project is not None and _is_own(project, service, image)


def remove(name: str) -> str:
    """Remove an image; why it stays, or nothing. Those that are not here are passed over."""
    from pycompose.runtime.images import gc
    from pycompose.runtime.images.errors import ImageError, ImageInUse, ImageNotFound

    try:
        gc.remove(_store(), name)
    except ImageNotFound:
        return ""
    except ImageInUse as error:
        return str(error)
    except ImageError as error:
        return f"image {name} cannot be removed: {error}"
    return ""


def _failure(what: Fetch, error: Exception) -> Failure:
    return Failure(what, error if isinstance(error, PycomposeError) else SystemRefused(error))


def explained(failure: Failure) -> str:
    """Which services lack which image, and why."""
    who = ", ".join(f'service "{name}": ' for name in failure.fetch.services[:1])
    return f'{who}image "{failure.fetch.image}" cannot be fetched: {failure.error}'


def here(service: Service) -> bool:
    """Whether the image of a service is on this machine."""
    return service.image == "host" or bool(_digest(service.name, service.image or ""))


def digest_here(image: str) -> str:
    """The digest of the image of that name, or nothing if it is not on this machine. Raises PycomposeError."""
    try:
        return _store().digests([image])[image]
    except KeyError:
        return ""
    except (RuntimeFailure, OSError) as error:
        raise SystemRefused(error) if isinstance(error, OSError) else error from error


def pinned(images: Iterable[str]) -> dict[str, str]:
    """Image -> its full name with the digest that its registry has for it now. Nothing is fetched.

    The image `host` stays as it is. Raises PycomposeError for a name that is none, or that its registry does not have.
    """
    import trio
    from pycompose.runtime.images.reference import Reference, in_archive, parse
    from pycompose.runtime.images.registry.pull import AT_ONCE, digest_of

    full_names: dict[str, str] = {}
    problems: list[PycomposeError] = []

    async def one(image: str, limit: trio.CapacityLimiter) -> None:
        try:
            name = parse(image)
            async with limit:
                full_names[image] = str(Reference(name.repository, name.tag, await digest_of(image)))
        except (RuntimeFailure, OSError) as error:
            reason = SystemRefused(error) if isinstance(error, OSError) else error
            problems.append(PycomposeError(f"failed to resolve digest for {image}: {reason}", hint=reason.hint))

    async def every(names: list[str]) -> None:
        limit = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(one, name, limit)

    asked = []
    for image in dict.fromkeys(images):
        if in_archive(image) is not None:
            raise PycomposeError(f"failed to resolve digest for {image}: an archive is in no registry")
        if "@" in image:
            name = parse(image)
            full_names[image] = f"{name.repository}@{name.digest}"
        elif image != "host":
            asked.append(image)
    if asked:
        run_tasks(every, asked)
    if problems:
        raise min(problems, key=str)
    return full_names


def _store() -> Store:
    from pycompose.runtime.images.store import Store

    return Store(Places.default())


def _digest(service: str, image: str, platform: str = "") -> str:
    """The digest of the image of that name, if it is here and for that platform."""
    try:
        digest = _store().digests([image])[image] if image else ""
        if digest and platform:
            from pycompose.runtime.images import manifest

            return digest if manifest.suits(_store().config_of(digest), manifest.platform(platform)) else ""
        return digest
    except KeyError:
        return ""
    except (RuntimeFailure, OSError) as error:
        reason = SystemRefused(error) if isinstance(error, OSError) else error
        raise PycomposeError(f'service "{service}": {reason}', hint=reason.hint) from error
