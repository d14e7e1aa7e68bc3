"""The one base of all errors, and a place in a file. Each folder's errors stand on `PycomposeError`.

Rules: `message` says what cannot be done and names the thing, in words for a person; `hint` says what to try; `place`
is where in a file the fault lies. What kind of error it is, is its class and its fields, never its words. Standard
library only, for the keeper imports it. It does not print: the command line turns errors into text, once.
"""

from __future__ import annotations

from .frozen import dataclass
from .shortages import hint as way_out
from .shortages import number, reason


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file; line and column count from 1; column 0: the line as a whole."""

    path: str
    line: int
    column: int = 0

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}" if self.column else f"{self.path}:{self.line}"


class PycomposeError(Exception):
    """Something that was asked cannot be done; `exit_code` is the command's (Docker's 125, 126, 127 among them)."""

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 1, place: Place | None = None) -> None:
        super().__init__(f"{place}: {message}" if place else message)
        self.message, self.hint, self.exit_code, self.place = message, hint, exit_code, place

    def __reduce__(self) -> tuple[object, ...]:
        """Errors of whatever arguments go from process to process."""
        return _again, (type(self), self.args), self.__dict__


def _again(kind: type[PycomposeError], arguments: tuple[object, ...]) -> PycomposeError:
    error = kind.__new__(kind)
    error.args = arguments
    return error


class SystemRefused(PycomposeError):
    """The system refused something, about a file or for want of something; the hint is what to try."""

    def __init__(self, error: Exception) -> None:
        only_root = isinstance(error, PermissionError)
        hint = "run it as root, or set PYCOMPOSE_STATE and PYCOMPOSE_RUN" if only_root else ""
        super().__init__(reason(error), hint=hint or way_out(number(error)))
        self.errno = error.errno if isinstance(error, OSError) else number(error)
