"""Build cache: a key leads to a record and to the layers that it needs, which stay in the store while it does.

Rules: synchronous. A key is any text; a record is JSON. A record whose layers are gone is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pycompose import durable
from pycompose.durable import touch

if TYPE_CHECKING:
    from .store import Store


class Cache:
    def __init__(self, store: Store) -> None:
        self._store = store

    def _path(self, key: str) -> str:
        return f"{self._store.root}/cache/{hashlib.sha256(key.encode()).hexdigest()}.json"

    def remember(self, key: str, record: Mapping[str, Any], layers: Sequence[str] = ()) -> None:
        """`layers` are diff_ids; all are in the store, or needed by the caller's work folder."""
        with self._store.locked():
            durable.write(self._path(key), json.dumps({"record": record, "layers": list(layers)}).encode())

    def recall(self, key: str, work: str) -> dict[str, Any] | None:
        """The record, whose layers `work` needs from now on."""
        path = self._path(key)
        with self._store.locked():
            try:
                with open(path, encoding="utf-8") as file:
                    entry = json.load(file)
                record, layers = dict(entry["record"]), list(entry["layers"])
            except (OSError, ValueError, KeyError, TypeError):
                return None
            if any(self._store.layer(one) is None for one in layers):
                return None
            touch(path)
            if layers:
                needs = self._store.needs(work) | set(layers)
                durable.write(f"{work}/needs", json.dumps(sorted(needs)).encode())
            return record

    def entries(self) -> list[tuple[tuple[str, ...], float]]:
        """Of each key: the diff_ids of its layers, and when it was last asked for, in seconds since 1970."""
        entries, folder = [], f"{self._store.root}/cache"
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as files:
            for file in files:
                with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                    with open(file.path, encoding="utf-8") as source:
                        layers = tuple(json.load(source)["layers"])
                    entries.append((layers, file.stat().st_mtime))
        return entries

    def forget(self, older: float = 0) -> int:
        """Forget what was not used for `older` seconds; their number. The layers go with the next collection."""
        import time

        count, now = 0, time.time()
        with self._store.locked():
            folder = f"{self._store.root}/cache"
            for entry in os.listdir(folder):
                with contextlib.suppress(FileNotFoundError):
                    if now - os.stat(f"{folder}/{entry}").st_mtime >= older:
                        os.unlink(f"{folder}/{entry}")
                        count += 1
        return count
