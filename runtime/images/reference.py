"""Names of images and digests: `[registry/]repository[:tag][@digest]`. Pure text; checked before it is in a path."""

from __future__ import annotations

import re

from .errors import ImageError

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_REGISTRY = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def digest_hex(digest: object) -> str:
    """The hexadecimal part of a well-formed sha256 digest."""
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ImageError(f"not a sha256 digest: {str(digest)[:100]!r}")
    return digest.removeprefix("sha256:")


def normal(name: str) -> str:
    """The full name: `docker.io/library/` and `:latest` are added where Docker adds them."""
    rest, at, digest = name.partition("@")
    if at:
        digest_hex(digest)
    head, slash, tail = rest.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        registry, path = head, tail
    else:
        registry, path = "docker.io", rest
    path, colon, tag = path.partition(":")
    if registry == "docker.io" and "/" not in path:
        path = f"library/{path}"
    good = _REGISTRY.fullmatch(registry) and all(_PART.fullmatch(p) for p in path.split("/"))
    if not good or (colon and not _TAG.fullmatch(tag)) or len(name) > 512:
        raise ImageError(f"not a name of an image: {name[:100]!r}")
    if not colon and not at:
        tag = "latest"
    return f"{registry}/{path}" + (f":{tag}" if tag else "") + (f"@{digest}" if at else "")


def familiar(name: str) -> str:
    """The short form that people write."""
    return name.removeprefix("docker.io/").removeprefix("library/")
