"""Credentials for registries: Docker's config.json with `auths`, `credHelpers` and `credsStore`. Nothing is written.

Rules: synchronous. A registry gets its own credentials and no other's. Helpers are programs `docker-credential-NAME`
that are found on PATH, and speak JSON over their standard streams.
Source: docker/cli cli/config/configfile, docker/docker-credential-helpers README.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from pycompose.frozen import dataclass
from pycompose.plain_text import one_line
from pycompose.runtime.images.errors import ImageError
from pycompose.runtime.images.reference import DOCKER

DOCKER_KEY = "https://index.docker.io/v1/"
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOT_THERE = ("credentials not found", "no credentials")
TIMEOUT = 30.0  # seconds; a helper may ask a person


@dataclass(frozen=True, slots=True)
class Credentials:
    """Either a name and a password, or a token that is exchanged for others."""

    username: str = ""
    password: str = ""
    identity_token: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, …)"  # a secret is in no log


def path(environ: Mapping[str, str] = os.environ) -> str:
    folder = environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    return f"{folder}/config.json"


def find(registry: str, environ: Mapping[str, str] = os.environ) -> Credentials | None:
    """The credentials for `host[:port]`; None where there are none. Raises ImageError for an unreadable file."""
    where = path(environ)
    try:
        with open(where, "rb") as file:
            tree = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise ImageError(f"{where}: {error}", "it holds the credentials for registries") from error
    if not isinstance(tree, dict):
        raise ImageError(f"{where}: not a JSON object")
    server = DOCKER_KEY if registry == DOCKER else registry
    helpers = tree.get("credHelpers") or {}
    helper = _of(helpers, registry) or tree.get("credsStore")
    if helper:
        if not isinstance(helper, str) or not _HELPER.fullmatch(helper):
            raise ImageError(f"{where}: not the name of a credential helper: {str(helper)[:100]!r}")
        credentials = _ask(helper, server)
        if credentials or _of(helpers, registry):
            return credentials
    entry = _of(tree.get("auths") or {}, registry)
    return _read(entry, where) if isinstance(entry, dict) else None


def _of(tree: Any, registry: str) -> Any:
    """The entry of a registry, whose key may be an address."""
    if not isinstance(tree, dict):
        return None
    names = (DOCKER, "index.docker.io", "registry-1.docker.io") if registry == DOCKER else (registry,)
    for key, value in tree.items():
        if key in names or key.partition("://")[2].partition("/")[0] in names or key.partition("/")[0] in names:
            return value
    return None


def _read(entry: dict[str, Any], where: str) -> Credentials | None:
    name, password = entry.get("username") or "", entry.get("password") or ""
    if auth := entry.get("auth"):
        try:
            name, _, password = base64.b64decode(auth, validate=True).decode().rstrip("\0").partition(":")
        except (binascii.Error, ValueError, TypeError) as error:
            raise ImageError(f"{where}: an auth that is not base64 of name:password") from error
    token = entry.get("identitytoken") or ""
    if not all(isinstance(one, str) for one in (name, password, token)) or not (token or name):
        return None
    return Credentials(name, password, token)


def _ask(helper: str, server: str) -> Credentials | None:
    program = shutil.which(f"docker-credential-{helper}")
    if program is None:
        raise ImageError(f"the credential helper docker-credential-{helper} is not on PATH", f"{path()} names it")
    try:
        done = subprocess.run(
            [program, "get"], input=server.encode(), capture_output=True, timeout=TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ImageError(f"docker-credential-{helper} cannot be asked: {error}") from error
    said = (done.stdout + done.stderr).decode(errors="replace").strip()
    if done.returncode:
        if any(text in said.lower() for text in _NOT_THERE):
            return None
        raise ImageError(f"docker-credential-{helper} failed: {one_line(said, 300)}")
    try:
        answer = json.loads(done.stdout)
        name, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError) as error:
        raise ImageError(f"docker-credential-{helper} answered something else than credentials") from error
    return Credentials(identity_token=secret) if name == "<token>" else Credentials(name, secret)
