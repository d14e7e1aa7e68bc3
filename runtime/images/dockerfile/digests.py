"""Digests of files, remembered while the files are as they were: same inode, size and times of change.

A file that changed within the last moments may change again in the same tick of the clock, and is not remembered.
Rules: blocking; one file a context in the store's folder, written whole; losing it costs time only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import threading
import time

from pycompose import durable

from . import copying
from .trees import Tree, TreeEntry

SETTLED = 2_000_000_000  # nanoseconds
FOLDER = "digests"


class Digests:
    def __init__(self, root: str) -> None:
        self._folder = f"{root}/{FOLDER}"
        self._known: dict[str, dict[str, str]] = {}  # context -> identity of a file -> digest
        self._seen: dict[str, dict[str, str]] = {}  # those that were asked for now
        self._lock = threading.Lock()

    def of(self, tree: Tree, entry: TreeEntry) -> str:
        status = entry.status
        if not tree.path or not stat.S_ISREG(status.st_mode):
            return copying.content_digest(tree, entry)
        identity = f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
        with self._lock:
            digest = self._of(tree.path).get(identity)
        if digest is None:
            digest = copying.content_digest(tree, entry)
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLED:
            with self._lock:
                self._seen.setdefault(tree.path, {})[identity] = digest
        return digest

    def _of(self, path: str) -> dict[str, str]:
        if path not in self._known:
            digests: dict[str, str] = {}
            with contextlib.suppress(OSError, ValueError, TypeError), open(self._file(path), encoding="ascii") as file:
                digests = dict(json.load(file))
            self._known[path] = digests
        return self._known[path]

    def _file(self, path: str) -> str:
        return f"{self._folder}/{hashlib.sha256(os.fsencode(path)).hexdigest()}.json"

    def save(self) -> None:
        """Remember what was asked for; what was not is forgotten."""
        for path, digests in self._seen.items():
            if digests == self._known.get(path):
                continue
            with contextlib.suppress(OSError):
                os.makedirs(self._folder, 0o700, exist_ok=True)
                durable.write(self._file(path), json.dumps(digests).encode("ascii"), flush=False)
