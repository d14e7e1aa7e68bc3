"""A container's files as an image (`commit`) or as one tar (`export`). Volumes and other mounts are no part of either.

Where overlayfs holds the container's changes they become one layer on top of its image's; where its files are a copy
("vfs") all of them become one. Rules: synchronous; the container is only read, so it had better stand still meanwhile.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import field
from typing import IO

from pycompose.frozen import dataclass
from pycompose.runtime.files.union import merge
from pycompose.runtime.state import usage

from . import config as configuration
from . import host_image
from .errors import ImageError
from .layers import Blob
from .manifest import own_platform
from .pack import pack
from .reference import parse
from .store import Image, Store


@dataclass(frozen=True, slots=True)
class Note:
    """What is written down of a commit; `changes` are Dockerfile instructions."""

    author: str = ""
    message: str = ""
    changes: Sequence[str] = field(default_factory=tuple)


def _used(folder: str) -> usage.Uses:
    uses = usage.read(folder)
    if uses.image == host_image.NAME:
        raise ImageError("a container of image host has this machine's files, which no image can hold")
    return uses


def export(store: Store, folder: str, out: IO[bytes]) -> None:
    """Write the root file system of the container in `folder` as a tar. Raises ImageError, OSError."""
    uses = _used(folder)
    if os.path.isdir(f"{folder}/rootfs"):
        pack(f"{folder}/rootfs", out)
        return
    with store.working() as work:
        store.need(work, uses.layers)
        os.mkdir(f"{work}/whole", 0o755)
        merge((f"{folder}/upper", *(store.folder(layer) for layer in uses.layers)), f"{work}/whole")
        pack(f"{work}/whole", out)


def commit(store: Store, folder: str, name: str, note: Note) -> Image:
    """An image of the container in `folder`. Raises ImageError, OSError."""
    reference = parse(name) if name else None
    if reference and reference.digest:
        raise ImageError(f"a name with a digest cannot be given: {name!r}")
    image, config = _used(folder), configuration.changed(note.changes)
    flat = os.path.isdir(f"{folder}/rootfs")
    with store.working() as work:
        store.need(work, image.layers)
        tree = json.loads(store.config_of(image.digest))
        path = f"{work}/tar"
        with open(path, "wb") as out:
            pack(f"{folder}/rootfs" if flat else f"{folder}/upper", out)
        fresh = store.unpack(Blob(lambda: open(path, "rb")), work)  # noqa: SIM115 - `unpack` closes it
        os.unlink(path)
        before = [] if flat else list(tree.get("rootfs", {}).get("diff_ids") or [])
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = {"created": created, "author": note.author, "comment": note.message, "created_by": "commit"}
        merged = {**(tree.get("config") or {}), **config}
        for key in ("Labels", "Volumes", "ExposedPorts"):
            if key in config:
                merged[key] = {**((tree.get("config") or {}).get(key) or {}), **config[key]}
        if "Env" in config:
            old = dict(item.partition("=")[::2] for item in (tree.get("config") or {}).get("Env") or ())
            old |= dict(item.partition("=")[::2] for item in config["Env"])
            merged["Env"] = [f"{key}={value}" for key, value in old.items()]
        platform = own_platform()
        configured = {
            "architecture": tree.get("architecture") or platform.architecture,
            "os": tree.get("os") or platform.os,
            **({"variant": tree["variant"]} if tree.get("variant") else {}),
            "created": created,
            **({"author": note.author} if note.author else {}),
            "config": merged,
            "rootfs": {"type": "layers", "diff_ids": [*before, fresh.layer.diff_id]},
            "history": [*([] if flat else tree.get("history") or []), {k: v for k, v in line.items() if v}],
        }
        data = json.dumps(configured).encode()
        configuration.read(data)
        return store.commit((reference,) if reference else (), data, work, fresh=(fresh,))
