"""What can go wrong in a build. Each names the Dockerfile's line where one is to blame."""

from __future__ import annotations

from pycompose.frozen import dataclass
from pycompose.runtime.images.errors import ImageError


@dataclass(frozen=True, slots=True)
class Position:
    file: str
    line: int  # from 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class BuildError(ImageError):
    """A Dockerfile or a build that cannot be; `position` is where, `hint` what to try."""

    def __init__(self, message: str, hint: str = "", position: Position | None = None) -> None:
        super().__init__(f"{position}: {message}" if position else message, hint)
        self.message, self.position = message, position


class RunFailed(BuildError):
    """A RUN step ended with `code`; `tail` are its last lines, `step` is what it was."""

    def __init__(self, step: str, code: int, tail: tuple[str, ...], position: Position) -> None:
        lines = "".join(f"\n  | {line}" for line in tail)
        super().__init__(f"{step}\ndid not complete successfully: exit code {code}{lines}", position=position)
        self.step, self.code, self.tail = step, code, tail
