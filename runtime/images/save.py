"""Images out of the store: `docker save` archives and OCI layouts, as other tools read them and `archive` does.

An OCI layout holds manifests and blobs as they came, so that its digests are the registry's. A docker archive holds
uncompressed layers, and index.json beside manifest.json, as Docker writes it since 25: every tool finds what it knows.
Rules: synchronous; nothing of the store is changed but by what `packing` makes.
Source: opencontainers/image-spec image-layout.md; moby image/spec/spec.md.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from typing import IO, Any, cast

from pycompose import durable

from . import config as configuration
from .assemble import complete
from .errors import ImageError, not_done
from .load import CONTAINERD_NAME, REF_NAME
from .manifest import OCI_INDEX, OCI_MANIFEST, Manifest
from .reference import digest_hex, familiar, parse
from .store import Store
from .streams import MeasuredStream, Progress, plain

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
PIECE = 1 << 20


def save(
    store: Store, names: Sequence[str], out: IO[bytes], *, oci: bool = False, progress: Progress | None = None
) -> None:
    """Write the images as one tar: a docker archive, or an OCI layout. Raises ImageError, OSError."""
    with store.working() as work, tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        sink = _Tar(tar, progress)
        images = _images(store, names, work)
        (_oci if oci else _docker)(store, images, sink, work)


def save_layout(store: Store, names: Sequence[str], folder: str, progress: Progress | None = None) -> None:
    """Add the images to an OCI layout that is a folder, made if there is none. Raises ImageError, OSError."""
    with store.working() as work:
        os.makedirs(f"{folder}/blobs/sha256", exist_ok=True)
        _oci(store, _images(store, names, work), _Folder(folder, progress), work)


def _images(store: Store, names: Sequence[str], work: str) -> list[tuple[str, list[str], Manifest]]:
    """(configuration's digest, names, manifest) of each image."""
    names_of: dict[str, list[str]] = {}
    for name in names:
        digest = store.digest(name)
        named = names_of.setdefault(digest, [])
        if not _is_id(name) and (reference := parse(name)).tag:
            named.append(reference.tagged)
    return [(digest, named, complete(store, digest, work)) for digest, named in names_of.items()]


def _is_id(name: str) -> bool:
    return name.startswith("sha256:") or (len(name) >= 12 and all(c in "0123456789abcdef" for c in name))


class _Tar:
    """The files of an archive, one after another."""

    def __init__(self, tar: tarfile.TarFile, progress: Progress | None) -> None:
        self._tar, self._progress = tar, progress
        self.names: set[str] = set()

    def add(self, name: str, size: int, source: IO[bytes]) -> None:
        if name in self.names:
            return
        self.names.add(name)
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, 0o644
        self._tar.addfile(entry, _Told(source, self._progress))

    def index(self) -> list[dict[str, Any]]:
        return []


class _Folder:
    """The files of a folder; what is there already stays."""

    def __init__(self, folder: str, progress: Progress | None) -> None:
        self._folder, self._progress = folder, progress

    def add(self, name: str, size: int, source: IO[bytes]) -> None:
        path = f"{self._folder}/{name}"
        if name.startswith("blobs/"):
            if os.path.exists(path) and os.stat(path).st_size == size:
                return
            counted = _Told(source, self._progress)
            with durable.replacing(path, mode=0o644) as out:
                while data := counted.read(PIECE):
                    out.write(data)
        else:
            durable.write(path, source.read(), mode=0o644)

    def index(self) -> list[dict[str, Any]]:
        """The images that are there already."""
        try:
            with open(f"{self._folder}/index.json", encoding="utf-8") as file:
                return list(json.load(file)["manifests"])
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise not_done(f"{self._folder}/index.json cannot be read", error) from error


class _Told(io.RawIOBase):
    def __init__(self, source: IO[bytes], progress: Progress | None) -> None:
        self._source, self._progress = source, progress

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        if self._progress:
            self._progress(len(data))
        return data


def _add(sink: _Tar | _Folder, name: str, data: bytes) -> None:
    sink.add(name, len(data), io.BytesIO(data))


def _oci(store: Store, images: Sequence[tuple[str, list[str], Manifest]], sink: _Tar | _Folder, _: str) -> None:
    index = sink.index()
    _add(sink, "oci-layout", LAYOUT)
    for digest, names, manifest in images:
        _add(sink, f"blobs/sha256/{digest_hex(digest)}", store.config_of(digest))
        _add(sink, f"blobs/sha256/{digest_hex(manifest.digest)}", manifest.data)
        for layer in manifest.layers:
            with store.blobs.open(layer.digest) as source:
                sink.add(f"blobs/sha256/{digest_hex(layer.digest)}", layer.size, source)
        descriptor = {
            "mediaType": manifest.media_type or OCI_MANIFEST,
            "digest": manifest.digest,
            "size": len(manifest.data),
        }
        notes = [{REF_NAME: parse(name).tag, CONTAINERD_NAME: name} for name in names]
        taken = {note[CONTAINERD_NAME] for note in notes}
        index = [one for one in index if (one.get("annotations") or {}).get(CONTAINERD_NAME) not in taken]
        index += [{**descriptor, "annotations": note} for note in notes] if notes else [descriptor]
    tree = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": index}
    _add(sink, "index.json", json.dumps(tree, separators=(",", ":")).encode())


def _docker(store: Store, images: Sequence[tuple[str, list[str], Manifest]], sink: _Tar | _Folder, work: str) -> None:
    manifest, repositories, index = [], dict[str, dict[str, str]](), []
    _add(sink, "oci-layout", LAYOUT)
    for digest, names, record in images:
        config = store.config_of(digest)
        _add(sink, f"blobs/sha256/{digest_hex(digest)}", config)
        paths, layers = [], []
        for diff_id, layer in zip(configuration.read(config).diff_ids, record.layers, strict=True):
            paths.append(f"blobs/sha256/{digest_hex(diff_id)}")
            size = _plain(store, layer.digest, diff_id, paths[-1], sink, work)
            layers.append({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": diff_id, "size": size})
        short = [familiar(name) for name in names]
        manifest.append({"Config": f"blobs/sha256/{digest_hex(digest)}", "RepoTags": short or None, "Layers": paths})
        for name in short:
            repository, _, tag = name.rpartition(":")
            repositories.setdefault(repository, {})[tag] = digest_hex(digest)
        descriptor = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(config)}
        tree = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor, "layers": layers}
        data = json.dumps(tree, separators=(",", ":")).encode()
        name = f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
        _add(sink, name, data)
        one = {"mediaType": OCI_MANIFEST, "digest": "sha256:" + name.rpartition("/")[2], "size": len(data)}
        notes = [{CONTAINERD_NAME: tagged, REF_NAME: parse(tagged).tag} for tagged in names]
        index += [{**one, "annotations": note} for note in notes] if notes else [one]
    _add(sink, "index.json", json.dumps({"schemaVersion": 2, "manifests": index}).encode())
    _add(sink, "manifest.json", json.dumps(manifest).encode())
    _add(sink, "repositories", json.dumps(repositories).encode())


def _plain(store: Store, blob: str, diff_id: str, name: str, sink: _Tar | _Folder, work: str) -> int:
    """Write a layer uncompressed; its size, which has to be known before: it is read twice, which needs no room."""

    size, sha = 0, hashlib.sha256()
    with store.blobs.open(blob) as packed:
        stream = plain(MeasuredStream(packed))
        while data := stream.read(PIECE):
            size += len(data)
            sha.update(data)
    if sha.hexdigest() != digest_hex(diff_id):
        raise ImageError(f"a blob on this machine is damaged: {blob}", "pycompose image fsck says what else is")
    with store.blobs.open(blob) as packed:
        sink.add(name, size, cast(IO[bytes], _Whole(plain(MeasuredStream(packed)))))
    return size


class _Whole(io.RawIOBase):
    """A stream that gives what is asked for, if it has it: `tarfile` takes less for the end."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source, self._rest = source, b""

    def read(self, size: int = -1) -> bytes:
        parts, size_read = [self._rest], len(self._rest)
        while (size < 0 or size_read < size) and (data := self._source.read(PIECE)):
            parts.append(data)
            size_read += len(data)
        data = b"".join(parts)
        size = len(data) if size < 0 else size
        self._rest = data[size:]
        return data[:size]
