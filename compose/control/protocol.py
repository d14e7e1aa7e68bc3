"""Messages on a project's control socket: JSON, one a line, each a frozen dataclass below.

The pairs; the first answer to any request is Hello, the last is RequestDone or RequestFailed:

    CarryOut + [lock]   -> (StepProgress | Notice | HookOutput)*    the steps of a plan, as they go
    ProviderEnded       -> (nothing)                on the same connection: how a step went that the client does
    Attach              -> (nothing)                somebody follows a container from now on
    AwaitRemoval        -> (nothing)                once no container has that name
    Ping                -> (nothing)                Hello says which process answers

A request may bring descriptors: they stay open until it is dealt with, so a lock that a client holds is held as long
as its work is being undone, even when the client was killed. Who goes away cancels what it asked for. Rules: imports
neither trio nor anything that acts; a kind of answer that is not known is passed over, so that a client may be older
than its supervisor. A project does not travel: it is the generation on disk of that digest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from pycompose.compose.model.codec import from_json, to_json
from pycompose.compose.model.fields import no_text
from pycompose.compose.plan.steps import Plan
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

StepState = Literal["started", "done", "failed", "skipped"]


class ControlError(PycomposeError):
    """The supervisor cannot be reached, broke off, or answered with an error."""


@dataclass(frozen=True, slots=True)
class CarryOut:
    """`generation` is the digest of the project on disk, "" for none; `attached` the services somebody follows."""

    plan: Plan
    generation: str = ""
    parallel: int = 0  # steps that act at once; 0: no limit
    attached: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProviderEnded:
    """How the RunProvider step `step` of the plan went; `failure` says why it failed.

    `generation` is the digest of the project with what the provider told, "" where that is nothing; `superseded`: what
    comes after the step is planned anew, and not done.
    """

    step: str
    generation: str = ""
    superseded: bool = False
    failure: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Attach:
    container: str  # name


@dataclass(frozen=True, slots=True)
class AwaitRemoval:
    container: str  # name


@dataclass(frozen=True, slots=True)
class Ping:
    pass


Request = CarryOut | Attach | AwaitRemoval | Ping
Message = Request | ProviderEnded


@dataclass(frozen=True, slots=True)
class Hello:
    pid: int


@dataclass(frozen=True, slots=True)
class StepProgress:
    """`cause` is why the step is there; of failed and skipped, why it failed or was not begun.

    `ready`: of a condition that is met, container -> healthy, running or exited.
    """

    step: str
    state: StepState
    cause: str = ""
    ready: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning about the work that goes on."""

    text: str


@dataclass(frozen=True, slots=True)
class HookOutput:
    """What a hook of a container wrote: whole lines.

    `hook` is what it is called, where that is not by its container.
    """

    container: str  # name
    text: str
    hook: str = ""


@dataclass(frozen=True, slots=True)
class RequestDone:
    pass


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """`internal`: an error of the supervisor's own code, not of what was asked."""

    message: str
    hint: str = ""
    exit_code: int = 1
    internal: bool = False


Report = StepProgress | Notice | HookOutput
Answer = Hello | Report | RequestDone | RequestFailed


def encode(message: Message | Answer) -> bytes:
    return to_json(message).encode() + b"\n"


def decode_request(line: bytes) -> Request:
    """Raises ControlError for what is no request."""
    message = _decode(line, Request)
    if not isinstance(message, Request):
        raise ControlError("this is no request that the supervisor knows")
    return message


def decode_ended(line: bytes) -> ProviderEnded:
    """Raises ControlError for anything else."""
    message = _decode(line, ProviderEnded)
    if not isinstance(message, ProviderEnded):
        raise ControlError("a client said something else than how a step went")
    return message


def decode_answer(line: bytes) -> Answer | None:
    """None for a kind of a later version. Raises ControlError for what is no JSON."""
    message = _decode(line, Answer)
    return message if isinstance(message, Answer) else None


def _decode(line: bytes, kinds: Any) -> object:
    """None for an object that is none of `kinds`."""
    try:
        return from_json(kinds, line)
    except json.JSONDecodeError as error:
        raise ControlError("the control socket carries something that is no JSON") from error
    except ValueError:
        return None
