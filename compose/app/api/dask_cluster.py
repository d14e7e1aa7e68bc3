"""A Dask cluster of containers: `distributed`'s own cluster, whose workers are replicas of a service.

    from pycompose import ComposeCluster

    with ComposeCluster(n_workers=4, memory_limit="1 GiB") as cluster, cluster.get_client() as client:
        print(client.submit(sum, [1, 2]).result())

Rules: what is done to containers are calls of a `Project`, one at a time, in a thread, so that the event loop goes on.
A worker is known by the name of its container, whatever name Dask has for it. Nothing is printed.
"""

# mypy: disallow-subclassing-any=False
# distributed says few of its types: pyproject.toml.

from __future__ import annotations

import asyncio
import atexit
import copy
import json
import logging
import os
import secrets
import sys
import weakref
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

import dask.config
from dask.system import CPU_COUNT
from dask.utils import format_bytes, parse_bytes
from distributed.core import Status, rpc
from distributed.deploy.cluster import Cluster
from distributed.objects import SchedulerInfo
from distributed.security import Security
from distributed.system import MEMORY_LIMIT
from distributed.utils import Log, Logs
from pycompose.compose.app import operations
from pycompose.compose.app.choices import Choices
from pycompose.compose.state import event_record
from pycompose.errors import PycomposeError

from . import cluster_file
from .cluster_file import ClusterServices, WorkerLimits
from .coroutines import run
from .projects import Project

if TYPE_CHECKING:
    from .service_objects import Container

logger = logging.getLogger(__name__)
WORKERS = 4  # of a cluster without a file, where nobody says how many
GRACE = 2.0  # seconds that a worker or scheduler has to end
KEPT_LINES = 1000  # of the log of a worker that is gone
WATCH = 0.5  # seconds between two looks at the scheduler, for who has joined
LOOK = 0.05  # seconds between two looks at what nobody tells of
SETTLING = 10.0  # seconds in which the end of a container is on record once its worker is gone

_P = ParamSpec("_P")
_T = TypeVar("_T")
_clusters: weakref.WeakSet[ComposeCluster] = weakref.WeakSet()


