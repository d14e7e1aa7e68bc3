"""Reachability in the image store: what names, containers, builders and work folders want, and removal of the rest.

An image is wanted while a name leads to it or a container is made from it; a layer while an image, a container, a
builder's cache or a work folder needs it; a blob while an image's manifest, a layer or a work folder names it.
Rules: synchronous; the store's lock is the caller's; folders are moved aside, for the caller to remove after it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import field

from pycompose.frozen import dataclass
from pycompose.runtime.state import usage

from . import config as configuration
from .contents import StoreContents
from .errors import ImageError
from .manifest import Manifest, read
from .reference import digest_hex


@dataclass(slots=True)
class _Wanted:
    images: set[str] = field(default_factory=set)
    layers: set[str] = field(default_factory=set)
    blobs: set[str] = field(default_factory=set)


def _wanted(store: StoreContents) -> _Wanted:
    users, names = usage.everyone(store.places), store.names()
    wanted = _Wanted(set(names.values()) | {user.uses.digest for user in users})
    wanted.layers = {layer for user in users for layer in user.uses.layers}
    # The manifests that names lead to; an index is none, and is not kept.
    wanted.blobs = {digest for name in names for _, at, digest in [name.partition("@")] if at}
    for entry in os.listdir(f"{store.root}/work"):
        needs = store.needs(f"{store.root}/work/{entry}")
        wanted.layers |= needs
        wanted.blobs |= needs
    for entry in os.listdir(f"{store.root}/cache"):
        with contextlib.suppress(OSError, ValueError, KeyError), open(f"{store.root}/cache/{entry}") as file:
            wanted.layers |= set(json.load(file)["layers"])
    for digest in wanted.images & set(store.all_digests()):
        wanted.layers |= set(configuration.read(store.config_of(digest)).diff_ids)
        with (
            contextlib.suppress(FileNotFoundError),
            open(f"{store.root}/configs/{digest_hex(digest)}.manifest") as file,
        ):
            wanted.blobs.add(file.read())
    for digest in list(wanted.blobs):
        wanted.blobs |= _named_by(store, digest)
    for diff_id in wanted.layers:
        if (layer := store.layer(diff_id)) and layer.blob:
            wanted.blobs.add(layer.blob)
    return wanted


def _named_by(store: StoreContents, digest: str) -> set[str]:
    """The blobs that a manifest names; nothing where it is none, or is damaged: `verify.check` says so."""
    try:
        if store.blobs.size(digest) > 1 << 20:
            return set()  # a layer that a work folder needs
        manifest = read(store.blobs.small(digest))
    except (OSError, ImageError):
        return set()
    if not isinstance(manifest, Manifest):
        return set()
    return {manifest.config.digest, *(layer.digest for layer in manifest.layers)}


def collect(store: StoreContents, work: str, age: float = 0) -> None:
    """Remove images that nothing wants, and layers and blobs that came more than `age` seconds ago.

    `work` gets the layers' folders. The store's lock is held.
    """
    reached, now = _wanted(store), time.time()
    for entry in os.listdir(f"{store.root}/configs"):
        if f"sha256:{entry.partition('.')[0]}" not in reached.images:
            os.unlink(f"{store.root}/configs/{entry}")
    layers = f"{store.root}/layers"
    entries = set(os.listdir(layers))
    for name in {entry.partition(".")[0] for entry in entries}:
        if f"sha256:{name}" in reached.layers:
            continue
        notes = f"{layers}/{name}.json"
        with contextlib.suppress(FileNotFoundError):
            if now - os.stat(notes).st_mtime < age:
                if name in entries:
                    layer = store.layer(f"sha256:{name}")
                    reached.blobs.add(layer.blob if layer else "")
                continue
        if name in entries:
            os.rename(f"{layers}/{name}", f"{work}/gone-{name}")
        for entry in entries:
            if entry.startswith(f"{name}."):
                os.unlink(f"{layers}/{entry}")
    for digest in store.blobs.digests():
        if digest not in reached.blobs and store.blobs.age(digest, now) >= age:
            store.blobs.remove(digest)
