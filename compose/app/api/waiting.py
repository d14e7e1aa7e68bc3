"""Waiting for ends of containers, so long."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pycompose import interruption
from pycompose.errors import PycomposeError

from .scope import ProjectScope

if TYPE_CHECKING:
    from pycompose.compose.model.observed import ObservedContainer


class WaitTimeout(PycomposeError, TimeoutError):
    """What is waited for did not come in time."""


@contextmanager
def in_time(timeout: float | None, lacking: str) -> Iterator[None]:
    """The body, broken off after `timeout` seconds. Raises WaitTimeout, which says what was lacking."""
    if timeout is None:
        yield
        return
    with interruption.after(timeout) as ring:
        try:
            yield
        except KeyboardInterrupt:
            if not ring.over:
                raise
            raise WaitTimeout(f"{lacking} after {timeout:g} s") from None


@contextmanager
def stop_event() -> Iterator[tuple[int, int]]:
    """A descriptor and the events of poll(2) by which whoever waits learns that the call is broken off."""
    woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        with interruption.waking(lambda: os.eventfd_write(woken, 1)):
            yield woken, select.POLLIN
    finally:
        os.close(woken)


def exit_codes(scope: ProjectScope, containers: Iterable[ObservedContainer], timeout: float | None) -> dict[str, int]:
    """Name -> exit code, once all have ended that have begun. Raises WaitTimeout, PycomposeError."""
    from pycompose.compose.app import endings

    with in_time(timeout, "containers still run"), stop_event() as stop:
        codes = {one.name: code for one, code in endings.ends(scope.places, containers, stop=stop)}
        interruption.check()
    return codes
