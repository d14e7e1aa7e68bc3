"""A plan in the making: typed constructors of steps, and the only place where their ids are spelled.

Each constructor adds one step and returns its id, for `after` of later steps. A condition that nothing waits for is
left out of the finished plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pycompose.compose.model.observed import ObservedContainer
from pycompose.compose.model.project import Dependency, Network, Volume
from pycompose.frozen import dataclass

from .steps import (
    DEFAULT_GRACE,
    DEFAULT_SIGNAL,
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
    Reason,
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

RUNNING = ("running", "paused", "restarting")


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a step is there: `reason` for code, `text` for people."""

    reason: Reason
    text: str


def asked(command: str) -> Cause:
    """The cause of a step that a command names: "down", "stop", "--wait"."""
    return Cause("asked", command)


def not_running(container: ObservedContainer) -> Cause:
    return Cause("created" if container.status == "created" else "not_running", f"not running: {container.status}")


def is_running(container: ObservedContainer) -> bool:
    """Whether a container has processes, or will have some when its back-off has passed."""
    return container.status in RUNNING


class Draft:
    """`timeout`: seconds that stopped containers get, instead of each one's grace period."""

    def __init__(self, project: str, timeout: float | None = None) -> None:
        self.project, self.timeout = project, timeout
        self.steps: dict[str, Step] = {}
        self.warnings: list[str] = []
        self.deadline: float | None = None  # seconds in which all of the plan is to be done
        self.running: list[str] = []  # containers that are left as they are

    def plan(self) -> Plan:
        needed = {before for step in self.steps.values() for before in step.after}
        steps = (step for step in self.steps.values() if step.id in needed or step.reason != "dependency")
        return Plan(self.project, tuple(steps), tuple(self.warnings), self.deadline, running=tuple(self.running))

    # networks and volumes

    def create_network(self, network: Network, cause: Cause, after: Iterable[str] = ()) -> str:
        return self._add(f"create network {network.name}", CreateNetwork(network), cause, after)

    def remove_network(self, name: str, cause: Cause, after: Iterable[str] = ()) -> str:
        return self._add(f"remove network {name}", RemoveNetwork(name), cause, after)

    def create_volume(self, volume: Volume, cause: Cause, after: Iterable[str] = ()) -> str:
        return self._add(f"create volume {volume.name}", CreateVolume(volume), cause, after)

    def remove_volume(self, name: str, cause: Cause, after: Iterable[str] = (), *, remade: bool = False) -> str:
        return self._add(f"remove volume {name}", RemoveVolume(name, remade), cause, after)

    # containers

    def create(self, action: CreateContainer, cause: Cause, after: Iterable[str] = ()) -> str:
        return self._add(f"create {action.name}", action, cause, after)

    def start(self, name: str, service: str, cause: Cause, after: Iterable[str] = ()) -> str:
        return self._add(_start_id(name), StartContainer(name, service), cause, after)

    def run_hook(self, action: RunHook, cause: Cause, after: Iterable[str]) -> str:
        return self._add(f"run {action.name}", action, cause, (*after, *self.removal(action.name)))

    def stop(self, container: ObservedContainer, cause: Cause, after: Iterable[str] = ()) -> str:
        grace = self.timeout if self.timeout is not None else container.stop_grace_period
        action = StopContainer(
            container.name,
            container.service,
            container.stop_signal or DEFAULT_SIGNAL,
            DEFAULT_GRACE if grace is None else grace,
            container.status == "paused",
        )
        return self._add(f"stop {container.name}", action, cause, after)

    def kill(self, container: ObservedContainer, signal: str, cause: Cause) -> str:
        return self._add(f"kill {container.name}", KillContainer(container.name, container.service, signal), cause)

    def remove(
        self, container: ObservedContainer, cause: Cause, after: Iterable[str] = (), *, volumes: bool = False
    ) -> str:
        """Remove a container that does not run (any more)."""
        action = RemoveContainer(container.name, container.service, volumes)
        return self._add(_remove_id(container.name), action, cause, after)

    def stop_and_remove(
        self, container: ObservedContainer, cause: Cause, after: Iterable[str] = (), *, volumes: bool = False
    ) -> str:
        if is_running(container):
            after = (self.stop(container, cause, after),)
        return self.remove(container, cause, after, volumes=volumes)

    def rename(self, name: str, new_name: str, after: Iterable[str] = ()) -> str:
        cause = Cause("naming", f"takes the name {new_name}")
        return self._add(f"rename {name}", RenameContainer(name, new_name), cause, after)

    def connect(self, action: ConnectNetwork) -> str:
        return self._add(f"connect {action.name} to {action.network}", action, asked("network connect"))

    def disconnect(self, action: DisconnectNetwork) -> str:
        return self._add(f"disconnect {action.name} from {action.network}", action, asked("network disconnect"))

    def pause(self, container: ObservedContainer, cause: Cause) -> str:
        return self._add(f"pause {container.name}", PauseContainer(container.name, container.service), cause)

    def unpause(self, container: ObservedContainer, cause: Cause, after: Iterable[str] = ()) -> str:
        action = UnpauseContainer(container.name, container.service)
        return self._add(f"unpause {container.name}", action, cause, after)

    # providers

    def run_provider(self, action: RunProvider, cause: Cause, after: Iterable[str]) -> str:
        return self._add(f"provider {action.verb} {action.service}", action, cause, after)

    # conditions

    def condition(self, dependency: Dependency, containers: tuple[str, ...], after: Iterable[str]) -> str:
        """The wait for a condition of `depends_on`; one for all who ask for the same."""
        word = dependency.condition.removeprefix("service_").replace("_", " ")
        step_id = f"await {dependency.service} {word}" + ("" if dependency.required else " (optional)")
        if step_id in self.steps:
            return step_id
        action = AwaitCondition(dependency.service, containers, dependency.condition, dependency.required)
        return self._add(step_id, action, Cause("dependency", "depends_on"), after)

    def wait(self, waits: Mapping[AwaitCondition, Iterable[str]]) -> None:
        """The waits that `--wait` asks for, each after its steps; then a look at all."""
        cause = asked("--wait")
        ends = [self._add(f"wait for {action.service}", action, cause, after) for action, after in waits.items()]
        if len(ends) > 1:
            self._add("confirm all", ConfirmReady(tuple(waits)), cause, ends)

    # steps that are there already

    def starts(self, name: str) -> bool:
        return _start_id(name) in self.steps

    def stops(self, name: str) -> bool:
        return f"stop {name}" in self.steps

    def started(self, name: str) -> str:
        """The step that starts a container, which is there."""
        return _start_id(name)

    def starts_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """The steps that start these containers."""
        return tuple(_start_id(name) for name in names if self.starts(name))

    def removal(self, name: str) -> tuple[str, ...]:
        """The step that removes a container of that name, if one does."""
        return (_remove_id(name),) if _remove_id(name) in self.steps else ()

    def _add(self, step_id: str, action: Action, cause: Cause, after: Iterable[str] = ()) -> str:
        if step_id in self.steps:
            raise AssertionError(f"two steps of a plan are called {step_id!r}")
        self.steps[step_id] = Step(step_id, action, cause.text, tuple(dict.fromkeys(after)), cause.reason)
        return step_id


def _start_id(name: str) -> str:
    return f"start {name}"


def _remove_id(name: str) -> str:
    return f"remove {name}"
