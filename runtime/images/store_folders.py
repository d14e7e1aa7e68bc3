"""The image store's folders on disk: its lock, work folders, and what a work folder relies on.

    layers/<diff_id>/      one folder a layer, unpacked; <diff_id>.json beside it: its size, and the blob that holds it
    blobs/<digest>         what came, byte for byte: compressed layers and manifests (`blobs`)
    configs/<digest>.json  an image; its digest is its identity. Its time of change is when it was last used
    configs/<digest>.manifest   the digest of the manifest it came with, or was pushed with
    names.json             full name -> digest; `repository@digest` names an image by its manifest's digest
    cache/<key>.json       what builders remember (`cache`); holds layers
    work/<random>/         one load, pull or build under way; `needs` in it are digests it relies on; <random>.lock
    locks/<digest>         a blob that is being fetched
    lock                   short work only: exclusive to change what is above, shared to make a container from it

Everything is made in a work folder, synced, and renamed under the lock; a failure leaves nothing, and what a killed
process left is swept by the next one. Rules: synchronous; locks are waited for.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterable, Iterator

from pycompose import durable
from pycompose.runtime.files.remove import empty
from pycompose.runtime.places import Places

from .blobs import Blobs

FOLDERS = ("layers", "blobs", "configs", "cache", "work", "locks")


class StoreFolders:
    def __init__(self, places: Places) -> None:
        self.places, self.root = places, places.images
        self.blobs = Blobs(self.root)

    def _make(self) -> None:
        """The folders; only root may look inside, for layers hold other systems' setuid programs."""
        self.places.claim()
        os.makedirs(self.root, mode=0o700, exist_ok=True)
        for name in FOLDERS:
            with contextlib.suppress(FileExistsError):
                os.mkdir(f"{self.root}/{name}", 0o700)

    @contextlib.contextmanager
    def locked(self, how: int = fcntl.LOCK_EX) -> Iterator[None]:
        self._make()
        with open(os.open(f"{self.root}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "a") as lock:
            fcntl.flock(lock, how)
            yield

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While a container is being made from an image: nothing is removed from the store meanwhile."""
        with self.locked(fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def working(self) -> Iterator[str]:
        """A folder of one's own in the store's file system; gone afterwards, whatever happens."""
        with contextlib.ExitStack() as held:
            name = f"{self.root}/work/{secrets.token_hex(8)}"
            with self.locked():
                lock = held.enter_context(open(f"{name}.lock", "w", opener=durable.private))
                fcntl.flock(lock, fcntl.LOCK_EX)
                os.mkdir(name, 0o700)
                self._sweep(name)
            try:
                yield name
            finally:
                empty(name)
                os.rmdir(name)
                os.unlink(f"{name}.lock")

    def _sweep(self, work: str) -> None:
        """Move what processes that died left into one's own work folder, to go with it. The lock is held."""
        for entry in {e.removesuffix(".lock") for e in os.listdir(f"{self.root}/work")}:
            folder = f"{self.root}/work/{entry}"
            with open(f"{folder}.lock", "a", opener=durable.private) as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                if os.path.isdir(folder):
                    os.rename(folder, f"{work}/left-{entry}")
                with contextlib.suppress(FileNotFoundError):  # its owner ended between our open and our flock
                    os.unlink(f"{folder}.lock")
        for place in (self.root, *(f"{self.root}/{name}" for name in ("configs", "layers", "cache"))):
            for entry in os.listdir(place):
                if entry.startswith(durable.TEMPORARY):
                    os.unlink(f"{place}/{entry}")
        self.blobs.sweep()

    def need(self, work: str, digests: Iterable[str]) -> None:
        """Nobody removes these layers and blobs while `work` exists, whether they are here yet or not."""
        with self.locked():
            needs = self.needs(work) | set(digests)
            durable.write(f"{work}/needs", json.dumps(sorted(needs)).encode())

    def needs(self, work: str) -> set[str]:
        try:
            with open(f"{work}/needs", encoding="utf-8") as file:
                return set(json.load(file))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return set()
