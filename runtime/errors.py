"""What can go wrong with a container. One base; fields, not only text."""

from __future__ import annotations


class RuntimeFailure(Exception):
    """Base of this folder's errors."""


class KeeperGone(RuntimeFailure):
    """The keeper cannot be reached, or died while it was being asked."""


class NoSuchContainer(RuntimeFailure):
    def __init__(self, container_id: str) -> None:
        super().__init__(f'no container "{container_id}" runs here')
        self.container_id = container_id


class StartFailed(RuntimeFailure):
    """The first process could not be made: `step` is what it was doing, `exit_code` 125, 126 or 127."""

    def __init__(self, container_id: str, step: str, message: str, errno: int = 0, exit_code: int = 125) -> None:
        super().__init__(f'container "{container_id}" cannot be started: {step}: {message}')
        self.container_id, self.step, self.message = container_id, step, message
        self.errno, self.exit_code = errno, exit_code
