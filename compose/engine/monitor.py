"""Monitor of a project's containers: health checks, restart policies with back-off, conditions that plans wait for.

One task reads the host's events; each running container with a health check, and each that waits to be started, has a
task of its own. Nothing polls: a condition waits for a change of what is known. What is known is persisted through
`Host.remember`, so that the next monitor goes on from there. A container's stages, and what leads from one to the next,
are the table in `monitor_stages`; other decisions are `lifecycle`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from signal import SIGTERM
from typing import assert_never

import trio
from pycompose.compose.model.errors import ConditionFailed
from pycompose.compose.model.observed import HealthProbe, HealthStatus, ObservedContainer, Supervision
from pycompose.compose.model.project import RestartPolicy
from pycompose.compose.plan import lifecycle
from pycompose.compose.plan.divergence import AT_ONCE
from pycompose.compose.plan.steps import DEFAULT_GRACE, AwaitCondition, Readiness
from pycompose.frozen import dataclass
from pycompose.signal_names import signal_number

from .host import (
    ContainerExited,
    ContainerOutOfMemory,
    ContainerStarted,
    DonorEnded,
    DonorStarted,
    Host,
    HostError,
    HostEvent,
)
from .monitor_stages import TRANSITIONS, MonitorEffect, MonitorEvent, MonitorStage

SLOW = 10.0  # seconds between the ends that two keepers tell of, on a busy machine
ENDS_WELL = ("no", "on-failure")  # restart policies under which an end with 0 is for good


@dataclass(slots=True)
class _Known:
    service: str
    stage: MonitorStage = MonitorStage.CREATED
    exit_code: int | None = None
    supervision: Supervision = field(default_factory=Supervision)
    policy: RestartPolicy = field(default_factory=RestartPolicy)
    probe: lifecycle.Probe | None = None
    delay: float | None = None
    started: float = 0.0  # trio's clock
    ended: float | None = None  # likewise; None while it runs
    renews: bool = False  # it is ended because it is unhealthy, and is started again
    rejoins: bool = False  # it is ended so that it joins the namespaces of one that was started anew
    task: trio.CancelScope | None = None
    comes: bool = False  # its policy's start is under way, and is not broken off

    @property
    def ran(self) -> float:
        """Seconds that its last run took, or that it runs."""
        return (trio.current_time() if self.ended is None else self.ended) - self.started


class Monitor:
    """`warn` takes what nobody waits for; `publish` a container's name, how its health changed, and what shows why."""

    def __init__(
        self,
        host: Host,
        *,
        warn: Callable[[str], None] = lambda _: None,
        publish: Callable[..., None] = lambda name, action, **attributes: None,
    ) -> None:
        self.host, self._publish = host, publish
        self._warn = warn
        self._known: dict[str, _Known] = {}
        self._running_donors: set[str] = set()  # of other projects: PROJECT/ID
        self._changed = trio.Event()
        self._nursery: trio.Nursery  # since `run`

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with self.host.events() as events, trio.open_nursery() as nursery:
            self._nursery = nursery
            for container in self.host.observe().containers:
                self._adopt(container)
            for service in {known.service for known in self._known.values()}:
                await self._balance(service)
            for name, known in list(self._known.items()):  # one before this one may have come no further
                if known.stage is MonitorStage.RUNNING:
                    self._take_along(name, known.started, None)
            task_status.started()
            async for event in events:
                await self._take(event)
            nursery.cancel_scope.cancel()

    # What the scheduler says and asks

    def starting(self, name: str) -> None:
        known = self._of(name)
        known.rejoins = known.renews = False
        self._step(name, MonitorEvent.STARTING)

    async def await_return(self, name: str) -> None:
        """Return when no start of its restart policy is under way, which nothing could be done to in the middle."""
        while (known := self._known.get(name)) is not None and known.comes:
            await self._changed.wait()

    def stopping(self, name: str, *, returns: bool = False) -> bool:
        """Whether there is something to stop: not so of one that would have been started again."""
        known = self._of(name)
        waiting = known.stage is MonitorStage.WAITING
        known.rejoins = known.renews = False
        known.supervision = replace(known.supervision, returning_at=time.time() if returns else 0.0)
        self._step(name, MonitorEvent.STOPPING)
        self._tell()
        return not waiting

    def staying(self, name: str) -> None:
        if name in self._known and self._known[name].supervision.returning_at:
            self._step(name, MonitorEvent.REFUSED)
            self._tell()

    async def await_ready(
        self, waits: tuple[AwaitCondition, ...], tell: Callable[[str], None] = lambda _: None
    ) -> Mapping[str, Readiness]:
        """Raises ConditionFailed once one of them cannot be met any more."""
        counts: dict[str, int] = {}  # container -> how often it had been started again when that was told
        while not all([self._met(wanted) for wanted in waits]):
            self._tell_of_loops(waits, counts, tell)
            with trio.move_on_after(self._until_settled(waits)):
                await self._changed.wait()
        return {name: self._readiness(name) for wanted in waits for name in wanted.containers if name in self._known}

    def _tell_of_loops(
        self, waits: Iterable[AwaitCondition], counts: dict[str, int], tell: Callable[[str], None]
    ) -> None:
        """What is waited for may end and be started again for ever: that is told again when it has doubled."""
        for name in (name for wanted in waits for name in wanted.containers if name in self._known):
            known = self._known[name]
            text = lifecycle.looping(name, known.supervision, known.exit_code)
            if text and known.stage is MonitorStage.WAITING and known.supervision.restarts >= counts.get(name, 0) * 2:
                counts[name] = known.supervision.restarts
                tell(text)

    def explanation(self, waits: Iterable[AwaitCondition]) -> str:
        names = dict.fromkeys(name for wanted in waits for name in wanted.containers if name in self._known)
        texts = []
        for name, known in ((name, self._known[name]) for name in names):
            texts.append(lifecycle.looping(name, known.supervision, known.exit_code))
            texts.append(lifecycle.explanation(name, known.supervision))
        return "\n".join(filter(None, texts))

    def _readiness(self, name: str) -> Readiness:
        known = self._known[name]
        if known.stage is not MonitorStage.RUNNING:
            return "exited"
        return "healthy" if known.supervision.health == "healthy" else "running"

    def _until_settled(self, waits: Iterable[AwaitCondition]) -> float:
        """Seconds until one of them has run long enough; nothing else happens then that would be told."""
        names = {name for wanted in waits if wanted.condition == "running_or_healthy" for name in wanted.containers}
        running = (self._known[name] for name in names & self._known.keys())
        left = (lifecycle.SETTLING - known.ran for known in running if known.stage is MonitorStage.RUNNING)
        return min((seconds for seconds in left if seconds > 0), default=float("inf"))

    # What is known

    def _of(self, name: str, service: str = "") -> _Known:
        return self._known.setdefault(name, _Known(service))

    def _step(self, name: str, event: MonitorEvent) -> None:
        known = self._of(name)
        if event is not MonitorEvent.REFUSED:  # that is told by the very task
            self._leave(known)
        ran = known.stage is not MonitorStage.CREATED
        known.stage, effect = TRANSITIONS[known.stage, event]
        before = known.supervision
        match effect:
            case MonitorEffect.FORGET:
                known.exit_code, known.delay = None, None
                known.supervision = Supervision(returning_at=time.time() if ran or before.returning_at else 0.0)
            case MonitorEffect.WATCH:
                health: HealthStatus = "starting" if known.probe else "none"
                known.supervision = replace(before, restarting=False, returning_at=0.0, health=health, failing_streak=0)
            case MonitorEffect.REST:
                known.supervision = replace(before, restarting=False)
            case MonitorEffect.STAY:
                known.supervision = replace(before, restarting=False, returning_at=0.0)
            case MonitorEffect.BACK_OFF:
                attempts = lifecycle.attempts(known.policy, before, known.ran) + 1
                known.supervision = replace(before, restarting=True, restarts=before.restarts + 1, attempts=attempts)
            case MonitorEffect.GIVE_UP:
                known.supervision = replace(before, stop_requested=True, restarting=False)
            case _:
                assert_never(effect)
        if effect is not MonitorEffect.REST or known.supervision != before:
            self.host.remember(name, known.supervision)
        if effect is MonitorEffect.WATCH:
            self._watch(name, known)
        elif effect is MonitorEffect.BACK_OFF:
            known.delay = lifecycle.next_delay(known.policy, known.delay, known.ran)
            known.task = trio.CancelScope()
            self._nursery.start_soon(self._start_again, name, known.delay, known.task)

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
                if known.stage is MonitorStage.EXITED:
                    if known.exit_code != 0:
                        hint = f"`pycompose logs {known.service}` shows what it said"
                        code = "unknown" if known.exit_code is None else known.exit_code
                        raise ConditionFailed(
                            f'service "{known.service}" didn\'t complete successfully: exit {code}', hint=hint
                        )
                    return True
            return False
        return all([self._ready(name, wanted) for name in wanted.containers])

    def _ready(self, name: str, wanted: AwaitCondition) -> bool:
        known = self._known.get(name)
        if known is None:
            return False
        if known.stage is MonitorStage.EXITED:
            if (
                wanted.condition == "running_or_healthy"
                and known.exit_code == 0
                and known.policy.condition in ENDS_WELL
            ):
                return True
            code = "?" if known.exit_code is None else known.exit_code
            hint = f"`pycompose logs {known.service}` shows what it said"
            raise ConditionFailed(f"{_dependency(wanted)}container {name} exited ({code})", hint=hint)
        if known.stage is not MonitorStage.RUNNING:
            return False
        if wanted.condition == "service_started":
            return True
        if known.supervision.health == "unhealthy":
            if known.renews:
                return False
            hint = lifecycle.explanation(name, known.supervision)
            raise ConditionFailed(f"{_dependency(wanted)}container {name} is unhealthy", hint=hint)
        if known.supervision.health == "none" and wanted.condition == "service_healthy":
            raise ConditionFailed(f"{_dependency(wanted)}container {name} has no healthcheck configured")
        settled = known.ran >= lifecycle.SETTLING
        return known.supervision.health == "healthy" or (known.supervision.health == "none" and settled)

    # What happens

    def _adopt(self, container: ObservedContainer) -> None:
        if container.oneoff:
            return
        now = time.time()
        since = max(0.0, now - container.started) if container.started else 0.0
        # The command that was to start it again has ended with the supervisor that carried it out.
        supervision = replace(container.supervision, returning_at=0.0)
        known = _Known(container.service, MonitorStage.CREATED, container.exit_code, supervision)
        known.policy, known.probe = container.restart, lifecycle.probe_of(container.healthcheck)
        known.started = trio.current_time() - since
        if container.finished and container.started:
            known.ended = known.started + max(0.0, container.finished - container.started)
        self._known[container.name] = known
        if container.supervision.returning_at:
            self.host.remember(container.name, supervision)
        if container.status in ("running", "paused"):
            known.stage = MonitorStage.RUNNING
            if known.probe is not None and known.supervision.health == "none":
                known.supervision = replace(known.supervision, health="starting")
            self._watch(container.name, known)
        elif container.status in ("exited", "dead", "restarting"):
            # It may have ended while nobody attended to it, or while it waited to be started again.
            before = known.supervision
            if before.restarting:  # that start is counted already, and is not made yet
                known.supervision = replace(before, restarts=before.restarts - 1, attempts=before.attempts - 1)
            returns = before.restarting or lifecycle.restarts(known.policy, before, known.exit_code, known.ran)
            self._step(container.name, MonitorEvent.ENDED_TO_RETURN if returns else MonitorEvent.ENDED)

    async def _take(self, event: HostEvent) -> None:
        if isinstance(event, ContainerOutOfMemory):
            self._warn(f"{event.name}: a process was killed for want of memory")
            return
        if isinstance(event, DonorStarted | DonorEnded):
            self._hear_of_donor(event)
            return
        known = self._of(event.name, event.service)
        known.service = event.service
        if isinstance(event, ContainerStarted):
            known.policy, known.probe = event.restart, lifecycle.probe_of(event.healthcheck)
            known.exit_code, known.started, known.ended = None, trio.current_time(), None
            known.comes = False
            self._step(event.name, MonitorEvent.STARTED)
        elif isinstance(event, ContainerExited):
            known.exit_code, known.ended = event.exit_code, trio.current_time()
            if known.rejoins:
                self._come_back(event.name, known)
            else:
                policy, supervision, code = known.policy, known.supervision, event.exit_code
                returns = known.renews or lifecycle.restarts(policy, supervision, code, known.ran)
                known.renews = False
                self._step(event.name, MonitorEvent.ENDED_TO_RETURN if returns else MonitorEvent.ENDED)
        await self._balance(event.service)
        self._tell()

    async def _balance(self, service: str) -> None:
        """Who takes part in the service's ports: the healthy ones; where there is none, those that may become it."""
        running = {n: k for n, k in self._known.items() if k.service == service and k.stage is MonitorStage.RUNNING}
        serving = {n for n, k in running.items() if k.supervision.health in ("healthy", "none")}
        serving = serving or {n for n, k in running.items() if k.supervision.health == "starting"}
        for name, known in list(self._known.items()):
            if known.service == service:
                try:
                    await self.host.serve(name, healthy=name in serving and not known.supervision.stop_requested)
                except HostError as error:
                    self._warn(str(error))

    async def _start_again(self, name: str, delay: float, scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep(delay)
            # From here the start is not broken off: the event that it causes would cancel it.
            with trio.CancelScope(shield=True):
                known = self._known[name]
                begun, ended, known.comes = trio.current_time(), known.ended, True
                try:
                    await self.host.start_container(name)
                except HostError as error:
                    known.comes = False
                    self._tell()
                    self._refused(name, error)
                else:
                    self._take_along(name, begun, ended)

    def _refused(self, name: str, error: HostError) -> None:
        """It could not be started: for good, unless one whose namespaces it has comes back and takes it along."""
        if any(map(self._comes_back_later, self.host.donors(name))):
            self._known[name].task = None
            return
        self._warn(f"{name} could not be started again: {error}")
        self._step(name, MonitorEvent.REFUSED)
        for other in self._joiners(name):
            if self._known[other].stage is MonitorStage.WAITING and self._known[other].task is None:
                self._step(other, MonitorEvent.REFUSED)
        self._tell()

    def _comes_back_later(self, donor: str) -> bool:
        """Whether a donor takes along those that have its namespaces, when it is started."""
        if donor in self._known:
            return self._known[donor].stage is MonitorStage.WAITING
        return "/" in donor and donor not in self._running_donors

    # Namespaces of one that was started anew

    def _joiners(self, name: str) -> list[str]:
        return [other for other in self._known if name in self.host.donors(other)]

    def _hear_of_donor(self, event: DonorStarted | DonorEnded) -> None:
        """Of one of another project, which does not know who has its namespaces."""
        if isinstance(event, DonorEnded):
            self._running_donors.discard(event.donor)
            return
        self._running_donors.add(event.donor)
        clock = trio.current_time() - time.time()
        ended = None if event.ended is None else event.ended + clock
        self._take_along(event.donor, event.at + clock, ended, SLOW)
        self._tell()

    def _take_along(self, name: str, begun: float, ended: float | None, late: float = AT_ONCE) -> None:
        """Have those that are in the namespaces of a run of `name` before this one, which began at `begun`, join anew.

        They run, wait for it, or were killed with its process namespace when that run `ended`, which may have been told
        `late` seconds before or after.
        """
        for other in self._joiners(name):
            known = self._known[other]
            if known.stage is MonitorStage.RUNNING:
                if known.started < begun:
                    known.rejoins = True
                    self._nursery.start_soon(self._end, other)
            elif known.stage is MonitorStage.WAITING:
                if known.task is None:
                    self._come_back(other, known)
            elif known.exit_code == 137 and not known.supervision.stop_requested and _at_once(known.ended, ended, late):
                self._come_back(other, known)

    def _come_back(self, name: str, known: _Known) -> None:
        """Start it again whatever its policy says, and without counting that."""
        before, known.rejoins = known.supervision, False
        known.supervision = replace(before, restarts=before.restarts - 1, attempts=before.attempts - 1)
        self._step(name, MonitorEvent.ENDED_TO_RETURN)

    async def _end(self, name: str) -> None:
        """Stop it as a plan does; it comes back because it `rejoins` or `renews`."""
        container = next((c for c in self.host.observe().containers if c.name == name), None)
        if container is None:
            return
        grace = DEFAULT_GRACE if container.stop_grace_period is None else container.stop_grace_period
        try:
            with trio.move_on_after(max(grace, 0)):
                await self.host.signal_container(name, signal_number(container.stop_signal or "") or SIGTERM)
                await self.host.await_exit(name)
                return
            await self.host.kill_container(name)
        except HostError as error:
            self._warn(f"{name} could not be stopped to be started again: {error}")

    def _watch(self, name: str, known: _Known) -> None:
        if known.probe is not None:
            known.task = trio.CancelScope()
            self._nursery.start_soon(self._check, name, known, known.probe, known.task)

    async def _check(self, name: str, known: _Known, probe: lifecycle.Probe, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                ran = trio.current_time() - known.started
                await trio.sleep(lifecycle.probe_wait(probe, known.supervision, ran))
                latest = await self._probe(name, probe)
                before = known.supervision
                ran = trio.current_time() - known.started
                after = lifecycle.probed(probe, before, latest.exit_code == 0, ran)
                known.supervision = replace(after, probes=lifecycle.kept(before, latest))
                if after != before or latest.exit_code:  # one that passes once more is no reason to write
                    self.host.remember(name, known.supervision)
                if after.health != before.health:
                    output = " ".join(latest.output.split())
                    why = {"exitCode": str(latest.exit_code), "output": output} if latest.exit_code else {}
                    self._publish(name, f"health_status: {after.health}", **why)
                    if lifecycle.renews(known.policy, known.supervision, known.ran):
                        known.renews = True
                        self._nursery.start_soon(self._end, name)
                    await self._balance(known.service)
                    self._tell()

    async def _probe(self, name: str, probe: lifecycle.Probe) -> HealthProbe:
        """One run of its health check."""
        began = time.time()
        with trio.move_on_after(probe.timeout):
            try:
                result = await self.host.exec_container(name, probe.command)
                return HealthProbe(began, time.time(), result.exit_code, result.output.decode(errors="replace"))
            except HostError as error:
                return HealthProbe(began, time.time(), error.exit_code, str(error))
        return HealthProbe(began, time.time(), -1, f"Health check exceeded timeout ({probe.timeout:g}s)")


def _dependency(wanted: AwaitCondition) -> str:
    """What comes before the reason where somebody depends on what is waited for."""
    return "" if wanted.condition == "running_or_healthy" else "dependency failed to start: "


def _at_once(one: float | None, other: float | None, late: float) -> bool:
    return one is not None and other is not None and abs(one - other) < late
