"""Images built for services, and by hand: requests for the runtime's builder, in order, side by side, each told of.

An image that another one is built from (`additional_contexts: service:X`) is built first. What is remembered is known
without an event loop, a keeper or a network; those come with the first step that must run.
Rules: nothing is printed; what happens goes to `tell` with the name of the build. Errors of the runtime are translated
here, once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import IO, TYPE_CHECKING

from pycompose import shortages
from pycompose.compose.model.project import Project, Service
from pycompose.compose.plan import graph
from pycompose.errors import PycomposeError, SystemRefused
from pycompose.frozen import dataclass
from pycompose.runtime.errors import RuntimeFailure
from pycompose.runtime.images import host_image
from pycompose.runtime.images.cache import Cache
from pycompose.runtime.images.dockerfile import builder, context
from pycompose.runtime.images.dockerfile.request import Happened, Request, Secret
from pycompose.runtime.images.dockerfile.running import RunLimits
from pycompose.runtime.images.dockerfile.trees import Tree
from pycompose.runtime.images.errors import ImageError, ImageNotFound
from pycompose.runtime.images.manifest import own_platform
from pycompose.runtime.images.pack import source_date_epoch
from pycompose.runtime.images.store import Image, Store
from pycompose.runtime.places import Places

from .options import SERVICE, BuildOptions, needed_images, options

if TYPE_CHECKING:
    from pycompose.runtime.images.registry.progress import Transfer

    from .step_runner import StepRunner

Tell = Callable[[str, Happened], None]  # the name of the build, what happened
UNUSED = 30 * 86_400.0  # seconds after which what no build took is forgotten


@dataclass(frozen=True, slots=True)
class Target:
    """One image to build; `name` is the service's, or "" for the only one. `needs` are names of others."""

    name: str
    tags: tuple[str, ...]
    options: BuildOptions
    secrets: Mapping[str, Secret]
    needs: tuple[str, ...] = ()
    local: str = ""  # a Dockerfile of this machine, wherever the context is
    dockerfile_from: IO[bytes] | None = None  # …or to be read
    stdin: IO[bytes] | None = None


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says of every build."""

    args: Mapping[str, str | None]  # without a value: the environment's
    no_cache: bool = False
    pull: bool = False
    ssh: Mapping[str, str] | None = None
    memory: int | None = None  # bytes that each RUN step may have


class BuildFailed(PycomposeError):
    """`service` is the one whose image could not be built; "" for an image built by hand."""

    def __init__(self, service: str, error: Exception) -> None:
        text = f'service "{service}": {shortages.reason(error)}' if service else shortages.reason(error)
        super().__init__(text, hint=getattr(error, "hint", "") or shortages.hint(shortages.number(error)))
        self.service = service


def targets(project: Project, services: Iterable[str]) -> list[Target]:
    """The images of these services that are built, and those that they are built from, in an order that works.

    Raises PycomposeError.
    """
    described = {**project.disabled_services, **project.services}
    needs = {name: needed_images(service.build) for name, service in described.items() if service.build is not None}
    asked = [name for name in services if name in needs]
    wanted = graph.closure(asked, needs, graph.sequence(needs))
    names = dict.fromkeys((*asked, *(name for name in described if name in wanted)))
    for name in names:
        for base in needs[name]:
            if base not in needs:
                fault = "is not built" if base in described else "is not defined"
                raise PycomposeError(f'service "{name}": additional_contexts: service "{base}" {fault}')
    return [_target(project, described[name]) for name in graph.build_order({name: needs[name] for name in names})]


def _target(project: Project, service: Service) -> Target:
    assert service.build is not None
    wanted = options(service.name, service.build)
    image = service.image or project.own_image(service.name)
    return Target(service.name, (image, *wanted.tags), wanted, _secrets(project, wanted), needed_images(service.build))


def _secrets(project: Project, wanted: BuildOptions) -> dict[str, Secret]:
    secrets = {}
    for one in wanted.secrets:
        source = project.secrets.get(one.source)
        if source is None:
            raise PycomposeError(f'build: secret "{one.source}" is not defined')
        if source.content is not None:
            secrets[one.target] = Secret(content=source.content.encode("utf-8", "surrogateescape"))
        elif source.file:
            secrets[one.target] = Secret(file=source.file)
        else:
            raise PycomposeError(f'build: secret "{one.source}" is external: there is no store of secrets here')
    return secrets


def build(
    wanted: Sequence[Target], overrides: Overrides, tell: Tell, *, parallel: int = 0, check: bool = False
) -> dict[str, Image]:
    """Build the images, in the order that they are in and side by side; name -> image. Raises PycomposeError.

    With `check` only the Dockerfiles are read.
    """
    places = Places.default()
    store = Store(places)
    images: dict[str, Image] = {}
    requests: dict[str, Request] = {}
    try:
        with ExitStack() as held:
            work = held.enter_context(store.working())
            left: list[Target] = []
            for target in wanted:
                for note in target.options.notes:
                    tell(target.name, Happened(None, "warning", note))
                if any(other.name in target.needs for other in left):
                    left.append(target)
                    continue
                request = requests[target.name] = _request(store, target, overrides, images, work, held)
                if check:
                    with _named(target.name):
                        plan = builder.plan_of(request)
                    for text in plan.warnings:
                        tell(target.name, Happened(None, "warning", text))
                    continue
                with _named(target.name):
                    result = builder.remembered(store, request, partial(tell, target.name))
                if result is None:
                    left.append(target)
                    continue
                images[target.name] = result.image
                _warn(tell, target.name, result.warnings)
            if left and not check:
                from pycompose.compose.control.trio_run import run_trio

                def request_of(target: Target) -> Request:
                    known = requests.get(target.name)
                    return known or _request(store, target, overrides, images, work, held)

                run_trio(_build_left, places, store, left, request_of, tell, images, parallel)
                Cache(store).forget(older=UNUSED)
    except PermissionError as error:
        raise SystemRefused(error) from error
    return images


class _named:
    """Errors of the runtime become errors of ours, with the name of the build."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, RuntimeFailure | OSError) and not isinstance(error, PermissionError):
            raise BuildFailed(self._name, error) from error


