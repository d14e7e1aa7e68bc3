"""What of the image store may go, and whether what is there is whole.

An image is wanted while a name leads to it or a container is made from it; a layer while an image, a container, a
builder's cache or a work folder needs it; a blob while an image's manifest, a layer or a work folder names it.
Rules: synchronous; removes only under the store's lock, and moves folders aside to remove them after it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import field
from typing import TYPE_CHECKING

from pycompose.frozen import dataclass
from pycompose.runtime.state import usage

from . import config as configuration
from .errors import ImageError
from .manifest import Manifest, read
from .reference import digest_hex, familiar, is_tag

if TYPE_CHECKING:
    from .store import Store


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went, in words, and how many bytes that made free."""

    said: tuple[str, ...] = ()
    freed: int = 0


@dataclass(slots=True)
class _Wanted:
    images: set[str] = field(default_factory=set)
    layers: set[str] = field(default_factory=set)
    blobs: set[str] = field(default_factory=set)


def _wanted(store: Store) -> _Wanted:
    users, names = usage.everyone(store.places), store.names()
    found = _Wanted(set(names.values()) | {user.uses.digest for user in users})
    found.layers = {layer for user in users for layer in user.uses.layers}
    # The manifests that names lead to; an index is none, and is not kept.
    found.blobs = {digest for name in names for _, at, digest in [name.partition("@")] if at}
    for entry in os.listdir(f"{store.root}/work"):
        needs = store.needs(f"{store.root}/work/{entry}")
        found.layers |= needs
        found.blobs |= needs
    for entry in os.listdir(f"{store.root}/cache"):
        with contextlib.suppress(OSError, ValueError, KeyError), open(f"{store.root}/cache/{entry}") as file:
            found.layers |= set(json.load(file)["layers"])
    for digest in found.images & set(store.all_digests()):
        found.layers |= set(configuration.read(store.config_of(digest)).diff_ids)
        with (
            contextlib.suppress(FileNotFoundError),
            open(f"{store.root}/configs/{digest_hex(digest)}.manifest") as file,
        ):
            found.blobs.add(file.read())
    for digest in list(found.blobs):
        found.blobs |= _named_by(store, digest)
    for diff_id in found.layers:
        if (layer := store.layer(diff_id)) and layer.blob:
            found.blobs.add(layer.blob)
    return found


def _named_by(store: Store, digest: str) -> set[str]:
    """The blobs that a manifest names; nothing where it is none, or is damaged: `check` tells."""
    try:
        if store.blobs.size(digest) > 1 << 20:
            return set()  # a layer that a work folder needs
        told = read(store.blobs.small(digest))
    except (OSError, ImageError):
        return set()
    return {told.config.digest, *(one.digest for one in told.layers)} if isinstance(told, Manifest) else set()


def collect(store: Store, work: str, age: float = 0) -> None:
    """Take away images that nothing wants, and layers and blobs that came more than `age` seconds ago.

    `work` gets the layers' folders. The store's lock is held.
    """
    wanted, now = _wanted(store), time.time()
    for entry in os.listdir(f"{store.root}/configs"):
        if f"sha256:{entry.partition('.')[0]}" not in wanted.images:
            os.unlink(f"{store.root}/configs/{entry}")
    layers = f"{store.root}/layers"
    entries = set(os.listdir(layers))
    for name in {entry.partition(".")[0] for entry in entries}:
        if f"sha256:{name}" in wanted.layers:
            continue
        notes = f"{layers}/{name}.json"
        with contextlib.suppress(FileNotFoundError):
            if now - os.stat(notes).st_mtime < age:
                if name in entries:
                    layer = store.layer(f"sha256:{name}")
                    wanted.blobs.add(layer.blob if layer else "")
                continue
        if name in entries:
            os.rename(f"{layers}/{name}", f"{work}/gone-{name}")
        for entry in entries:
            if entry.startswith(f"{name}."):
                os.unlink(f"{layers}/{entry}")
    for digest in store.blobs.digests():
        if digest not in wanted.blobs and store.blobs.age(digest, now) >= age:
            store.blobs.remove(digest)


def prune(store: Store, everything: bool) -> Pruned:
    with store.working() as work:
        with store.locked():
            before, users = _size(store), {user.uses.digest for user in usage.everyone(store.places)}
            names = store.names()
            tagged = {d for n, d in names.items() if is_tag(n)}
            gone = {d for d in names.values() if d not in users and (everything or d not in tagged)}
            said = [f"untagged: {familiar(n)}" for n, d in sorted(names.items()) if d in gone and is_tag(n)]
            here = set(store.all_digests())
            store.keep_names({n: d for n, d in names.items() if d not in gone})
            collect(store, work)
            said += [f"deleted: {digest}" for digest in sorted(here - set(store.all_digests()))]
            freed = before - _size(store)
        return Pruned(tuple(said), freed)


def _size(store: Store) -> int:
    """Bytes of all layers and blobs."""
    blobs = sum(store.blobs.size(digest) for digest in store.blobs.digests())
    names = {entry.partition(".")[0] for entry in os.listdir(f"{store.root}/layers") if not entry.startswith(".")}
    return blobs + sum(layer.size for name in names if (layer := store.layer(f"sha256:{name}")))


def check(store: Store) -> list[str]:
    """What is damaged, in words. Blobs are hashed, unpacked again and compared; nothing is changed."""
    import hashlib

    from .verify import differences

    found: list[str] = []
    with store.held():
        names, blobs, images = store.names(), store.blobs.digests(), store.all_digests()
        for name, digest in sorted(names.items()):
            if digest not in images:
                found.append(f"name {familiar(name)} leads to an image that is not there: {digest}")
        layers: dict[str, list[str]] = {}
        for digest in images:
            data = store.config_of(digest)
            if hashlib.sha256(data).hexdigest() != digest_hex(digest):
                found.append(f"the configuration of image {digest} is damaged")
                continue
            for diff_id in configuration.read(data).diff_ids:
                layers.setdefault(diff_id, []).append(digest)
            try:
                manifest = store.manifest_of(digest)
            except ImageError:
                continue  # told as a blob
            told = read(manifest) if manifest else None
            for one in told.layers if isinstance(told, Manifest) else ():
                if one.digest not in blobs:
                    found.append(f"image {digest} lacks a blob: {one.digest}")
        for diff_id, users in layers.items():
            if store.layer(diff_id) is None:
                found += [f"image {user} lacks a layer: {diff_id}" for user in users]
        unpacked = [f"sha256:{entry}" for entry in os.listdir(f"{store.root}/layers") if "." not in entry]
    seen: set[str] = set()
    for diff_id in sorted(unpacked):
        with contextlib.suppress(FileNotFoundError):  # else removed meanwhile
            layer = store.layer(diff_id)
            if layer is not None:
                seen.add(layer.blob)
                found += [f"layer {diff_id}: {one}" for one in differences(store, layer)]
    for digest in blobs:
        if digest not in seen:
            with contextlib.suppress(FileNotFoundError), store.blobs.open(digest) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest_hex(digest):
                    found.append(f"a blob is damaged: {digest}")
    return found
