"""The calls of `projects` to be awaited, under trio and under asyncio: `pycompose.aio`.

    from pycompose import aio

    project = await aio.Project.load("compose.yaml")
    await project.up(wait=True)
    async for entry in project.logs(follow=True):
        print(entry.container, entry.text)

Each call runs in a thread of its own, by anyio: so one implementation serves both, an event loop is never blocked (nor
ends a container's start by being slow), and what works in a script works here. Rules: a call that is cancelled is
broken off, as by ^C, and has undone what it began when the cancellation is delivered; `progress` is called in the event
loop. Names, parameters, results and errors are those of the plain calls; what looks is a method, not a property.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, Unpack

import anyio
from anyio import from_thread, to_thread
from pycompose.interruption import Interruption

from . import projects, service_objects
from .scope import Names

if TYPE_CHECKING:
    from pycompose.compose.app.log_entries import LogEntry
    from pycompose.compose.app.moments import Moment
    from pycompose.compose.state.event_record import ContainerEvent

    from .captured import Command
    from .one_offs import StartKeywords
    from .project_life import UpKeywords
    from .scope import LogKeywords

P = ParamSpec("P")
T = TypeVar("T")


async def run(function: Callable[[], T], interruption: Interruption | None = None) -> T:
    """What a blocking call returns, from a thread; broken off, and waited for, when this task is cancelled."""
    breaking = interruption or Interruption()
    outcomes: list[T] = []
    errors: list[BaseException] = []
    done = anyio.Event()

    def call() -> None:
        try:
            with breaking.in_force():
                outcomes.append(function())
        except BaseException as error:  # an Interrupted, too: it is no interrupt of the event loop's
            errors.append(error)

    async def work() -> None:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(call, limiter=anyio.CapacityLimiter(1))
        done.set()

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        try:
            await done.wait()
        except anyio.get_cancelled_exc_class():
            breaking.break_off()
            raise
    if errors:
        raise errors[0]
    return outcomes[0]


def _in_loop(keywords: dict[str, Any]) -> dict[str, Any]:
    """`progress` is called in the event loop, from which it may do what tasks may."""
    if (progress := keywords.get("progress")) is not None:
        keywords["progress"] = partial(from_thread.run_sync, progress)
    return keywords


def awaited(method: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """A method of a plain object as a coroutine of the object here that stands for it."""

    async def call(self: Any, /, *arguments: P.args, **keywords: P.kwargs) -> T:
        return await run(partial(method, self.plain, *arguments, **_in_loop(dict(keywords))))

    call.__doc__, call.__name__ = method.__doc__, getattr(method, "__name__", "call")
    return call


class Stream(Generic[T]):
    """What a plain iterator yields, each awaited; `aclose` ends it before."""

    def __init__(self, make: Callable[[], Iterator[T]]) -> None:
        self._make, self._breaking = make, Interruption()
        self._iterator: Iterator[T] | None = None

    def __aiter__(self) -> Stream[T]:
        return self

    async def __anext__(self) -> T:
        items = await run(self._next, self._breaking)
        if not items:
            raise StopAsyncIteration
        return items[0]

    def _next(self) -> list[T]:
        if self._iterator is None:
            self._iterator = self._make()
        return [item for _, item in zip(range(1), self._iterator, strict=False)]

    async def aclose(self) -> None:
        if (close := getattr(self._iterator, "close", None)) is not None:
            await run(close)


class Container(service_objects.ContainerFacts):
    """As the plain one, which is `plain`."""

    def __init__(self, plain: service_objects.Container) -> None:
        self.plain, self.observed = plain, plain.observed

    @property
    def address(self) -> str:
        return self.plain.address

    exec = awaited(service_objects.Container.exec)
    kill = awaited(service_objects.Container.kill)
    wait = awaited(service_objects.Container.wait)

    async def refresh(self) -> Container:
        return Container(await run(self.plain.refresh))

    def logs(self, **options: Unpack[LogKeywords]) -> Stream[LogEntry]:
        return Stream(partial(self.plain.logs, **options))


class Service:
    """As the plain one, which is `plain`; what looks is awaited: `await service.containers()`."""

    def __init__(self, plain: service_objects.Service) -> None:
        self.plain = plain

    def __repr__(self) -> str:
        return repr(self.plain)

    @property
    def name(self) -> str:
        return self.plain.name

    async def containers(self) -> list[Container]:
        return [Container(one) for one in await run(lambda: self.plain.containers)]

    async def container(self, index: int = 0) -> Container:
        return Container(await run(partial(self.plain.container, index)))

    async def address(self) -> str:
        return await run(lambda: self.plain.address)

    async def addresses(self) -> list[str]:
        return await run(lambda: self.plain.addresses)

    async def status(self) -> str:
        return await run(lambda: self.plain.status)

    async def health(self) -> str:
        return await run(lambda: self.plain.health)

    port = awaited(service_objects.Service.port)
    exec = awaited(service_objects.Service.exec)
    scale = awaited(service_objects.Service.scale)
    start = awaited(service_objects.Service.start)
    stop = awaited(service_objects.Service.stop)
    restart = awaited(service_objects.Service.restart)
    kill = awaited(service_objects.Service.kill)
    wait = awaited(service_objects.Service.wait)

    def logs(self, **options: Unpack[LogKeywords]) -> Stream[LogEntry]:
        return Stream(partial(self.plain.logs, **options))


class Project:
    """As the plain one, which is `plain`."""

    def __init__(self, plain: projects.Project) -> None:
        self.plain = plain

    @classmethod
    async def load(cls, files: projects.Paths | None = None, **options: Unpack[projects.LoadKeywords]) -> Project:
        return cls(await run(partial(projects.Project.load, files, **options)))

    @classmethod
    async def from_text(cls, text: str, **options: Unpack[projects.LoadKeywords]) -> Project:
        return cls(await run(partial(projects.Project.from_text, text, **options)))

    @classmethod
    async def from_dict(cls, tree: Mapping[str, Any], **options: Unpack[projects.LoadKeywords]) -> Project:
        return cls(await run(partial(projects.Project.from_dict, tree, **options)))

    @classmethod
    async def named(cls, name: str) -> Project:
        return cls(await run(partial(projects.Project.named, name)))

    def __repr__(self) -> str:
        return repr(self.plain)

    @property
    def name(self) -> str:
        return self.plain.name

    @property
    def services(self) -> tuple[str, ...]:
        return self.plain.services

    def __contains__(self, service: object) -> bool:
        return service in self.plain

    def __getitem__(self, service: str) -> Service:
        return Service(self.plain[service])

    async def containers(self) -> list[Container]:
        return [Container(one) for one in await run(lambda: self.plain.containers)]

    async def container(self, name: str) -> Container:
        return Container(await run(partial(self.plain.container, name)))

    async def ps(self, services: Names = (), *, all: bool = False) -> list[Container]:
        return [Container(one) for one in await run(partial(self.plain.ps, services, all=all))]

    up = awaited(projects.Project.up)
    create = awaited(projects.Project.create)
    plan = awaited(projects.Project.plan)
    down = awaited(projects.Project.down)
    scale = awaited(projects.Project.scale)
    start = awaited(projects.Project.start)
    stop = awaited(projects.Project.stop)
    restart = awaited(projects.Project.restart)
    kill = awaited(projects.Project.kill)
    pause = awaited(projects.Project.pause)
    unpause = awaited(projects.Project.unpause)
    rm = awaited(projects.Project.rm)
    wait = awaited(projects.Project.wait)
    exec = awaited(projects.Project.exec)
    run = awaited(projects.Project.run)
    cp = awaited(projects.Project.cp)
    build = awaited(projects.Project.build)
    pull = awaited(projects.Project.pull)
    push = awaited(projects.Project.push)
    images = awaited(projects.Project.images)
    stats = awaited(projects.Project.stats)
    config = awaited(projects.Project.config)
    config_yaml = awaited(projects.Project.config_yaml)
    graph = awaited(projects.Project.graph)

    async def run_detached(self, service: str, command: Command = (), **options: Unpack[StartKeywords]) -> Container:
        call = partial(self.plain.run_detached, service, command, **_in_loop(dict(options)))
        return Container(await run(call))

    def logs(self, services: Names = (), **options: Unpack[LogKeywords]) -> Stream[LogEntry]:
        return Stream(partial(self.plain.logs, services, **options))

    def events(
        self, services: Names = (), *, since: Moment | None = None, until: Moment | None = None
    ) -> Stream[ContainerEvent]:
        return Stream(partial(self.plain.events, services, since=since, until=until))

    @asynccontextmanager
    async def running(
        self, services: Names = (), *, volumes: bool = False, **options: Unpack[UpKeywords]
    ) -> AsyncIterator[Project]:
        """Up (and healthy) while the body runs, and down after it, also where that is cancelled."""
        options.setdefault("wait", True)
        try:
            await self.up(services, **options)
            yield self
        finally:
            with anyio.CancelScope(shield=True):
                await self.down(volumes=volumes)
