"""Blobs by digest, as they came: compressed layers, manifests, and the configurations that belong to them.

    blobs/<hex>    one blob; complete and verified, or not there
    locks/<hex>    flocked by whoever is fetching that blob, so that it is fetched once

Rules: synchronous. What is put here was verified by the caller, or is hashed here; the store's lock is the caller's.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from io import BufferedReader

from pycompose import durable

from .errors import ImageError
from .manifest import MAX_JSON
from .reference import digest_hex


class Blobs:
    def __init__(self, root: str) -> None:
        self._root = root

    def path(self, digest: str) -> str:
        return f"{self._root}/blobs/{digest_hex(digest)}"

    def has(self, digest: str) -> bool:
        return os.path.exists(self.path(digest))

    def size(self, digest: str) -> int:
        """Bytes; raises FileNotFoundError."""
        return os.stat(self.path(digest)).st_size

    def open(self, digest: str) -> BufferedReader:
        """Raises FileNotFoundError."""
        return open(self.path(digest), "rb")

    def small(self, digest: str) -> bytes:
        """A manifest or configuration, verified again as it is read. Raises FileNotFoundError, ImageError."""
        with self.open(digest) as file:
            data = file.read(MAX_JSON + 1)
        if hashlib.sha256(data).hexdigest() != digest_hex(digest):
            raise ImageError(f"a blob on this machine is damaged: {digest}", "pycompose image fsck says what else is")
        return data

    def put(self, data: bytes) -> str:
        """Keep a small blob; its digest."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if not self.has(digest):
            durable.write(self.path(digest), data)
        return digest

    def take(self, path: str, digest: str) -> None:
        """Keep the file at `path`, which is verified and on the disk, and is gone from there afterwards."""
        os.rename(path, self.path(digest))

    def digests(self) -> list[str]:
        try:
            entries = os.listdir(f"{self._root}/blobs")
        except FileNotFoundError:
            return []
        return sorted(f"sha256:{entry}" for entry in entries if not entry.startswith("."))

    def remove(self, digest: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(digest))

    def age(self, digest: str, now: float) -> float:
        """Seconds since it came."""
        return now - os.stat(self.path(digest)).st_ctime

    @contextlib.contextmanager
    def locked(self, digest: str) -> Iterator[None]:
        """One process at a time may fetch a blob; waits."""
        lock = self.lock(digest)
        try:
            yield
        finally:
            self.unlock(digest, lock)

    def lock(self, digest: str) -> int:
        path = f"{self._root}/locks/{digest_hex(digest)}"
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(fd), os.stat(path)):  # else its last holder has just removed it
                        return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def unlock(self, digest: str, lock: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._root}/locks/{digest_hex(digest)}")
        os.close(lock)

    def sweep(self) -> None:
        """Remove locks whose holders died, and half-written files. The store's lock is held exclusively."""
        for entry in os.listdir(f"{self._root}/locks"):
            path = f"{self._root}/locks/{entry}"
            with contextlib.suppress(FileNotFoundError), open(path, "r+") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                if os.path.samestat(os.fstat(lock.fileno()), os.stat(path)):
                    os.unlink(path)
        for entry in os.listdir(f"{self._root}/blobs"):
            if entry.startswith(durable.TEMPORARY):
                os.unlink(f"{self._root}/blobs/{entry}")
