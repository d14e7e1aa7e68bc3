"""Carries out a plan: one trio task a step, each waiting for the steps that it must come after.

The states of a step are the table in `step_states`; its event is set only on success. A step that fails stops those
that depend on it; others go on, and what failed is raised together at the end. This module decides nothing: what to do
and in which order is the plan's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import field
from signal import SIGKILL, SIGTERM
from typing import Literal, Protocol, assert_never

import trio
from pycompose import shortages
from pycompose.compose.model.errors import ConditionFailed
from pycompose.compose.model.fields import EMPTY, no_text
from pycompose.compose.model.pre_start import shown_as
from pycompose.compose.model.project import Project
from pycompose.compose.plan.steps import (
    Action,
    AwaitCondition,
    ConfirmReady,
    ConnectNetwork,
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    DisconnectNetwork,
    KillContainer,
    PauseContainer,
    Plan,
    RemoveContainer,
    RemoveNetwork,
    RemoveVolume,
    RenameContainer,
    RunHook,
    RunProvider,
    StartContainer,
    Step,
    StopContainer,
    UnpauseContainer,
)
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass
from pycompose.signal_names import signal_number

from . import hooks
from .hooks import HookFailed
from .host import Host
from .provider_outcomes import ProviderOutcomes
from .step_states import TRANSITIONS, Occurrence, Reached


@dataclass(frozen=True, slots=True)
class StepEvent:
    """`cause` is why the step is there; of failed and skipped, why it failed or was not begun; of a warning, it.

    Of output it is what a hook of `container` wrote: whole lines; `hook` is what that hook is called, where it is not
    by its container.
    """

    step: str
    state: Reached | Literal["warning", "output"]
    cause: str = ""
    container: str = ""
    hook: str = ""
    ready: Mapping[str, str] = field(default_factory=no_text)  # of a condition that is met: container -> how it is


class Conditions(Protocol):
    """What a step asks of the one who attends to containers."""

    async def await_ready(
        self, waits: tuple[AwaitCondition, ...], tell: Callable[[str], None] = ...
    ) -> Mapping[str, str]:
        """Return when all are met at one moment: container -> how it is. Raises ConditionFailed.

        `tell` gets what whoever waits should know meanwhile, in words.
        """

    def explanation(self, waits: Iterable[AwaitCondition]) -> str:
        """How the last health checks of those containers failed, and which keep ending; empty where none did."""

    async def await_return(self, name: str) -> None:
        """Return when no start of its restart policy is under way."""

    def stopping(self, name: str, *, returns: bool = False) -> bool:
        """`name` is stopped on purpose: its restart policy rests. False: it waited for its back-off to pass.

        That is on record before anything is done, so that nobody starts the container again. `returns`: it, or what
        replaces it, is started afterwards.
        """

    def starting(self, name: str) -> None:
        """`name` is started on purpose: what was known of its health and restarts is forgotten, on record too."""

    def staying(self, name: str) -> None:
        """`name` is not started after all."""


class OneOffFailed(PycomposeError):
    """The program of a one-off container could not be started; the code is 125, 126 or 127, as of `docker run`."""


class StepsFailed(PycomposeError):
    """`failures`: step id and error, in the order in which they failed.

    The exit code is a hook's that failed; 127 and the like are of commands that one runs, not of a plan.
    """

    def __init__(self, failures: tuple[tuple[str, Exception], ...]) -> None:
        codes = [e.exit_code for _, e in failures if isinstance(e, HookFailed | OneOffFailed)]
        hints = dict.fromkeys(filter(None, (_hint(error) for _, error in failures)))
        super().__init__(
            "\n".join(dict.fromkeys(shortages.reason(error) for _, error in failures)),
            hint="\n".join(hints),
            exit_code=codes[0] if codes else 1,
        )
        self.failures = failures


def _hint(error: Exception) -> str:
    return error.hint if isinstance(error, PycomposeError) else shortages.hint(shortages.number(error))


async def run(
    plan: Plan,
    project: Project,
    generation: str,
    host: Host,
    conditions: Conditions,
    report: Callable[[StepEvent], None],
    *,
    parallel: int | None = None,
    publish: Callable[[str, str], None] = lambda name, action: None,
    attached: tuple[str, ...] = (),
    outcomes: ProviderOutcomes | None = None,
) -> None:
    """Raises StepsFailed when any step failed. At most `parallel` steps act at once; waiting steps do not count.

    `publish` gets a container's name and what happened to it, beyond what the host tells; `attached` are services whose
    output somebody follows, `outcomes` those of the steps that run providers.
    """
    outcomes = outcomes or ProviderOutcomes()
    await _Run(plan, project, generation, host, conditions, report, parallel, publish, attached, outcomes).run()


class _Run:
    def __init__(
        self,
        plan: Plan,
        project: Project,
        generation: str,
        host: Host,
        conditions: Conditions,
        report: Callable[[StepEvent], None],
        parallel: int | None,
        publish: Callable[[str, str], None],
        attached: tuple[str, ...],
        outcomes: ProviderOutcomes,
    ) -> None:
        self.publish, self.attached, self.outcomes = publish, attached, outcomes
        actions = [step.action for step in plan.steps]
        stopped = {action.name for action in actions if isinstance(action, StopContainer)}
        self.starts = {step.action.name: step.id for step in plan.steps if isinstance(step.action, StartContainer)}
        self.restarting = self.starts.keys() & stopped
        self.one_offs = {action.name for action in actions if isinstance(action, CreateContainer) and action.one_off}
        replaced = {action.new_name for action in actions if isinstance(action, RenameContainer)}
        self.returning = self.restarting | (self.starts.keys() & replaced)
        self.plan, self.project, self.generation = plan, project, generation
        self.host, self.conditions, self.report = host, conditions, report
        self.limit = trio.CapacityLimiter(parallel) if parallel else None
        self.done = {step.id: trio.Event() for step in plan.steps}
        self.scopes = {step.id: trio.CancelScope() for step in plan.steps}
        self.dependents: dict[str, list[str]] = {step.id: [] for step in plan.steps}
        for step in plan.steps:
            for before in step.after:
                self.dependents[before].append(step.id)
        self.states: dict[str, Literal["waiting"] | Reached] = {step.id: "waiting" for step in plan.steps}
        self.told: set[str] = set()
        self.ready: dict[str, Mapping[str, str]] = {}
        self.failures: list[tuple[str, Exception]] = []
        self._deaf: set[str] = set()  # services of which it was said that they did not end when asked

    async def run(self) -> None:
        seconds = float("inf") if self.plan.timeout is None else self.plan.timeout
        try:
            with trio.move_on_after(max(seconds - self.plan.spent, 0)) as time_limit:
                async with trio.open_nursery() as nursery:
                    for step in self.plan.steps:
                        nursery.start_soon(self._step, step)
            if time_limit.cancelled_caught:
                self._out_of_time(seconds)
        finally:
            for name, step_id in self.starts.items():
                if self.states[step_id] != "done":
                    self.conditions.staying(name)
        if self.failures:
            raise StepsFailed(tuple(self.failures))

    def _out_of_time(self, seconds: float) -> None:
        """Steps that were under way are undone; the waits among them are why there was no end."""
        left = [step for step in self.plan.steps if self.states[step.id] in ("waiting", "started")]
        under_way = [step for step in left if self.states[step.id] == "started"]
        waits = [step.action for step in under_way if isinstance(step.action, AwaitCondition)]
        actions = (step.action for step in under_way)
        names = ", ".join(dict.fromkeys(a.service for a in actions if isinstance(a, AwaitCondition | RunProvider)))
        error = ConditionFailed(
            f"application not healthy after {seconds:g}s" + (f": {names} not ready" if names else ""),
            hint=self.conditions.explanation(waits),
        )
        for step in left:
            occurrence: Occurrence = "raised" if step in under_way else "need failed"
            self._move(step.id, occurrence, str(error) if step in under_way else "out of time")
        self.failures.append((left[0].id if left else "", error))

    async def _step(self, step: Step) -> None:
        with self.scopes[step.id]:
            for before in step.after:
                await self.done[before].wait()
        if self.states[step.id] != "waiting":
            return
        # A condition waits for others' work, so it must not hold one of their places.
        limited = self.limit is not None and not isinstance(step.action, AwaitCondition | ConfirmReady)
        async with self.limit if limited and self.limit is not None else nullcontext():
            self._move(step.id, "began", step.cause)
            try:
                self.ready[step.id] = await self._perform(step.id, step.action) or EMPTY
            except Exception as error:
                self._move(step.id, "raised", shortages.reason(error))
                self.failures.append((step.id, error))
                self._skip_dependents(step.id, f"{step.id} failed")
            else:
                self._pass_on_notes(step)
                self._move(step.id, "performed", step.cause)
                self.done[step.id].set()

    def _move(self, step: str, occurrence: Occurrence, cause: str) -> None:
        reached = TRANSITIONS[self.states[step], occurrence]
        self.states[step] = reached
        self.report(StepEvent(step, reached, cause, ready=self.ready.get(step, EMPTY)))

    def _pass_on_notes(self, step: Step) -> None:
        if isinstance(step.action, CreateContainer | StartContainer):
            for note in self.host.notes(step.action.name):
                text = note.text if note.of_machine else f'service "{step.action.service}": {note.text}'
                if text not in self.told:  # replicas all say the same
                    self.told.add(text)
                    self.report(StepEvent(step.id, "warning", text))

    def _skip_dependents(self, step_id: str, why: str) -> None:
        pending = list(self.dependents[step_id])
        while pending:
            step = pending.pop(0)
            if self.states[step] == "waiting":
                self.scopes[step].cancel()
                self._move(step, "need failed", why)
                pending += self.dependents[step]

    def _perform(self, step: str, action: Action) -> Awaitable[Mapping[str, str] | None]:
        host = self.host
        match action:
            case CreateNetwork(network):
                return host.create_network(network)
            case RemoveNetwork(name):
                return host.remove_network(name)
            case CreateVolume(volume):
                return host.create_volume(volume)
            case RemoveVolume(name, remade):
                return host.remove_volume(name, remade=remade)
            case CreateContainer(name, service, number):
                return host.create_container(
                    self.project,
                    self.generation,
                    service,
                    name,
                    number,
                    inherit=action.inherit,
                    replaces=action.replaces,
                    one_off=action.one_off,
                )
            case StartContainer(name, service):
                return self._start(step, name, service)
            case RunHook(name, service, index):
                return hooks.run_beside(host, action, self._teller(step, name, shown_as(service, index)))
            case RunProvider(service):
                return self._provide(step, service)
            case StopContainer():
                return self._stop(step, action)
            case KillContainer(name, _, word):
                return self._kill(name, word)
            case RemoveContainer(name, _, volumes):
                return host.remove_container(name, volumes=volumes)
            case RenameContainer(name, new_name):
                return host.rename_container(name, new_name)
            case ConnectNetwork(name, network, aliases, ipv4, ipv6):
                return host.connect_network(name, network, aliases, ipv4, ipv6)
            case DisconnectNetwork(name, network):
                return host.disconnect_network(name, network)
            case PauseContainer(name, _):
                return host.pause_container(name)
            case UnpauseContainer(name, _):
                return host.unpause_container(name)
            case AwaitCondition():
                return self._await(step, action)
            case ConfirmReady(waits):
                return self.conditions.await_ready(waits)
            case _:
                assert_never(action)

    async def _provide(self, step: str, service: str) -> None:
        outcome = await self.outcomes.of(step)
        if outcome.project is not None:
            self.project, self.generation = outcome.project, outcome.generation
        if outcome.superseded:
            self._skip_dependents(step, f"variables of {service} changed")

    async def _await(self, step: str, wanted: AwaitCondition) -> Mapping[str, str]:
        """A condition of a dependency that is not required is only told of when it fails."""
        try:
            return await self.conditions.await_ready(
                (wanted,), lambda text: self.report(StepEvent(step, "warning", text))
            )
        except ConditionFailed as error:
            if wanted.required:
                raise
            self.report(StepEvent(step, "warning", f"{error} (the dependency is not required)"))
            return EMPTY

    async def _start(self, step: str, name: str, service: str) -> None:
        if name not in self.one_offs:
            self.conditions.starting(name)
        if service in self.attached:
            self.publish(name, "attach")
        try:
            await self.host.start_container(name)
        except PycomposeError as failure:
            if name not in self.one_offs:
                raise
            raise OneOffFailed(str(failure), hint=failure.hint, exit_code=failure.exit_code) from failure
        described = self.project.services.get(service)
        for hook in described.post_start if described else ():
            if error := await hooks.run_inside(self.host, "post_start", name, service, hook, self._teller(step, name)):
                raise HookFailed(str(error), hint=error.hint) from error  # as docker compose: 1, whatever its code
        if name in self.restarting:
            self.publish(name, "restart")

    async def _stop(self, step: str, action: StopContainer) -> None:
        name, service = action.name, self.project.services.get(action.service)
        await self.conditions.await_return(name)
        if not self.conditions.stopping(name, returns=name in self.returning):
            return  # there is no process
        await self.host.serve(name, healthy=False)
        if action.paused:
            await self.host.unpause_container(name)
        for hook in service.pre_stop if service else ():
            error = await hooks.run_inside(self.host, "pre_stop", name, action.service, hook, self._teller(step, name))
            if error:  # it is stopped all the same
                self.failures.append((step, error))
                self.report(StepEvent(step, "warning", str(error)))
                break
        with trio.move_on_after(max(action.grace, 0)) as patience:
            if action.grace <= 0:
                patience.cancel()
            # An image may name anything: what is no signal is SIGTERM, as with Docker.
            await self.host.signal_container(name, signal_number(action.signal) or SIGTERM)
            await self.host.await_exit(name)
            self.publish(name, "stop")
            return
        if action.grace > 0 and action.service not in self._deaf:  # of many replicas one is named
            self._deaf.add(action.service)
            self.report(StepEvent(step, "warning", _ignored(action, has_init=bool(service and service.init))))
        await self.host.kill_container(name)
        self.publish(name, "stop")

    def _teller(self, step: str, name: str, hook: str = "") -> Callable[[str], None]:
        """Takes lines that a hook of the container `name` wrote."""
        return lambda text: self.report(StepEvent(step, "output", text, name, hook))

    async def _kill(self, name: str, word: str) -> None:
        number = signal_number(word)
        if number is None:
            raise PycomposeError(f"no such signal: {word}")
        if number == SIGKILL:
            await self.conditions.await_return(name)
            self.conditions.stopping(name)
            await self.host.kill_container(name)
        else:
            await self.host.signal_container(name, number)


def _ignored(action: StopContainer, *, has_init: bool) -> str:
    """Why a stop took all of the container's grace period, which nobody sees otherwise."""
    text = f"{action.name} went on for {action.grace:g}s after {action.signal} and is killed"
    if has_init:
        return text
    return f"{text}; a first process hears only the signals that it asked for: `init: true` helps, or stop_signal"
