"""RUN steps of builds, run as services are: the same keeper, profile and network. `runtime`'s builder asks for them.

Each build that runs something has a keeper of its own, as a project that no command sees: its state is
`builds/projects/build-<random>` below the root of states. What it needs is made at its first step, and is gone with
its last one. Whoever holds the
lock in its folder lives; what a killed build left (a running step, a keeper, a bridge) is swept by the next one.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from types import MappingProxyType

import trio
from pycompose import durable, shortages
from pycompose.compose.control import session
from pycompose.compose.linux import etc_files, network_spec, oci, sandbox_network
from pycompose.compose.model.image_build import Ulimit
from pycompose.compose.model.project import Attachment, Network, Project, Service, ServiceLimits
from pycompose.frozen import dataclass
from pycompose.network.errors import NetworkError
from pycompose.network.networks import Networks
from pycompose.runtime.client.sandboxes import Runtime, Sandbox
from pycompose.runtime.client.worker import Worker
from pycompose.runtime.errors import RuntimeFailure, StartFailed
from pycompose.runtime.images.dockerfile import BuildError, Job, RunLimits
from pycompose.runtime.keeper.launch import launch_keeper
from pycompose.runtime.linux import seccomp
from pycompose.runtime.places import Places, ProjectPlaces
from pycompose.runtime.policy import profile
from pycompose.runtime.state import logs
from pycompose.runtime.state.container_record import read_containers
from pycompose.runtime.state.line_follower import LineFollower

FOLDER = "builds"
HOSTNAME = "build"
NETWORK = "default"
PATIENCE = 10.0  # seconds for a step that is killed to be gone


def roots_of(places: Places) -> Places:
    """Where the keepers of builds live. Sockets stay where they are: their paths must be short (man 7 unix)."""
    return Places(f"{places.state}/{FOLDER}", places.run)


class StepRunner:
    """Runs the steps of all builds of one process; to be had from `running`."""

    def __init__(self, places: Places, project_places: ProjectPlaces, nursery: trio.Nursery) -> None:
        self._roots, self._own, self._nursery = places, project_places, nursery
        self._runtime = Runtime(project_places)
        self._networks, self._worker = Networks(places.networks, project_places.project), Worker()
        self._network = Network(NETWORK, f"{project_places.project}_{NETWORK}")
        self._starting = trio.Lock()
        self._awake = self._connected = False

    async def _wake(self, connected: bool) -> None:
        async with self._starting:
            if not self._awake:
                await trio.to_thread.run_sync(launch_keeper, self._own)
                await self._nursery.start(self._runtime.serve)
                self._awake = True
            if connected and not self._connected:
                await self._nursery.start(self._networks.run)
                spec = network_spec.network_spec(self._own.project, self._network)
                await self._worker.run(self._networks.create, spec)
                self._connected = True

    async def run(self, job: Job, output: Callable[[str], None], limits: RunLimits) -> int:
        """Raises BuildError if it cannot be run."""
        try:
            await self._wake(job.network == "default")
            return await self._run(job, output, limits)
        except StartFailed as error:
            raise BuildError(f"{error.step}: {error.reason}", error.hint) from error
        except (RuntimeFailure, NetworkError) as error:
            raise BuildError(str(error), error.hint) from error
        except (OSError, MemoryError, RuntimeError) as error:
            short = shortages.number(error)
            if isinstance(error, RuntimeError) and not short:
                raise
            raise BuildError(shortages.reason(error), shortages.hint(short)) from error

    async def _run(self, job: Job, output: Callable[[str], None], limits: RunLimits) -> int:
        container_id = secrets.token_hex(32)
        folder = self._own.container(container_id)
        service = self._service(job, limits)
        project = Project(
            self._own.project, "/", (), networks=MappingProxyType({NETWORK: self._network}), services={"build": service}
        )
        await trio.to_thread.run_sync(lambda: os.makedirs(f"{folder}/etc", mode=0o755))
        taken = {mount.destination for mount in job.mounts}
        try:
            etc_files.make_empty(f"{folder}/etc")
            defaults = profile.linux_defaults(
                shm_size=limits.shm_size,
                privileged=limits.privileged,
                host=oci.host_namespaces(service),
            )
            bundle = oci.bundle(
                project,
                service,
                container_id,
                job.root,
                oci.ImageConfig(),
                defaults,
                oci.HostFacts(
                    (*job.mounts, *etc_files.mounts(f"{folder}/etc", taken)),
                    hostname=HOSTNAME,
                    ipv6=network_spec.host_has_ipv6(),
                ),
            )
            program = seccomp.compile(bundle.spec.linux.seccomp) if bundle.spec.linux.seccomp else None
            await self._runtime.create(container_id, container_id[:12], bundle, "", program)

            async def prepare(sandbox: Sandbox) -> None:
                await sandbox_network.join(
                    self._networks,
                    self._worker,
                    sandbox,
                    project,
                    service,
                    container_id=container_id,
                    name=container_id[:12],
                    hostname=HOSTNAME,
                    etc=f"{folder}/etc",
                )

            await self._runtime.start(container_id, prepare)
            async with _followed(f"{folder}/log", output):
                code = await self._runtime.await_exit(container_id)
            return 1 if code is None else code
        finally:
            with trio.CancelScope(shield=True):
                await self._end(container_id, folder)

    async def _end(self, container_id: str, folder: str) -> None:
        if _runs(folder):
            with trio.move_on_after(PATIENCE), suppress(RuntimeFailure, OSError):
                await self._runtime.kill(container_id)
                await self._runtime.await_exit(container_id)
        with suppress(NetworkError):
            await self._worker.run(self._networks.detach, container_id)
        with suppress(RuntimeFailure, OSError):
            await self._runtime.remove(container_id)

    def _service(self, job: Job, limits: RunLimits) -> Service:
        return Service(
            "build",
            command=job.args,
            entrypoint=(),
            working_dir=job.cwd,
            user=job.user or None,
            environment=dict(item.partition("=")[::2] for item in job.env),
            networks=(Attachment(NETWORK),) if job.network == "default" else (),
            network_mode=None if job.network == "default" else job.network,
            hostname=HOSTNAME if job.network != "host" else None,
            extra_hosts=limits.extra_hosts,
            ulimits={name: Ulimit(*both) for name, both in limits.ulimits.items()},
            privileged=limits.privileged,
            resources=ServiceLimits(mem_limit=limits.memory),
        )

    async def close(self) -> None:
        """Nothing of it is left when this returns."""
        if self._connected:
            with suppress(NetworkError):
                await self._worker.run(self._networks.remove, self._network.name)
        if self._awake:
            await trio.to_thread.run_sync(session.close_if_empty, self._own)


@dataclass(frozen=True, slots=True)
class Limited:
    """The runner as one build has it (`runtime.images.build.Runner`)."""

    runner: StepRunner
    limits: RunLimits

    async def run(self, job: Job, output: Callable[[str], None]) -> int:
        return await self.runner.run(job, output, self.limits)


@asynccontextmanager
async def running(places: Places) -> AsyncIterator[StepRunner]:
    """A runner; nothing is launched before its first step. What killed builds left is swept."""
    roots = roots_of(places)
    with _claimed(roots) as (name, left):
        for other in left:
            with suppress(RuntimeFailure, NetworkError, OSError):  # the next build tries again
                await _sweep(places, roots.project(other))
        runner = None
        try:
            async with trio.open_nursery() as nursery:
                runner = StepRunner(places, roots.project(name), nursery)
                yield runner
                nursery.cancel_scope.cancel()
        finally:
            if runner is not None:
                with trio.CancelScope(shield=True):
                    await runner.close()


@contextmanager
def _claimed(roots: Places) -> Iterator[tuple[str, list[str]]]:
    """(a name of one's own, the names of builds that died), all locked while it lasts."""
    os.makedirs(roots.projects, mode=0o700, exist_ok=True)
    locks = f"{roots.state}/locks"
    os.makedirs(locks, mode=0o700, exist_ok=True)
    held: dict[str, int] = {}
    name = f"build-{secrets.token_hex(6)}"
    try:
        with open(f"{roots.state}/lock", "a", opener=durable.private) as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            there = {*os.listdir(roots.projects), *os.listdir(locks)}
            for entry in (*there, name):
                lock = os.open(f"{locks}/{entry}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    held[entry] = lock
                except BlockingIOError:
                    os.close(lock)
        yield name, [entry for entry in held if entry != name]
    finally:
        for entry, lock in held.items():
            if not os.path.isdir(roots.project(entry).state):
                with suppress(FileNotFoundError):
                    os.unlink(f"{locks}/{entry}")
            os.close(lock)


async def _sweep(places: Places, left: ProjectPlaces) -> None:
    """End what a killed build left running, and take its bridge and folders away."""
    containers = await trio.to_thread.run_sync(read_containers, left)
    if containers:
        runtime = Runtime(left)
        await trio.to_thread.run_sync(launch_keeper, left)
        for container in containers:
            with suppress(RuntimeFailure, OSError):
                if container.status in ("running", "paused"):
                    await runtime.kill(container.id)
                    with trio.move_on_after(PATIENCE):
                        await _gone(left, container.id)
            await runtime.remove(container.id)
    with suppress(NetworkError):
        await trio.to_thread.run_sync(_remove_networks, Networks(places.networks, left.project))
    await trio.to_thread.run_sync(session.close_if_empty, left)


def _remove_networks(networks: Networks) -> None:
    for endpoint in networks.endpoints():
        if endpoint.network.startswith(f"{networks.project}_"):
            networks.detach(endpoint.owner)
    for record in networks.records():
        if record.project == networks.project:
            networks.remove(record.name)


async def _gone(left: ProjectPlaces, container_id: str) -> None:
    """Return when the keeper has written how it ended."""
    runtime = Runtime(left)
    async with trio.open_nursery() as nursery:
        await nursery.start(runtime.serve)
        await runtime.await_exit(container_id)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _followed(path: str, output: Callable[[str], None]) -> AsyncIterator[None]:
    """`output` gets the log's lines as they come, and the rest at the end."""
    follower, lines = LineFollower(), logs.LogLines()

    def take() -> None:
        for _, block in follower.new():
            for _, _, text in lines.take(block):
                output(text.decode("utf-8", "replace"))

    async def watch() -> None:
        while True:
            await trio.lowlevel.wait_readable(follower.fileno())
            take()

    try:
        follower.add("", path, logs.last(path, None))
        take()  # what came before anybody was there to be woken by it
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            yield
            nursery.cancel_scope.cancel()
        take()
        for text in lines.unfinished():
            output(text.decode("utf-8", "replace"))
    finally:
        follower.close()


def _runs(folder: str) -> bool:
    return os.path.exists(f"{folder}/process.json") and not os.path.exists(f"{folder}/exit.json")
