"""Credentials for registries: Docker's config.json with `auths`, `credHelpers` and `credsStore`, read and written.

Rules: synchronous. A registry gets its own credentials and no other's. Helpers are programs `docker-credential-NAME`
that are found on PATH, and speak JSON over their standard streams. The file is written whole or not at all, for its
owner alone, one writer at a time; what else is in it stays.
Source: docker/cli cli/config/configfile, docker/docker-credential-helpers README.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

from pycompose import durable
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
    tree = _load(where)
    if helper := _helper(tree, registry, where):
        credentials = _ask(helper, key_of(registry))
        if credentials or _of(tree.get("credHelpers"), registry):
            return credentials
    entry = _of(tree.get("auths"), registry)
    return _read(entry, where) if isinstance(entry, dict) else None


def key_of(registry: str) -> str:
    """The key that `docker login` files a registry's credentials under."""
    return DOCKER_KEY if registry == DOCKER else registry


def store(registry: str, credentials: Credentials, environ: Mapping[str, str] = os.environ) -> str:
    """Keep the credentials for `host[:port]`; the path of the file that has them in plain text, "" with a helper.

    Raises ImageError.
    """
    where, key = path(environ), key_of(registry)
    with _changing(where) as tree:
        entry: dict[str, str] = {}
        if helper := _helper(tree, registry, where):
            secret = credentials.identity_token or credentials.password
            name = "<token>" if credentials.identity_token else credentials.username
            _call(helper, "store", json.dumps({"ServerURL": key, "Username": name, "Secret": secret}))
        else:
            pair = f"{credentials.username}:{credentials.password}"
            entry["auth"] = base64.b64encode(pair.encode()).decode()
            if credentials.identity_token:
                entry["identitytoken"] = credentials.identity_token
        _forget(tree, registry)
        tree.setdefault("auths", {})[key] = entry
    return "" if helper else where


def erase(registry: str, environ: Mapping[str, str] = os.environ) -> None:
    """Forget the credentials for `host[:port]`; there need be none. Raises ImageError."""
    where, key = path(environ), key_of(registry)
    if not os.path.lexists(where):
        return
    with _changing(where) as tree:
        _forget(tree, registry)
        if helper := _helper(tree, registry, where):
            _call(helper, "erase", key)


def _forget(tree: dict[str, Any], registry: str) -> None:
    """Take a registry's entries away, however their keys are written."""
    auths = tree.get("auths")
    if auths is not None and not isinstance(auths, dict):
        raise ImageError("the auths of docker's config.json are no JSON object", "mend the file, or remove it")
    for key in [key for key in auths or () if _is_key_of(key, registry)]:
        del tree["auths"][key]


def _load(where: str) -> dict[str, Any]:
    try:
        with open(where, "rb") as file:
            data = file.read()
        tree = json.loads(data) if data.strip() else {}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise ImageError(f"{where}: {error}", "it holds the credentials for registries") from error
    if not isinstance(tree, dict):
        raise ImageError(f"{where}: not a JSON object")
    return tree


@contextlib.contextmanager
def _changing(where: str) -> Iterator[dict[str, Any]]:
    """The file's tree, written when the body ends well. A link is followed, as by docker: the file may lie elsewhere.

    Two at once are one after the other: the folder is locked, by nobody else.
    """
    real = os.path.realpath(where)
    folder = os.path.dirname(real)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ImageError(f"{where} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        tree = _load(where)
        before = json.dumps(tree)
        yield tree
        if json.dumps(tree) != before:
            durable.write(real, (json.dumps(tree, indent="\t") + "\n").encode(), mode=0o600)
    except OSError as error:
        raise ImageError(f"{where} cannot be written: {error.strerror}") from error
    finally:
        os.close(held)


def _helper(tree: dict[str, Any], registry: str, where: str) -> str:
    """The name of the helper that keeps a registry's credentials; "" where none does."""
    helper = _of(tree.get("credHelpers"), registry) or tree.get("credsStore") or ""
    if helper and (not isinstance(helper, str) or not _HELPER.fullmatch(helper)):
        raise ImageError(f"{where}: not the name of a credential helper: {str(helper)[:100]!r}")
    return str(helper)


def _of(tree: Any, registry: str) -> Any:
    """The entry of a registry, whose key may be an address."""
    if not isinstance(tree, dict):
        return None
    return next((value for key, value in tree.items() if _is_key_of(key, registry)), None)


def _is_key_of(key: str, registry: str) -> bool:
    names = (DOCKER, "index.docker.io", "registry-1.docker.io") if registry == DOCKER else (registry,)
    return key in names or key.partition("://")[2].partition("/")[0] in names or key.partition("/")[0] in names


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
    if (said := _call(helper, "get", server)) is None:
        return None
    try:
        answer = json.loads(said)
        name, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError) as error:
        raise ImageError(f"docker-credential-{helper} answered something else than credentials") from error
    return Credentials(identity_token=secret) if name == "<token>" else Credentials(name, secret)


def _call(helper: str, verb: str, text: str) -> bytes | None:
    """What a helper answers; None where it has no such credentials."""
    program = shutil.which(f"docker-credential-{helper}")
    if program is None:
        raise ImageError(f"the credential helper docker-credential-{helper} is not on PATH", f"{path()} names it")
    try:
        done = subprocess.run([program, verb], input=text.encode(), capture_output=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ImageError(f"docker-credential-{helper} cannot be asked: {error}") from error
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        if any(words in said.lower() for words in _NOT_THERE):
            return None
        raise ImageError(f"docker-credential-{helper} failed: {one_line(said, 300)}")
    return done.stdout
