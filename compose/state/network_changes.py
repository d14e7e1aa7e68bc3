"""Changes by hand to the networks of one container: `networks.json` in its folder, for as long as it exists.

Rules: written by its project's supervisor alone; standard library only. A missing or odd record means no change.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from pycompose import durable
from pycompose.dataclass_json import Codec
from pycompose.frozen import dataclass
from pycompose.runtime.state.container_record import content

FILE = "networks.json"
_CODEC = Codec()


@dataclass(frozen=True, slots=True)
class Connection:
    """A place on a network that no file asked for; `network` is its real name."""

    network: str
    aliases: tuple[str, ...] = ()
    ipv4_address: str | None = None
    ipv6_address: str | None = None


@dataclass(frozen=True, slots=True)
class NetworkChanges:
    """Networks that a container has beyond its service's, and those of its service that it left."""

    connected: tuple[Connection, ...] = ()
    left: tuple[str, ...] = ()

    def networks(self, described: Iterable[str]) -> tuple[str, ...]:
        """The networks that a container is on whose service is on those `described`."""
        return (*(name for name in described if name not in self.left), *(one.network for one in self.connected))

    def with_connection(self, connection: Connection) -> NetworkChanges:
        return replace(self, connected=(*self.connected, connection))

    def without(self, network: str) -> NetworkChanges:
        left = tuple(one for one in self.connected if one.network != network)
        if len(left) < len(self.connected):
            return replace(self, connected=left)
        return replace(self, left=(*self.left, network))


NO_CHANGES = NetworkChanges()


def read(folder: str) -> NetworkChanges:
    try:
        return _CODEC.from_json(NetworkChanges, content(f"{folder}/{FILE}").decode())
    except (OSError, ValueError):
        return NO_CHANGES


def write(folder: str, changes: NetworkChanges) -> None:
    """Raises OSError."""
    if changes == NO_CHANGES:
        with suppress(FileNotFoundError):
            os.unlink(f"{folder}/{FILE}")
        return
    durable.write(f"{folder}/{FILE}", _CODEC.to_json(changes).encode())
