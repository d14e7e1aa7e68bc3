"""Names of images and digests: `[registry/]repository[:tag][@digest]`. Pure text; checked before it is in a path.

`oci:PATH[:TAG]` and `docker-archive:PATH[:NAME]`, as skopeo writes them, name images in archives of this machine; a
repository that is called so is written with its registry (docker.io/library/oci).
Source: distribution/reference (the grammar), image-spec descriptor.md (digests), man 5 containers-transports.
"""

from __future__ import annotations

import os.path
import re

from pycompose.frozen import dataclass

from .errors import ImageError

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_REGISTRY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_ARCHIVE = re.compile(r"(oci|docker-archive):([^:\0]+)(?::([^\0]+))?")
DOCKER = "docker.io"


@dataclass(frozen=True, slots=True)
class Reference:
    """A full name; `tag` and `digest` are empty where they are not given (without both, the tag is `latest`)."""

    repository: str  # with the registry: docker.io/library/redis
    tag: str = ""
    digest: str = ""

    @property
    def tagged(self) -> str:
        return f"{self.repository}:{self.tag}"

    def __str__(self) -> str:
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


@dataclass(frozen=True, slots=True)
class InArchive:
    """An image in an OCI layout or a docker archive; `name` is empty where the archive has one image."""

    transport: str
    path: str  # absolute
    name: str = ""

    def __str__(self) -> str:
        return f"{self.transport}:{self.path}" + (f":{self.name}" if self.name else "")


def in_archive(name: str) -> InArchive | None:
    """What a name with a transport means, relative to the current folder; None for other names."""
    match = _ARCHIVE.fullmatch(name)
    return InArchive(match[1], os.path.abspath(os.path.expanduser(match[2])), match[3] or "") if match else None


def is_tag(key: str) -> bool:
    """Of the names that the store has for an image: one that people gave, not a digest."""
    return not key.startswith("sha256:") and ("@" not in key or _ARCHIVE.fullmatch(key) is not None)


def digest_hex(digest: object) -> str:
    """The hexadecimal part of a well-formed sha256 digest."""
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ImageError(f"not a sha256 digest: {str(digest)[:100]!r}")
    return digest.removeprefix("sha256:")


def _fault(name: str, path: str = "") -> str:
    """What is wrong with a name, as Docker says it."""
    if path != path.lower():
        return f"invalid reference format: repository name ({path}) must be lowercase: {name!r}"
    return f"invalid reference format: {name!r}"


def parse(name: object) -> Reference:
    """The parts of a name, completed as Docker does; raises ImageError."""
    if not isinstance(name, str) or len(name) > 512:
        raise ImageError(_fault(str(name)[:100]))
    rest, at, digest = name.partition("@")
    if at:
        digest_hex(digest)
    head, slash, tail = rest.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost" or head != head.lower()):
        registry, path = head, tail
    else:
        registry, path = DOCKER, rest
    if registry == "index.docker.io":
        registry = DOCKER
    path, colon, tag = path.partition(":")
    if registry == DOCKER and "/" not in path:
        path = f"library/{path}"
    good = _REGISTRY.fullmatch(registry) and all(_PART.fullmatch(p) for p in path.split("/"))
    if not good or (colon and not _TAG.fullmatch(tag)) or len(path) > 255:
        raise ImageError(_fault(name[:100], path))
    if not colon and not at:
        tag = "latest"
    return Reference(f"{registry}/{path}", tag, digest)


def normal(name: str) -> str:
    """The full name: `docker.io/library/` and `:latest` are added where Docker adds them."""
    return str(parse(name))


def familiar(name: str) -> str:
    """The short form that people write."""
    return name.removeprefix(f"{DOCKER}/").removeprefix("library/")
