"""Logins to registries: credentials are tried at the registry, and only good ones are kept."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pycompose.errors import PycomposeError

if TYPE_CHECKING:
    from pycompose.runtime.images.registry.credentials import Credentials

LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST = re.compile(rf"(?:{LABEL}(?:\.{LABEL})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?")
HUB_HOSTS = ("", "docker.io", "index.docker.io")


def registry_of(server: str) -> str:
    """`host[:port]` of what a user names as SERVER: an address, a host, or nothing for Docker Hub."""
    from pycompose.runtime.images.reference import DOCKER

    host = server.partition("://")[2] if "://" in server else server
    host = host.partition("/")[0].rpartition("@")[2].lower()
    return DOCKER if host in HUB_HOSTS else host


def check(registry: str) -> None:
    """Raises PycomposeError for what can be no registry."""
    if not HOST.fullmatch(registry):
        raise PycomposeError(f"not a registry: {registry[:100]!r}", hint="HOST[:PORT]; nothing for Docker Hub")


def stored(registry: str) -> Credentials | None:
    """The credentials on file. Raises PycomposeError."""
    from pycompose.runtime.images.registry import credentials

    return credentials.find(registry)


def log_in(registry: str, username: str, password: str) -> str:
    """Try a name and a password, and keep what is good; the path of a file that has it in plain text, or "".

    Raises PycomposeError.
    """
    from pycompose.runtime.images.registry.credentials import Credentials

    return _log_in(registry, Credentials(username, password))


def log_in_again(registry: str, known: Credentials) -> str | None:
    """As `log_in`, with what is on file; None where the registry does not take it any more."""
    from pycompose.runtime.images.registry.login import LoginRefused

    try:
        return _log_in(registry, known)
    except LoginRefused:
        return None


def _log_in(registry: str, proposed: Credentials) -> str:
    from pycompose.runtime.images.registry.login import log_in

    from .images import run_tasks

    return run_tasks(log_in, registry, proposed)


def log_out(registry: str) -> None:
    """Forget the credentials on file; there need be none. Raises PycomposeError."""
    from pycompose.runtime.images.registry import credentials

    credentials.erase(registry)


def key_of(registry: str) -> str:
    """The registry as docker files its credentials."""
    from pycompose.runtime.images.registry import credentials

    return credentials.key_of(registry)
