"""The one base of errors of this folder, and how an error looks to a person.

`PycomposeError` says what cannot be done and names the thing; `hint` says what to try. `FileError` adds the place in a
compose file. Nothing else may reach the user: the command line turns these into text and an exit code, once.
"""

from __future__ import annotations

from pycompose.frozen import dataclass


class PycomposeError(Exception):
    def __init__(self, message: str, *, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file; line and column count from 1."""

    path: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong (or, as a warning, odd) in a file."""

    message: str
    position: Position | None = None
    hint: str = ""
    code: str = ""  # short and stable, for machines: "unknown-key"

    def __str__(self) -> str:
        text = f"{self.position}: {self.message}" if self.position else self.message
        return f"{text}\nhint: {self.hint}" if self.hint else text


class FileError(PycomposeError):
    """A compose file cannot be used. `problems` holds all that were found, in the order of the file.

    `warnings` are what else was odd in it, for whom wants to hear all.
    """

    def __init__(self, problems: tuple[Problem, ...], warnings: tuple[Problem, ...] = ()) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = problems
        self.warnings = warnings


class ConditionFailed(PycomposeError):
    """What a dependent waits for can no longer come about."""
