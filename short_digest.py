"""SHA-256 of short texts: the interpreter's own implementation, which is there at once.

`hashlib` loads OpenSSL, 2 ms of the 40 that a small command takes. What is large (layers, blobs, files of users) is
`hashlib`'s: OpenSSL is several times faster. Standard library only.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def _implementation() -> Any:
    """The interpreter's own (of 3.12 and later, or of 3.11), else what `hashlib` has."""
    for name in ("_sha2", "_sha256"):
        try:
            return import_module(name).sha256
        except ImportError:  # each of a version, and a distribution may leave it out
            continue
    from hashlib import sha256

    return sha256


_sha256 = _implementation()


def sha256(data: bytes) -> str:
    """The digest in hexadecimal."""
    return str(_sha256(data).hexdigest())
