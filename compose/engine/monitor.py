"""Attends to a project's containers: health checks, restart policies with back-off, and conditions that plans wait for.

One task reads the host's events; each running container with a health check, and each that waits to be started, has a
task of its own. Nothing polls: a condition waits for a change of what is known. What is known is persisted through
`Host.remember`, so that the next attendant goes on from there. Decisions are `lifecycle`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import field, replace

import trio
from pycompose.compose.model.errors import ConditionFailed
from pycompose.compose.model.observed import HealthStatus, ObservedContainer, Supervision
from pycompose.compose.model.project import RestartPolicy
from pycompose.compose.plan import lifecycle
from pycompose.compose.plan.steps import AwaitCondition
from pycompose.frozen import dataclass

from .host import ContainerExited, ContainerOutOfMemory, ContainerStarted, Host, HostError, HostEvent


@dataclass(slots=True)
class _Known:
    service: str
    status: str = "created"  # created, running, exited
    exit_code: int | None = None
    supervision: Supervision = field(default_factory=Supervision)
    policy: RestartPolicy = field(default_factory=RestartPolicy)
    probe: lifecycle.Probe | None = None
    delay: float | None = None
    started: float = 0.0  # trio's clock
    task: trio.CancelScope | None = None


class Attendant:
    """`warn` takes what nobody waits for; `publish` a container's name and how its health changed."""

    def __init__(
        self,
        host: Host,
        *,
        warn: Callable[[str], None] = lambda _: None,
        publish: Callable[[str, str], None] = lambda name, action: None,
    ) -> None:
        self.host, self._publish = host, publish
        self._warn = warn
        self._known: dict[str, _Known] = {}
        self._changed = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with self.host.events() as events, trio.open_nursery() as nursery:
            for container in self.host.observe().containers:
                self._adopt(nursery, container)
            for service in {known.service for known in self._known.values()}:
                await self._balance(service)
            task_status.started()
            async for event in events:
                await self._take(nursery, event)
            nursery.cancel_scope.cancel()

    # What the scheduler says and asks

    def starting(self, name: str) -> None:
        known = self._of(name)
        self._leave(known)
        known.status, known.exit_code, known.delay, known.supervision = "created", None, None, Supervision()
        self.host.remember(name, known.supervision)

    def stopping(self, name: str) -> bool:
        known = self._of(name)
        self._leave(known)
        waiting = known.status == "exited" and known.supervision.restarting
        known.supervision = replace(known.supervision, stop_requested=True, restarting=False)
        self.host.remember(name, known.supervision)
        self._tell()
        return not waiting

    async def await_condition(self, wanted: AwaitCondition) -> None:
        """Raises ConditionFailed once it cannot be met any more, or is not met in time."""
        try:
            with trio.fail_after(float("inf") if wanted.timeout is None else wanted.timeout):
                while not self._met(wanted):
                    await self._changed.wait()
        except trio.TooSlowError as error:
            raise ConditionFailed(f"service {wanted.service!r} was not ready in {wanted.timeout:g} s") from error

    # What is known

    def _of(self, name: str, service: str = "") -> _Known:
        return self._known.setdefault(name, _Known(service))

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _leave(self, known: _Known) -> None:
        if known.task is not None:
            known.task.cancel()
            known.task = None

    def _met(self, wanted: AwaitCondition) -> bool:
        names = [name for name in wanted.containers if name in self._known]
        if wanted.condition == "service_completed_successfully":
            for name in names:
                known = self._known[name]
                if known.status == "exited" and not known.supervision.restarting:
                    if known.exit_code != 0:
                        raise ConditionFailed(f"{name} did not complete successfully: exit code {known.exit_code}")
                    return True
            return False
        return all([self._ready(name, wanted) for name in wanted.containers])

    def _ready(self, name: str, wanted: AwaitCondition) -> bool:
        known = self._known.get(name)
        if known is None:
            return False
        if known.status == "exited" and not known.supervision.restarting:
            raise ConditionFailed(f"{name} exited with {known.exit_code}")
        if known.status != "running":
            return False
        if wanted.condition == "service_started":
            return True
        if known.supervision.health == "unhealthy":
            raise ConditionFailed(f"{name} is unhealthy")
        if known.supervision.health == "none" and wanted.condition == "service_healthy":
            raise ConditionFailed(f"{name} has no healthcheck configured")
        return known.supervision.health in ("healthy", "none")

    # What happens

    def _adopt(self, nursery: trio.Nursery, seen: ObservedContainer) -> None:
        if seen.oneoff:
            return
        ran = max(0.0, time.time() - seen.started) if seen.started else 0.0
        known = _Known(seen.service, "created", seen.exit_code, seen.supervision, seen.restart)
        known.probe = lifecycle.probe_of(seen.healthcheck)
        self._known[seen.name] = known
        known.started = trio.current_time() - ran
        if seen.status in ("running", "paused"):
            known.status = "running"
            if known.probe is not None and known.supervision.health == "none":
                known.supervision = replace(known.supervision, health="starting")
            self._watch(nursery, seen.name, known)
        elif seen.status in ("exited", "dead", "restarting"):
            known.status = "exited"
            # It may have exited while nobody attended to it.
            if seen.supervision.restarting or lifecycle.restarts(seen.restart, seen.supervision, seen.exit_code):
                self._restart(nursery, seen.name, known, ran)

    async def _take(self, nursery: trio.Nursery, event: HostEvent) -> None:
        if isinstance(event, ContainerOutOfMemory):
            self._warn(f"{event.name}: a process was killed for want of memory")
            return
        known = self._of(event.name, event.service)
        known.service = event.service
        self._leave(known)
        if isinstance(event, ContainerStarted):
            known.policy, known.probe = event.restart, lifecycle.probe_of(event.healthcheck)
            known.status, known.exit_code, known.started = "running", None, trio.current_time()
            health: HealthStatus = "starting" if known.probe else "none"
            known.supervision = replace(known.supervision, restarting=False, health=health, failing_streak=0)
            self.host.remember(event.name, known.supervision)
            self._watch(nursery, event.name, known)
        elif isinstance(event, ContainerExited):
            ran = trio.current_time() - known.started
            known.status, known.exit_code = "exited", event.exit_code
            if lifecycle.restarts(known.policy, known.supervision, event.exit_code):
                self._restart(nursery, event.name, known, ran)
        await self._balance(event.service)
        self._tell()

    async def _balance(self, service: str) -> None:
        """Who takes part in the service's ports: the healthy ones; where there is none, those that may become it."""
        running = {n: k for n, k in self._known.items() if k.service == service and k.status == "running"}
        serving = {n for n, k in running.items() if k.supervision.health in ("healthy", "none")}
        serving = serving or {n for n, k in running.items() if k.supervision.health == "starting"}
        for name, known in list(self._known.items()):
            if known.service == service:
                try:
                    await self.host.serve(name, healthy=name in serving and not known.supervision.stop_requested)
                except HostError as error:
                    self._warn(str(error))

    def _restart(self, nursery: trio.Nursery, name: str, known: _Known, ran: float) -> None:
        known.delay = lifecycle.next_delay(known.delay, ran)
        known.supervision = replace(known.supervision, restarting=True, restarts=known.supervision.restarts + 1)
        self.host.remember(name, known.supervision)
        known.task = trio.CancelScope()
        nursery.start_soon(self._start_again, name, known.delay, known.task)

    async def _start_again(self, name: str, delay: float, scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep(delay)
            # From here the start is not broken off: the event that it causes would cancel it.
            with trio.CancelScope(shield=True):
                try:
                    await self.host.start_container(name)
                except HostError as error:
                    self._warn(f"{name} could not be started again: {error}")
                    known = self._of(name)
                    known.supervision = replace(known.supervision, restarting=False)
                    self.host.remember(name, known.supervision)
                    self._tell()

    def _watch(self, nursery: trio.Nursery, name: str, known: _Known) -> None:
        if known.probe is not None:
            known.task = trio.CancelScope()
            nursery.start_soon(self._check, name, known, known.probe, known.task)

    async def _check(self, name: str, known: _Known, probe: lifecycle.Probe, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                ran = trio.current_time() - known.started
                await trio.sleep(lifecycle.probe_wait(probe, known.supervision, ran))
                passed = False
                with trio.move_on_after(probe.timeout):
                    try:
                        passed = (await self.host.exec_container(name, probe.command)).exit_code == 0
                    except HostError:
                        passed = False
                before = known.supervision
                ran = trio.current_time() - known.started
                known.supervision = lifecycle.probed(probe, before, passed, ran)
                if known.supervision != before:
                    self.host.remember(name, known.supervision)
                if known.supervision.health != before.health:
                    self._publish(name, f"health_status: {known.supervision.health}")
                    await self._balance(known.service)
                    self._tell()
