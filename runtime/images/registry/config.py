"""The user's settings of registries: mirrors, and which may be spoken to without TLS. A TOML file, small on purpose:

    ["docker.io"]
    mirrors = ["mirror.example.org", "https://other.example.org/docker"]   # asked first, in this order; for pulls only

    ["registry.lan:5000"]
    insecure = true             # no certificate is checked, and without TLS it is plain HTTP
    ca = "/etc/ssl/lan.pem"     # or: certificates that this registry's may be signed by

It is $PYCOMPOSE_REGISTRIES, else ~/.config/pycompose/registries.toml and /etc/pycompose/registries.toml, the first that
says anything of a registry. Registries of this machine (localhost, 127.0.0.0/8, ::1) are always insecure, as in Docker.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from typing import Any

from pycompose.frozen import dataclass
from pycompose.runtime.images.errors import ImageError
from pycompose.runtime.images.reference import DOCKER

DOCKER_HOST = "registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class RegistryEndpoint:
    """A place that speaks the distribution specification. `registry` names whose credentials it gets."""

    registry: str  # host[:port], as credentials are filed
    host: str  # host[:port], as it is connected to
    path: str = ""  # before /v2/, "" or "/…"
    scheme: str = "https"
    insecure: bool = False
    loopback: bool = False
    ca: str = ""

    @property
    def base(self) -> str:
        return f"{self.scheme}://{self.host}{self.path}"


def is_loopback(host: str) -> bool:
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _files(environ: Mapping[str, str]) -> list[str]:
    if named := environ.get("PYCOMPOSE_REGISTRIES"):
        return [named]
    folder = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return [f"{folder}/pycompose/registries.toml", "/etc/pycompose/registries.toml"]


def _settings(registry: str, environ: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The file that says anything of the registry, and what."""
    for path in _files(environ):
        try:
            with open(path, "rb") as file:
                tree = tomllib.load(file)
        except FileNotFoundError:
            if environ.get("PYCOMPOSE_REGISTRIES"):
                raise ImageError(f"{path}: no such file", "PYCOMPOSE_REGISTRIES names it") from None
            continue
        except (OSError, ValueError) as error:
            raise ImageError(f"{path}: {error}") from error
        for name, settings in tree.items():
            if not isinstance(settings, dict) or set(settings) - {"mirrors", "insecure", "ca"}:
                raise ImageError(f'{path}: "{name}" may have mirrors, insecure and ca, and nothing else')
        if registry in tree:
            return path, tree[registry]
    return "", {}


def endpoints(
    registry: str, *, pull: bool = True, environ: Mapping[str, str] = os.environ
) -> tuple[RegistryEndpoint, ...]:
    """Where a registry's repositories are found: its mirrors in their order, then itself. Raises ImageError."""
    path, settings = _settings(registry, environ)
    mirrors, insecure, ca = settings.get("mirrors", []), settings.get("insecure", False), settings.get("ca", "")
    texts = isinstance(mirrors, list) and all(isinstance(one, str) for one in mirrors)
    if not texts or not isinstance(insecure, bool) or not isinstance(ca, str):
        raise ImageError(f'{path}: "{registry}": mirrors is a list of texts, insecure true or false, ca a path')
    host = DOCKER_HOST if registry == DOCKER else registry
    original = RegistryEndpoint(
        registry, host, insecure=insecure or is_loopback(host), loopback=is_loopback(host), ca=ca
    )
    return (*(_mirror(one, path, environ) for one in (mirrors if pull else ())), original)


def _mirror(text: str, path: str, environ: Mapping[str, str]) -> RegistryEndpoint:
    scheme, separator, rest = text.rpartition("://")
    host, _, below = rest.rstrip("/").partition("/")
    _, settings = _settings(host, environ)
    local = is_loopback(host)
    insecure = bool(settings.get("insecure")) or local or scheme == "http"  # written as http: the user said so
    if not host or scheme not in ("", "http", "https") or "@" in host:
        raise ImageError(f"{path}: not the address of a mirror: {text[:100]!r}")
    below = f"/{below}" if below else ""
    return RegistryEndpoint(
        host, host, below, scheme if separator else "https", insecure, local, str(settings.get("ca", ""))
    )
