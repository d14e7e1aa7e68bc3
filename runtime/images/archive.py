"""Images from archives: `docker save` and OCI layouts, as a tar (plain, gzip, zstd) or an OCI layout's folder.

Members are read in place, never unpacked. Every digest that the archive names is checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import tarfile
import tempfile
from typing import IO, TYPE_CHECKING, Any

from .errors import ImageError
from .layers import plain
from .reference import digest_hex

if TYPE_CHECKING:
    from .store import Image, Store

MAX_JSON = 4 << 20
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class _Source:
    """Files by name, of a folder or a tar."""

    def __init__(self, path: str, held: contextlib.ExitStack) -> None:
        self._folder, self._held = path if os.path.isdir(path) else "", held
        if not self._folder:
            unpacked = held.enter_context(tempfile.TemporaryFile())
            with open(path, "rb") as packed:
                shutil.copyfileobj(plain(packed), unpacked)
            unpacked.seek(0)
            self._tar = held.enter_context(tarfile.open(fileobj=unpacked))
            self._members = {os.path.normpath(m.name): m for m in self._tar.getmembers()}

    def open(self, name: str) -> IO[bytes]:
        if name.startswith("/") or ".." in name.split("/"):
            raise ImageError(f"a bad name in an archive: {name[:100]!r}")
        if self._folder:
            return self._held.enter_context(open(f"{self._folder}/{name}", "rb"))
        found = self._members.get(os.path.normpath(name))
        file = self._tar.extractfile(found) if found else None
        if file is None:
            raise ImageError(f"the archive has no {name[:100]!r}")
        return self._held.enter_context(file)

    def has(self, name: str) -> bool:
        return os.path.isfile(f"{self._folder}/{name}") if self._folder else name in self._members

    def small(self, name: str) -> bytes:
        data = self.open(name).read(MAX_JSON + 1)
        if len(data) > MAX_JSON:
            raise ImageError(f"{name[:100]!r} of the archive is too large")
        return data

    def blob(self, told: dict[str, Any]) -> IO[bytes]:
        digest = told["digest"]
        file = self.open(f"blobs/sha256/{digest_hex(digest)}")
        if "sha256:" + hashlib.file_digest(file, "sha256").hexdigest() != digest:  # type: ignore[arg-type]
            raise ImageError(f"a blob is not what its digest says: {digest}")
        file.seek(0)
        return file

    def blob_json(self, told: dict[str, Any]) -> bytes:
        data = self.blob(told).read(MAX_JSON + 1)
        if len(data) > MAX_JSON:
            raise ImageError("a manifest or configuration is too large")
        return data


def load(store: Store, path: str) -> list[Image]:
    """Keep every image of the archive; raises ImageError."""
    try:
        with contextlib.ExitStack() as held:
            source = _Source(path, held)
            if source.has("manifest.json"):
                return [
                    store.add(
                        tuple(one.get("RepoTags") or ()),
                        source.small(one["Config"]),
                        tuple(source.open(name) for name in one["Layers"]),
                    )
                    for one in json.loads(source.small("manifest.json"))
                ]
            return [_oci(store, source, told) for told in json.loads(source.small("index.json"))["manifests"]]
    except (tarfile.TarError, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageError(f"{path}: not an archive of images: {error}") from error


def _oci(store: Store, source: _Source, told: dict[str, Any], depth: int = 0) -> Image:
    notes = told.get("annotations") or {}
    name = notes.get("io.containerd.image.name") or notes.get("org.opencontainers.image.ref.name") or ""
    manifest = json.loads(source.blob_json(told))
    if "manifests" in manifest and "layers" in manifest:
        raise ImageError("a manifest that is also an index")
    if "manifests" in manifest:
        machine = _MACHINES.get(platform.machine(), platform.machine())
        for one in manifest["manifests"]:
            if depth < 3 and (one.get("platform") or {}).get("architecture", machine) == machine:
                return _oci(store, source, {**one, "annotations": notes}, depth + 1)
        raise ImageError(f"the archive has no image for {machine}")
    blobs = tuple(source.blob(layer) for layer in manifest["layers"])
    return store.add((name,) if name else (), source.blob_json(manifest["config"]), blobs)
