"""Images made complete: each layer has a blob, and the manifest names them.

Images that came with a manifest have theirs as they came. Others (from `docker save` archives and root file systems,
or built here) get one: layers whose blob is here keep it, plain tars are compressed, and layers that exist unpacked
only are packed. The same image always gives the same bytes, and what is made is kept. Rules: synchronous.
"""

from __future__ import annotations

import gzip
import hashlib
import tempfile
from dataclasses import replace
from typing import IO, Any, cast

from . import config as configuration
from .errors import ImageError
from .manifest import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor, Manifest, made, read
from .pack import pack
from .store import Fresh, Layer, Store

LEVEL = 5  # of gzip: two thirds of the time of 6 for one percent more bytes
GZIPPED = f"{OCI_LAYER}+gzip"


def complete(store: Store, digest: str, work: str) -> Manifest:
    """The manifest of the image with that configuration; all of its blobs are here, and stay while `work` does.

    Raises ImageError.
    """
    config = store.config_of(digest)
    diff_ids = configuration.read(config).diff_ids
    store.need(work, diff_ids)
    if (data := store.manifest_of(digest)) and (known := _whole(store, data, work)) is not None:
        store.place_config(config)
        return known
    layers = []
    for diff_id in diff_ids:
        layer = store.layer(diff_id)
        if layer is None:
            raise ImageError(
                f"a layer is not here any more: {diff_id}", "pycompose image fsck says what else is missing"
            )
        layers.append(_compressed(store, layer, work))
    with store.locked():
        config_blob = Descriptor(OCI_CONFIG, store.blobs.put(config), len(config))
        descriptors = [Descriptor(layer.media_type, layer.blob, layer.blob_size) for layer in layers]
        data = made(config_blob, descriptors)
        store.blobs.put(data)
    manifest = Manifest(OCI_MANIFEST, config_blob, tuple(descriptors), data)
    store.need(work, [manifest.digest, config_blob.digest])
    return manifest


def _whole(store: Store, data: bytes, work: str) -> Manifest | None:
    document = read(data)
    if not isinstance(document, Manifest):
        return None
    store.need(work, [document.digest, document.config.digest, *(one.digest for one in document.layers)])
    return document if all(store.blobs.has(one.digest) for one in document.layers) else None


def _compressed(store: Store, layer: Layer, work: str) -> Layer:
    """The layer with a compressed blob, which is made and kept if there is none."""
    if layer.blob and store.blobs.has(layer.blob):
        store.need(work, [layer.blob])
        if layer.media_type != OCI_LAYER:
            return layer
    fd, path = tempfile.mkstemp(prefix="blob-", dir=work)
    with open(fd, "wb") as out:
        sink = _Hashed(out)
        with gzip.GzipFile(filename="", fileobj=cast(Any, sink), mode="wb", compresslevel=LEVEL, mtime=0) as packed:
            diff_id = _tar(store, layer, cast(IO[bytes], packed))
    if diff_id != layer.diff_id:
        raise ImageError(f"the files of a layer were changed: {layer.diff_id}", "pycompose image fsck tells more")
    compressed = replace(layer, blob=sink.digest, blob_size=sink.size, media_type=GZIPPED)
    store.keep_layer(Fresh(compressed, "", path), work, replace_blob=True)
    return compressed


def _tar(store: Store, layer: Layer, out: IO[bytes]) -> str:
    """Write the layer's tar; its digest."""
    if not layer.blob or not store.blobs.has(layer.blob):
        return pack(store.folder(layer.diff_id), out).diff_id
    sha = hashlib.sha256()
    with store.blobs.open(layer.blob) as source:
        while data := source.read(1 << 20):
            sha.update(data)
            out.write(data)
    return "sha256:" + sha.hexdigest()


class _Hashed:
    def __init__(self, out: IO[bytes]) -> None:
        self._out, self._sha, self.size = out, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self._sha.update(data)
        self.size += len(data)
        return self._out.write(data)

    def flush(self) -> None:
        self._out.flush()

    @property
    def digest(self) -> str:
        return "sha256:" + self._sha.hexdigest()