def _warn(tell: Tell, name: str, warnings: Iterable[str]) -> None:
    for text in warnings:
        tell(name, Happened(None, "warning", text))


async def _build_left(
    places: Places,
    store: Store,
    left: Sequence[Target],
    request_of: Callable[[Target], Request],
    tell: Tell,
    images: dict[str, Image],
    parallel: int,
) -> None:
    import trio

    from .step_runner import Limited, running

    ready = {target.name: trio.Event() for target in left}
    limit = trio.CapacityLimiter(parallel or len(left))
    pulls: dict[str, trio.Lock] = {}
    turns: dict[str, trio.Lock] = {}
    pulled: dict[str, Image] = {}

    async def pull(name: str, again: bool, say: Callable[[str], None]) -> Image:
        async with pulls.setdefault(name, trio.Lock()):
            if name not in pulled:
                pulled[name] = await image(store, name, again, say)
        return pulled[name]

    async def one(target: Target, runner: StepRunner) -> None:
        for name in target.needs:
            if name in ready:
                await ready[name].wait()
        async with limit:
            with _named(target.name):
                request = await trio.to_thread.run_sync(request_of, target)
                limited = Limited(runner, request.limits)
                result = await builder.build(store, request, partial(tell, target.name), limited, pull, turns)
        images[target.name] = result.image
        _warn(tell, target.name, result.warnings)
        ready[target.name].set()

    try:
        async with running(places) as runner, trio.open_nursery() as nursery:
            for target in left:
                nursery.start_soon(one, target, runner)
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    leaves: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop(0)
        if isinstance(error, BaseExceptionGroup):
            pending += error.exceptions
        else:
            leaves.append(error)
    for kind in (KeyboardInterrupt, PycomposeError, Exception):
        for error in leaves:
            if isinstance(error, kind):
                return error
    return leaves[0]


async def image(store: Store, name: str, again: bool, say: Callable[[str], None]) -> Image:
    """An image that something is built from; fetched if it is missing, or `again`. Raises ImageError."""
    if not again or name == host_image.NAME:
        with suppress(ImageNotFound):
            return store.resolve(name)
    from pycompose.runtime.images.registry.pull import pull

    def report(progress: Transfer) -> None:
        if progress.state in ("here", "done", "failed", "retrying") or (
            progress.state == "started" and not progress.part
        ):
            say(" ".join(filter(None, (progress.part[:19] or progress.image, progress.state, progress.text))))

    return await pull(store, name, report=report)