class ComposeCluster(Cluster):
    """A scheduler and workers in containers of their own, each with an address and limits of its own."""

    scheduler_comm: Any
    scheduler_info: Any
    status: Any
    _adaptive: Any

    def __init__(
        self,
        file: str | os.PathLike[str] | None = None,
        *,
        scheduler: str = "dask-scheduler",
        worker: str = "dask-worker",
        n_workers: int | None = None,
        memory_limit: int | float | str | None = "auto",
        cpus: float | None = None,
        threads: int | None = None,
        env: Mapping[str, str] | None = None,
        image: str | None = None,
        security: Security | bool | None = None,
        name: str | None = None,
        port: int = cluster_file.PORT,
        timeout: float = 120,
        shutdown_on_close: bool = True,
        asynchronous: bool = False,
        loop: Any = None,
        quiet: bool = True,
        scheduler_sync_interval: float = 1,
        _joined: Project | None = None,
    ) -> None:
        """Without a `file` both run from this interpreter's environment, by `image: host`, or from `image`.

        `scheduler` and `worker` are names of services. `n_workers`: as the file says, or 4. `memory_limit` of a worker
        is in bytes or text ("1 GiB"); "auto" is its share of this machine, or what the file says; None is no limit.
        `threads` a worker (its share of the processors), `cpus` it may use at most. `env`: variables in both.
        `security`: a Security, or True for certificates made for this cluster. `name` is the project's. `port` is the
        scheduler's. `timeout`: seconds until all workers are there. Raises PycomposeError where they do not come; then
        nothing is left.
        """
        if loop is None and asynchronous:
            from tornado.ioloop import IOLoop

            loop = IOLoop.current()
        self.security = _security(security)
        self.project: Project | None = _joined
        self.workers: dict[str, Container] = {}  # by name: those that are to be there
        self.shutdown_on_close, self._timeout = shutdown_on_close, timeout
        self._file, self._count, self._is_joined = file, n_workers, _joined is not None
        share = n_workers or (WORKERS if n_workers is None else CPU_COUNT)
        memory = _memory(memory_limit, share, has_file=file is not None)
        limits = WorkerLimits(memory, cpus, threads or (None if file else max(1, CPU_COUNT // share)))
        encrypted = bool(self.security.require_encryption or self.security.tls_ca_file)
        services = ClusterServices(scheduler, worker, image, _environment(image, env), encrypted, port)
        self._services, self._limits, self._own_threads = services, limits, threads is not None
        self._past: dict[str, str] = {}  # name of a worker that is gone -> the end of its log
        self._ends: dict[str, int] = {}  # id of a container -> number of the event of its last end that was told
        self._leaving: set[str] = set()
        self._tasks: set[asyncio.Future[Any]] = set()
        self._lock: asyncio.Lock | None = None
        self._down = False
        name = _joined.name if _joined else name or f"dask-{secrets.token_hex(4)}"
        super().__init__(
            asynchronous=asynchronous,
            loop=loop,
            quiet=quiet,
            name=name,
            scheduler_sync_interval=scheduler_sync_interval,
        )
        _clusters.add(self)
        if not self.called_from_running_loop:
            self._loop_runner.start()
            try:
                self.sync(self._start)
            except BaseException:
                with suppress(Exception):
                    self.sync(self._close)
                self._loop_runner.stop()
                raise

    @classmethod
    def from_name(
        cls,
        name: str,
        *,
        scheduler: str | None = None,
        worker: str | None = None,
        shutdown_on_close: bool = False,
        **more: Any,
    ) -> ComposeCluster:
        """Join the cluster of a project that is up; its services are found by their labels, or by the usual names.

        Raises NoSuchProject.
        """
        project = Project.named(name)
        names: dict[str, Any] = {"scheduler": "dask-scheduler", "worker": "dask-worker"}
        for service in project.services:
            role = project.description.services[service].labels.get(cluster_file.ROLE)
            if role in names:
                names[role] = service
        names |= {role: named for role, named in (("scheduler", scheduler), ("worker", worker)) if named}
        return cls(shutdown_on_close=shutdown_on_close, _joined=project, **names, **more)

    # life

    async def _call(self, function: Callable[_P, _T], /, *arguments: _P.args, **keywords: _P.kwargs) -> _T:
        """A blocking call in a thread of its own; it is broken off, and undone, when whoever waits for it is."""
        return await run(partial(function, *arguments, **keywords))

    @property
    def _one_at_a_time(self) -> asyncio.Lock:
        if self._lock is None:
            self._lock = asyncio.Lock()
        return self._lock

    async def _start(self) -> None:
        async with self._one_at_a_time:
            if self.status in (Status.running, Status.closing):
                return
            if self.status == Status.closed:
                raise ValueError("Cluster is closed")
            self.status = Status.starting
            try:
                await asyncio.wait_for(self._bring_up(), self._timeout)
            except BaseException as error:
                self.status = Status.failed
                ends = await self._explained() if isinstance(error, TimeoutError) else ""
                await self._end()
                if isinstance(error, TimeoutError):
                    text = f"the workers of {self.name} are not there after {self._timeout:g} s{ends}"
                    raise PycomposeError(text, hint="`timeout` is how long they are waited for") from None
                raise

    async def _bring_up(self) -> None:
        if self.project is None:
            self.project = await self._call(self._loaded)
            counts = {} if self._count is None else {self._services.worker: self._count}
            if self._file is None and not counts:
                counts = {self._services.worker: WORKERS}
            names = (self._services.scheduler, self._services.worker)
            await self._call(self.project.up, names, scale=counts)
        await self._look()
        address = await self._scheduler_address()
        self.scheduler_comm = rpc(address, connection_args=self.security.get_connection_args("client"))
        await (self._join() if self._is_joined else super()._start())
        while not set(self.workers) <= self.observed:
            await asyncio.sleep(LOOK)
            if not self.observed and (ended := await self._ended()):
                raise PycomposeError(f"a worker has ended at once{_told(ended)}")

    async def _join(self) -> None:
        """As the base class begins, but for its subscription to workers' coming and going: a scheduler has one alone,
        and that is another's."""
        await self._compare()
        self.status = Status.running
        self._later(self._watch())

    async def _watch(self) -> None:
        while self.status == Status.running:
            await asyncio.sleep(WATCH)
            with suppress(OSError):
                await self._compare()

    async def _compare(self) -> None:
        now = SchedulerInfo(await self.scheduler_comm.identity())
        for address in set(self.scheduler_info["workers"]) - set(now["workers"]):
            self._update_worker_status("remove", address)
        self.scheduler_info = now

    def _loaded(self) -> Project:
        """The project of a file of our own, or of the one that was given with ours over it."""
        secret = {}
        services = self._services
        if services.encrypted:
            settings = {key: getattr(self.security, key) for key in dir(self.security) if key.startswith("tls_")}
            secret = {cluster_file.SECURITY_VARIABLE: cluster_file.security_text(settings)}
        if self._file is None:
            here = os.getcwd() if services.image in (None, "host") else None
            tree = cluster_file.whole(services, self._limits, here)
            return Project.from_text(json.dumps(tree), name=self.name, env=secret)
        environ = {**os.environ, **secret}
        plain = Project.load(self._file, name=self.name)
        parts = {"scheduler": plain[services.scheduler], "worker": plain[services.worker]}
        commands = {role for role, part in parts.items() if part.definition and part.definition.command is None}
        if services.encrypted:
            commands |= {"scheduler", "worker"}
        if self._own_threads:
            commands.add("worker")
        definition = parts["worker"].definition
        resources = definition.deploy.resources if definition and definition.deploy else None
        deployed = bool(resources and resources.limits)
        tree = cluster_file.overlay(services, self._limits, commands=frozenset(commands), deployed=deployed)
        text = json.dumps(tree)
        choices = Choices(files=(os.fspath(self._file), "-"), project_name=self.name, environ=environ, text=text)
        return Project._loaded(choices)

    async def _look(self) -> None:
        """See which containers there are; those that are being removed are no workers any more."""
        assert self.project is not None
        service = self.project[self._services.worker]
        containers = await self._call(lambda: service.containers)
        self.workers = {one.name: one for one in containers}

    async def _scheduler_address(self) -> str:
        """Where the scheduler is reached from this machine, as soon as it listens."""
        assert self.project is not None
        service = self.project[self._services.scheduler]
        port = self._services.port
        while True:
            container = await self._call(service.container)
            if not container.running:
                lines = await self._call(_last_lines, container, 5)
                raise PycomposeError(f"the scheduler has ended{_told({container.name: lines})}")
            host = next(iter(container.addresses.values()), "127.0.0.1").partition("/")[0]
            for _ in range(20):  # then look whether it still runs
                with suppress(OSError):
                    _, writer = await asyncio.open_connection(host, port)
                    writer.close()
                    with suppress(OSError):
                        await writer.wait_closed()
                    bracketed = f"[{host}]" if ":" in host else host
                    return f"{'tls' if self._services.encrypted else 'tcp'}://{bracketed}:{port}"
                await asyncio.sleep(LOOK)

    async def _ended(self) -> dict[str, str]:
        """Workers' containers that do not run, each with the end of its log."""
        await self._look()
        return {
            name: await self._call(_last_lines, one, 5)
            for name, one in self.workers.items()
            if one.status in ("exited", "dead", "restarting")
        }

    async def _explained(self) -> str:
        with suppress(Exception):
            if self.project is not None:
                return _told(await self._ended())
        return ""

    async def _end(self) -> None:
        """Containers away, where they are ours to take away; then the connections."""
        self._leaving |= set(self.workers)
        with suppress(AttributeError):
            self._adaptive.stop()
        try:
            if self.shutdown_on_close:
                await self._call(self._take_down)
        finally:
            for task in self._tasks:
                task.cancel()
            await super()._close()

    def _take_down(self) -> None:
        if self.project is not None and not self._down:
            self.project.down(volumes=True, timeout=GRACE)
            self._down = True

    async def _close(self) -> None:
        async with self._one_at_a_time:
            if self.status != Status.closed:
                await self._end()

    def close(self, timeout: float | None = None) -> Any:
        """End it: with `shutdown_on_close` nothing of it is left."""
        awaitable = super().close(timeout)
        if not self.asynchronous:
            self._loop_runner.stop()
        _clusters.discard(self)
        return awaitable

    def __await__(self) -> Generator[Any, Any, Self]:
        async def started() -> Self:
            await self._start()
            return self

        return started().__await__()

    # how many

    @property
    def plan(self) -> set[str]:
        return set(self.workers) - self._leaving

    @property
    def requested(self) -> set[str]:
        return self.plan

    @property
    def observed(self) -> set[str]:
        return {self._replica_of(address, worker) for address, worker in self.scheduler_info["workers"].items()}

    def _replica_of(self, address: str, worker: Mapping[str, Any]) -> str:
        """The container of one of Dask's workers; its own name for a worker from elsewhere."""
        name = str(worker.get("name", ""))
        if name in self.workers:
            return name
        host = address.partition("://")[2].rpartition(":")[0].strip("[]")
        for replica, container in self.workers.items():
            if host in {one.partition("/")[0] for one in container.addresses.values()}:
                return replica
        return name

    def scale(self, n: int = 0, memory: str | int | None = None, cores: int | None = None) -> Any:
        """Have n workers, or as many as have so much memory or so many threads together; returns when they are made.

        Where there are to be fewer, data of those with the highest numbers go to the others first.
        """
        if memory is not None:
            if not self._limits.memory:
                raise ValueError("to scale by memory the workers must have a memory_limit")
            n = max(n, -(-parse_bytes(memory) // self._limits.memory))
        if cores is not None:
            n = max(n, -(-cores // (self._limits.threads or 1)))
        return self._act(self._scale, n)

    scale_up = scale

    def scale_down(self, workers: Iterable[str]) -> Any:
        """Retire these workers, by name or address: their data go to others, and then their containers go."""
        return self._act(self._retire, tuple(workers))

    def _act(self, function: Callable[_P, Any], /, *arguments: _P.args, **keywords: _P.kwargs) -> Any:
        if self.asynchronous:
            return asyncio.ensure_future(function(*arguments, **keywords))
        return self.sync(function, *arguments, **keywords)

    async def _scale(self, n: int) -> None:
        async with self._one_at_a_time:
            await self._look()
            if surplus := len(self.workers) - n:
                if surplus < 0:
                    await self._set(n)
                    return
                here = self.observed  # those that have not come yet go first
                order = sorted(self.workers.values(), key=lambda one: (one.name in here, -one.number))
                await self._remove([one.name for one in order[:surplus]])

    async def _retire(self, workers: tuple[str, ...]) -> None:
        async with self._one_at_a_time:
            await self._look()
            known = self.scheduler_info["workers"]
            by_name = {str(worker["name"]): address for address, worker in known.items()}
            names = set()
            for one in map(str, workers):
                address = by_name.get(one, one)
                names.add(self._replica_of(address, known[address]) if address in known else one)
            await self._remove(sorted(names & set(self.workers)))

    async def _remove(self, names: list[str]) -> None:
        if not names:
            return
        self._leaving |= set(names)
        leaving = [a for a, worker in self.scheduler_info["workers"].items() if self._replica_of(a, worker) in names]
        if leaving:
            await self.scheduler_comm.retire_workers(workers=leaving, close_workers=True, remove=True)
        for name in names:
            self._past[name] = await self._call(_last_lines, self.workers[name], KEPT_LINES)
        await self._set(len(self.workers) - len(names), remove=names)

    async def _set(self, n: int, remove: Iterable[str] = ()) -> None:
        assert self.project is not None
        choices, counts, names = self.project._scope.choices, {self._services.worker: n}, tuple(remove)
        try:
            await self._call(operations.scale, choices, counts, remove=names, no_deps=True, timeout=GRACE)
        finally:
            self._leaving -= set(remove)
            await self._look()

    # workers that are lost

    def _update_worker_status(self, op: str, msg: Any) -> None:
        if op == "remove" and self.status == Status.running:
            name = self._replica_of(msg, self.scheduler_info["workers"].get(msg, {}))
            if name in self.plan:
                self._later(self._look_after(name, msg))
        super()._update_worker_status(op, msg)
        if op == "add" and not self.observed <= set(self.workers):  # one that was started again has another address
            self._later(self._look())

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_after(self, name: str, address: str) -> None:
        """Tell why a worker is lost. One that was retired is removed; one that ended in order is started again, as
        `Client.restart` expects it; all others are started by their restart policy."""
        container, clock = self.workers[name], asyncio.get_running_loop().time
        deadline = clock() + SETTLING
        while not (reason := await self._call(self._reason, container)):
            if clock() > deadline or name not in self.plan:
                return
            await asyncio.sleep(LOOK)
        events = await self.scheduler_comm.events(topic=address)
        if any(event.get("action") == "retired" for _, event in events):
            with suppress(PycomposeError):  # another program has it removed, whose cluster this is, too
                await self._retire((name,))
            return
        text = f"worker {name} was lost: {reason}"
        self._log(text)
        logger.warning(text)
        async with self._one_at_a_time:
            await self._look()
            if name in self.plan and self.workers[name].status in ("exited", "dead"):
                assert self.project is not None
                await self._call(self.project[self._services.worker].start)
                await self._look()

    def _reason(self, container: Container) -> str:
        """Why a container ended; "" while that is not on record."""
        assert self.project is not None
        last = self._ends.get(container.id, -1)
        events = [one for one in event_record.read(self.project._scope.places) if one.id == container.id]
        ends = [one for one in events if one.number > last and one.action == "die"]
        if not ends:
            return ""
        self._ends[container.id] = ends[-1].number
        if any(one.number > last and one.action == "oom" for one in events):
            limit = self._limits.memory
            return "it ran out of memory" + (f", of which it may have {format_bytes(limit)}" if limit else "")
        return f"it ended with {ends[-1].attributes.get('exitCode', 'an unknown code')}"

    # what is told

    async def _get_logs(
        self, cluster: bool = True, scheduler: bool = True, workers: bool | Iterable[str] = True
    ) -> Logs:
        """Of containers, so those of dead workers too: by address while a worker is there, by name after that."""
        logs = Logs()
        assert self.project is not None
        if cluster:
            logs["Cluster"] = Log("\n".join(line for _, line in self._cluster_manager_logs))
        if scheduler:
            container = await self._call(self.project[self._services.scheduler].container)
            logs["Scheduler"] = Log(await self._call(_last_lines, container, None))
        if not workers:
            return logs
        await self._look()
        addresses = {self._replica_of(a, worker): a for a, worker in self.scheduler_info["workers"].items()}
        texts = {name: text for name, text in self._past.items() if name not in self.workers}
        for name, container in self.workers.items():
            texts[addresses.get(name, name)] = await self._call(_last_lines, container, None)
        chosen = None if workers is True else {str(one) for one in workers}
        for key, text in texts.items():
            name = next((name for name, address in addresses.items() if address == key), key)
            if chosen is None or chosen & {key, name}:
                logs[key] = Log(text)
        return logs


def _security(security: Security | bool | None) -> Any:
    return Security.temporary() if security is True else security or Security()


def _memory(limit: int | float | str | None, share: int, *, has_file: bool) -> int | None:
    if limit is None or (limit == "auto" and has_file):
        return None
    if limit == "auto":
        return int(MEMORY_LIMIT // share)
    if isinstance(limit, float) and 0 < limit <= 1:
        return int(MEMORY_LIMIT * limit)
    return parse_bytes(limit) or None


def _environment(image: str | None, more: Mapping[str, str] | None) -> dict[str, str]:
    """What Dask gives a process of its own, and where this interpreter imports from."""
    nanny = dask.config.get("distributed.nanny", default={})
    said = {**nanny.get("pre-spawn-environ", {}), **nanny.get("environ", {})}
    variables = {key: str(value) for key, value in said.items()}
    settings = copy.deepcopy(dask.config.global_config)
    for key in ("tls", "require-encryption"):  # they are read from a file inside, which these would hide
        settings.get("distributed", {}).get("comm", {}).pop(key, None)
    variables["DASK_INTERNAL_INHERIT_CONFIG"] = dask.config.serialize(settings)
    if image in (None, "host"):
        prefixes = {os.path.realpath(sys.prefix), sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix)}
        entries = [os.path.abspath(entry) for entry in sys.path]
        variables |= cluster_file.environment_of(entries, [prefix + os.sep for prefix in prefixes])
    return {**variables, **(more or {})}


def _last_lines(container: Container, count: int | None) -> str:
    return "\n".join(entry.text for entry in container.logs(tail=count))


def _told(logs: Mapping[str, str]) -> str:
    return "".join(f"\n{name}: {lines or 'wrote nothing'}" for name, lines in logs.items())


@atexit.register
def _end_all() -> None:
    """Clusters that a script left open; no thread can be begun any more."""
    for cluster in list(_clusters):
        if cluster.status == Status.closed:
            continue
        if cluster.shutdown_on_close:
            with suppress(Exception):
                cluster._take_down()
        with suppress(Exception):
            cluster.close(timeout=10)
