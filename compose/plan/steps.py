"""A plan: steps with what each must come after and why it is there. Data only; `scheduler` carries it out.

Rules: a step names everything it touches (the planner picks every name), so no step needs another's result. `after`
holds ids of steps that must have succeeded. `reason` is for code; `cause` is the same in words, for people: "no such
container", "configuration changed: environment", "scale down". Plans print (`render`) in a stable order: that is
`--dry-run`, and the golden tests. The ids of steps are made in `draft`, and nowhere else.
"""

from __future__ import annotations

from typing import Literal

from pycompose.compose.model.observed import OneOff
from pycompose.compose.model.project import Condition, Network, Volume
from pycompose.frozen import dataclass

DEFAULT_SIGNAL = "SIGTERM"
DEFAULT_GRACE = 10.0  # seconds

Reason = Literal[
    "asked",  # the command says so: down, stop, restart, kill, …
    "missing",  # no such container, network or volume
    "dependency",  # a condition of `depends_on`
    "naming",  # takes the name of what it replaces
    "created",  # was made and never started
    "not_running",
    "paused",
    "changed",  # configuration, image or networks; or a recreation was asked for
    "related",  # what it shares with, or depends on with `restart`, is made anew
    "scaled",
    "orphan",
    "leftover",  # of a recreation that broke off, or of a hook
    "hook",  # the file says so: pre_start
]


ProviderVerb = Literal["up", "stop", "down"]

# How a container is that was waited for: "running" is said of one that nobody checks.
Readiness = Literal["healthy", "running", "exited"]


@dataclass(frozen=True, slots=True)
class CreateNetwork:
    network: Network


@dataclass(frozen=True, slots=True)
class RemoveNetwork:
    name: str


@dataclass(frozen=True, slots=True)
class CreateVolume:
    volume: Volume


@dataclass(frozen=True, slots=True)
class RemoveVolume:
    """`remade`: it is made again at once, so that containers of this project that do not run may have it."""

    name: str
    remade: bool = False


@dataclass(frozen=True, slots=True)
class CreateContainer:
    """Make a container of `service`. `inherit` names the container whose anonymous volumes go on.

    The number of a one-off container is 0.
    """

    name: str
    service: str
    number: int
    inherit: str | None = None
    replaces: str | None = None  # id of the container that it will take the name of
    one_off: OneOff | None = None


@dataclass(frozen=True, slots=True)
class StartContainer:
    name: str
    service: str


@dataclass(frozen=True, slots=True)
class RunHook:
    """Run the pre_start hook `index` of `service` to its end, in a container of its own called `name`.

    It has the volumes of the container `beside`, which is made and does not run. One that fails keeps its container.
    """

    name: str
    service: str
    index: int
    beside: str


@dataclass(frozen=True, slots=True)
class RunProvider:
    """Have the provider of `service` do `verb`, in the process of the command, which tells how it went."""

    service: str
    verb: ProviderVerb


@dataclass(frozen=True, slots=True)
class StopContainer:
    """Ask with `signal`; kill after `grace` seconds. `paused`: it is frozen, and must run to be asked."""

    name: str
    service: str
    signal: str = DEFAULT_SIGNAL
    grace: float = DEFAULT_GRACE
    paused: bool = False


@dataclass(frozen=True, slots=True)
class KillContainer:
    name: str
    service: str
    signal: str = "SIGKILL"


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    name: str
    service: str
    volumes: bool = False  # its anonymous volumes too


@dataclass(frozen=True, slots=True)
class RenameContainer:
    name: str
    new_name: str


@dataclass(frozen=True, slots=True)
class ConnectNetwork:
    """Put a container on one network more: at once where it runs, else from its next start."""

    name: str
    network: str
    aliases: tuple[str, ...] = ()
    ipv4_address: str | None = None
    ipv6_address: str | None = None


@dataclass(frozen=True, slots=True)
class DisconnectNetwork:
    name: str
    network: str


@dataclass(frozen=True, slots=True)
class PauseContainer:
    name: str
    service: str


@dataclass(frozen=True, slots=True)
class UnpauseContainer:
    name: str
    service: str


@dataclass(frozen=True, slots=True)
class AwaitCondition:
    """Wait until all containers of a service meet a condition (for completion the first exit is enough).

    `running_or_healthy` is what `--wait` asks: healthy; where nothing is checked, running for a while; or ended with 0
    for good. A dependency with required=False that fails is a warning, no error.
    """

    service: str
    containers: tuple[str, ...]
    condition: Condition | str
    required: bool = True


@dataclass(frozen=True, slots=True)
class ConfirmReady:
    """Wait until all that was waited for is ready at one moment: what was ready first may have ended since."""

    waits: tuple[AwaitCondition, ...]


Action = (
    CreateNetwork
    | RemoveNetwork
    | CreateVolume
    | RemoveVolume
    | CreateContainer
    | StartContainer
    | RunHook
    | RunProvider
    | StopContainer
    | KillContainer
    | RemoveContainer
    | RenameContainer
    | ConnectNetwork
    | DisconnectNetwork
    | PauseContainer
    | UnpauseContainer
    | AwaitCondition
    | ConfirmReady
)


@dataclass(frozen=True, slots=True)
class Step:
    id: str  # short, stable and readable: "create web-1"
    action: Action
    cause: str
    after: tuple[str, ...] = ()
    reason: Reason = "asked"


@dataclass(frozen=True, slots=True)
class Plan:
    project: str
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    timeout: float | None = None  # seconds in which the whole command is to be done
    spent: float = 0.0  # of them, when this was decided
    running: tuple[str, ...] = ()  # containers of the services asked for that run as they are to


def render(plan: Plan) -> str:
    """The plan as lines of text, each step after all that it must come after; "" where there is nothing to do."""
    lines = [f"warning: {warning}" for warning in plan.warnings]
    for step in plan.steps:
        lines.append(f"{step.id}  ({step.cause})")
        if step.after:
            lines.append(f"    after {', '.join(step.after)}")
    return "".join(f"{line}\n" for line in lines)
