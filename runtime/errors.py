"""Errors of containers and their keeper. One base; fields, not only text."""

from __future__ import annotations

import os

from pycompose import shortages
from pycompose.errors import PycomposeError


class RuntimeFailure(PycomposeError):
    """Base of this folder's errors."""


class KeeperGone(RuntimeFailure):
    """The keeper cannot be reached, or died while it was being asked."""


class NoKeeper(KeeperGone):
    """Nobody listens at the keeper's socket: nothing was asked yet."""


class NoSuchContainer(RuntimeFailure):
    def __init__(self, container_id: str) -> None:
        super().__init__(f'no container "{container_id}" runs here')
        self.container_id = container_id


class StartFailed(RuntimeFailure):
    """A process could not be made: `step` is what it was doing, `exit_code` 125, 126 or 127.

    Its text lacks the subject, which is known by another name where it is told.
    """

    def __init__(self, container_id: str, step: str, message: str, errno: int = 0, exit_code: int = 125) -> None:
        text = f"cannot be started: {message}" if step in ("exec", "start") else f"cannot be started: {step}: {message}"
        super().__init__(text, hint=shortages.hint(errno), exit_code=exit_code)
        self.container_id, self.step, self.reason, self.errno = container_id, step, message, errno


class LimitRefused(RuntimeFailure):
    """The kernel does not take a limit: `option` is the compose file's word, `file` and `value` what was tried."""

    def __init__(self, option: str, file: str, value: str, errno: int) -> None:
        super().__init__(f"{option}: the kernel refuses {value!r} for {file}: {os.strerror(errno)}")
        self.option, self.file, self.value, self.errno = option, file, value, errno


class ProfileError(RuntimeFailure):
    """A container cannot be had with these privileges: `option` is the compose file's word."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(f"{option}: {message}")
        self.option, self.reason = option, message
