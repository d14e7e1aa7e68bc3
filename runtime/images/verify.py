"""Integrity check of the image store: names, configurations, manifests, blobs and unpacked layers.

Every digest is computed anew. A folder with a blob is compared with what the blob unpacks to, one without is packed
again: both give its diff_id. Rules: synchronous; changes nothing, and unpacks into a work folder that goes again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os

from . import config as configuration
from .contents import Layer
from .errors import ImageError
from .layers import Blob, extract
from .manifest import Manifest, read
from .pack import pack
from .reference import digest_hex, familiar
from .store import Store


def check(store: Store) -> list[str]:
    """Every damage, in words for a person. Blobs are hashed, unpacked again and compared; nothing is changed."""
    damage: list[str] = []
    with store.held():
        names, blobs, images = store.names(), store.blobs.digests(), store.all_digests()
        for name, digest in sorted(names.items()):
            if digest not in images:
                damage.append(f"name {familiar(name)} leads to an image that is not there: {digest}")
        layers: dict[str, list[str]] = {}
        for digest in images:
            data = store.config_of(digest)
            if hashlib.sha256(data).hexdigest() != digest_hex(digest):
                damage.append(f"the configuration of image {digest} is damaged")
                continue
            for diff_id in configuration.read(data).diff_ids:
                layers.setdefault(diff_id, []).append(digest)
            try:
                manifest = store.manifest_of(digest)
            except ImageError:
                continue  # reported as a blob
            parsed = read(manifest) if manifest else None
            for one in parsed.layers if isinstance(parsed, Manifest) else ():
                if one.digest not in blobs:
                    damage.append(f"image {digest} lacks a blob: {one.digest}")
        for diff_id, users in layers.items():
            if store.layer(diff_id) is None:
                damage += [f"image {user} lacks a layer: {diff_id}" for user in users]
        unpacked = [f"sha256:{entry}" for entry in os.listdir(f"{store.root}/layers") if "." not in entry]
    compared: set[str] = set()
    for diff_id in sorted(unpacked):
        with contextlib.suppress(FileNotFoundError):  # else removed meanwhile
            layer = store.layer(diff_id)
            if layer is not None:
                compared.add(layer.blob)
                damage += [f"layer {diff_id}: {one}" for one in _differences(store, layer)]
    for digest in blobs:
        if digest not in compared:
            with contextlib.suppress(FileNotFoundError), store.blobs.open(digest) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest_hex(digest):
                    damage.append(f"a blob is damaged: {digest}")
    return damage


def _differences(store: Store, layer: Layer) -> list[str]:
    """Every damage, in words for a person. Raises FileNotFoundError where the layer is removed meanwhile."""
    folder = store.folder(layer.diff_id)
    if not layer.blob:
        packed = pack(folder)
        return [] if packed.diff_id == layer.diff_id else ["its files were changed"]
    if not store.blobs.has(layer.blob):
        return [f"its blob is not there: {layer.blob}"]
    with store.working() as work:
        fresh = f"{work}/layer"
        os.mkdir(fresh, 0o755)
        try:
            unpacked = extract(Blob(lambda: store.blobs.open(layer.blob), layer.blob), fresh)
        except ImageError as error:
            return [f"its blob is damaged: {layer.blob}: {error}"]
        if unpacked.diff_id != layer.diff_id:
            return [f"its blob unpacks to something else: {unpacked.diff_id}"]
        return [] if pack(fresh).diff_id == pack(folder).diff_id else ["its files were changed"]