def _request(
    store: Store, target: Target, overrides: Overrides, images: Mapping[str, Image], work: str, held: ExitStack
) -> Request:
    """Raises BuildFailed."""
    wanted = target.options
    with _named(target.name):
        tree = context.opened(wanted.context, work, held, target.stdin)
        local, inline = target.local, wanted.inline
        if target.dockerfile_from is not None:
            inline = target.dockerfile_from.read(context.MAX_TEXT).decode("utf-8", "surrogateescape")
        elif tree.path and wanted.dockerfile and not local:
            # Where the context is a folder, its Dockerfile may lie outside of it.
            path = os.path.normpath(os.path.join(tree.path, wanted.dockerfile))
            local = "" if path.startswith(f"{tree.path}/") else path
        inputs = context.read(tree, wanted.dockerfile, inline=inline, local=local)
        args = {**wanted.args, **overrides.args}
        args = {name: os.environ.get(name) if value is None else value for name, value in args.items()}
        set_args = {name: value for name, value in args.items() if value is not None}
        epoch = source_date_epoch(set_args if "SOURCE_DATE_EPOCH" in set_args else os.environ)
        _platforms(target)
        return Request(
            context=inputs.tree,
            dockerfile=inputs.dockerfile,
            name=inputs.name,
            target=wanted.target,
            tags=target.tags,
            args=set_args,
            labels=wanted.labels,
            contexts=_contexts(store, target, images, work, held),
            secrets=target.secrets,
            ssh=_ssh({**wanted.ssh, **(overrides.ssh or {})}),
            no_cache=wanted.no_cache or overrides.no_cache,
            no_cache_filter=wanted.no_cache_filter,
            cache_from=tuple(name for name in wanted.cache_from if name),
            pull=wanted.pull or overrides.pull,
            limits=RunLimits(
                wanted.shm_size,
                wanted.ulimits,
                wanted.extra_hosts,
                wanted.privileged,
                wanted.network,
                memory=overrides.memory,
            ),
            epoch=epoch,
        )


def _platforms(target: Target) -> None:
    platform_here = str(own_platform())
    plain = {
        platform_here,
        platform_here.rpartition("/v")[0] or platform_here,
        platform_here.partition("/")[0],
        platform_here.split("/", 1)[1],
    }
    default = os.environ.get("DOCKER_DEFAULT_PLATFORM")
    for platform in target.options.platforms or ((default,) if default else ()):
        if platform not in plain:
            raise ImageError(
                f"platform {platform!r}: only images of this machine ({platform_here}) can be built",
                "there is no emulation of other processors",
            )


def _contexts(
    store: Store, target: Target, images: Mapping[str, Image], work: str, held: ExitStack
) -> dict[str, Tree | str]:
    contexts: dict[str, Tree | str] = {}
    for name, text in target.options.contexts.items():
        if text.startswith(SERVICE):
            contexts[name.lower()] = images[text.removeprefix(SERVICE)].digest
        elif text.startswith("docker-image://"):
            contexts[name.lower()] = text.removeprefix("docker-image://")
        elif text.startswith("oci-layout://"):
            from pycompose.runtime.images.load import load

            loaded = load(store, text.removeprefix("oci-layout://").partition("@")[0])
            contexts[name.lower()] = loaded[0].digest
        else:
            tree = context.opened(text, work, held)
            contexts[name.lower()] = replace(context.read(tree, inline="").tree, what=f"context {name}")
    return contexts


def _ssh(agents: Mapping[str, str]) -> dict[str, str]:
    sockets = {}
    for name, path in agents.items():
        socket = path or os.environ.get("SSH_AUTH_SOCK", "")
        if not socket:
            raise ImageError(f"ssh {name}: no agent runs", "SSH_AUTH_SOCK names its socket; ssh-agent starts one")
        sockets[name] = socket
    return sockets


def forget() -> tuple[int, int]:
    """Forget all that builds remember: (steps, caches that no build is using). Raises PycomposeError."""
    from pycompose.runtime.images.dockerfile.run_instruction import discard_caches

    store = Store(Places.default())
    try:
        steps, caches = Cache(store).forget(), discard_caches(store.root)
        with store.working() as work:
            store.discard(work)
    except PermissionError as error:
        raise SystemRefused(error) from error
    return steps, caches
