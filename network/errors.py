"""The errors of this folder. `NetworkError` says what cannot be done and names the thing; `hint` says what to try."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from pycompose.errors import PycomposeError


class NetworkError(PycomposeError):
    """Base of this folder's errors."""


class NoSuchNetwork(NetworkError):
    def __init__(self, name: str) -> None:
        super().__init__(f'network "{name}" does not exist')
        self.name = name


class PortTaken(NetworkError):
    """No port of the range is free on the host. `holder` says in words who has it, where that can be told."""

    def __init__(self, host_ip: str, ports: str, protocol: str, holder: str = "", hint: str = "") -> None:
        by = f" (by {holder})" if holder else ""
        hint = hint or "stop that program, or publish another port"
        super().__init__(f"port {ports}/{protocol} of {host_ip} is in use{by}", hint=hint)
        self.host_ip, self.ports, self.protocol, self.holder = host_ip, ports, protocol, holder


class AddressError(NetworkError):
    """An address or a subnet cannot be given out."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """The kernel's errors become NetworkError, with `what` could not be done."""
    try:
        yield
    except OSError as error:
        lacks = error.errno == errno.EPERM or (error.errno == errno.EACCES and os.geteuid() != 0)
        raise NetworkError(f"{what}: {error.strerror or error}", hint="this needs root" if lacks else "") from error


class WouldWait(Exception):
    """Another process has the lock of the networks' folder, and the caller must not wait for it."""
