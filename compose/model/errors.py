"""Errors of compose files and of waiting, on the base that all folders share; the problems of a file as values."""

from __future__ import annotations

from collections.abc import Iterable

from pycompose.errors import Place, PycomposeError
from pycompose.frozen import dataclass

from .suggest import suggestion


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong (or, as a warning, odd) in a file."""

    message: str
    position: Place | None = None
    hint: str = ""
    code: str = ""  # short and stable, for machines: "unknown-key"

    def __str__(self) -> str:
        text = f"{self.position}: {self.message}" if self.position else self.message
        return f"{text}\nhint: {self.hint}" if self.hint else text


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What keeps the containers of a service from being made, though its file is valid: a fault of their plan.

    With `beside` it is in the way only where that service has containers too.
    """

    service: str
    problem: Problem
    beside: str = ""


class FileError(PycomposeError):
    """A compose file cannot be used. `problems` holds all that were found, in the order of the file.

    `warnings` are what else was odd in it, for whom wants to hear all.
    """

    def __init__(self, problems: tuple[Problem, ...], warnings: tuple[Problem, ...] = ()) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        if len(problems) == 1:
            self.place = problems[0].position  # its hint is in the text
        self.problems = problems
        self.warnings = warnings


class ConditionFailed(PycomposeError):
    """What a dependent waits for can no longer come about."""


class NoSuchService(PycomposeError):
    """A service that is asked for is not among the `known` ones; the hint names the nearest, or all of them."""

    def __init__(self, service: str, known: Iterable[str] = ()) -> None:
        names = sorted(set(known) - {""})
        hint = suggestion(service, names, 0.5) or (f"services are: {', '.join(names)}" if names else "")
        super().__init__(self.text(service), hint=hint)
        self.service = service

    @staticmethod
    def text(service: str) -> str:
        return f"no such service: {service}"
