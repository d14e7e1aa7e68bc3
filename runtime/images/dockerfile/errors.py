"""Errors of builds. Each names the Dockerfile's line where one is to blame."""

from __future__ import annotations

from pycompose.errors import Place
from pycompose.runtime.images.errors import ImageError


class BuildError(ImageError):
    """A Dockerfile or a build that cannot be; `place` is where, `hint` what to try."""

    def __init__(self, message: str, hint: str = "", place: Place | None = None) -> None:
        super().__init__(message, hint, place=place)


class RunFailed(BuildError):
    """A RUN step ended with `code`; `tail` are its last lines, `step` is what it was."""

    def __init__(self, step: str, code: int, tail: tuple[str, ...], place: Place) -> None:
        lines = "".join(f"\n  | {line}" for line in tail)
        super().__init__(f"{step}\ndid not complete successfully: exit code {code}{lines}", place=place)
        self.step, self.code, self.tail = step, code, tail
