"""The image store: `layers/<diff_id>/`, `configs/<digest>.json`, `names.json`, under one lock.

Everything is made in a temporary folder, synced and renamed; a failure leaves nothing. Rules: synchronous.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from pycompose.runtime.places import Places

from . import host, layers
from .errors import ImageError, ImageNotFound
from .reference import digest_hex, familiar, normal


@dataclass(frozen=True, slots=True)
class Image:
    name: str
    digest: str
    env: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    volumes: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    stop_signal: str = ""
    healthcheck: Mapping[str, Any] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[str, ...] = ()  # folders, the topmost first
    is_host: bool = False


def _write(path: str, data: bytes) -> None:
    fd, made = tempfile.mkstemp(prefix=".new-", dir=os.path.dirname(path))
    try:
        with open(fd, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(fd)
        os.rename(made, path)
    except BaseException:
        os.unlink(made)
        raise


class Store:
    def __init__(self, places: Places) -> None:
        self._root = places.images

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        for name in ("layers", "configs"):
            os.makedirs(f"{self._root}/{name}", mode=0o711, exist_ok=True)
        with open(f"{self._root}/lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _names(self) -> dict[str, str]:
        try:
            with open(f"{self._root}/names.json", encoding="utf-8") as source:
                return dict(json.load(source))
        except FileNotFoundError:
            return {}

    def resolve(self, name: str) -> Image:
        """The image of that name or digest; raises ImageNotFound."""
        if name == host.NAME:
            return Image(host.NAME, "", env=(host.PATH,), cmd=("/bin/sh",), is_host=True)
        digest = name if name.startswith("sha256:") else self._names().get(normal(name), "")
        if not digest:
            raise ImageNotFound(name)
        try:
            with open(f"{self._root}/configs/{digest_hex(digest)}.json", "rb") as source:
                told = json.load(source)
        except FileNotFoundError:
            raise ImageNotFound(name) from None
        config = told.get("config") or {}
        folders = tuple(f"{self._root}/layers/{digest_hex(d)}" for d in reversed(told["rootfs"]["diff_ids"]))
        return Image(
            name=familiar(name),
            digest=digest,
            env=tuple(config.get("Env") or ()),
            cmd=tuple(config.get("Cmd") or ()),
            entrypoint=tuple(config.get("Entrypoint") or ()),
            user=config.get("User") or "",
            workdir=config.get("WorkingDir") or "",
            volumes=tuple(config.get("Volumes") or ()),
            exposed=tuple(config.get("ExposedPorts") or ()),
            stop_signal=config.get("StopSignal") or "",
            healthcheck=config.get("Healthcheck"),
            labels=config.get("Labels") or {},
            layers=folders,
        )

    def add(self, names: tuple[str, ...], config: bytes | None, blobs: tuple[IO[bytes], ...]) -> Image:
        """Keep an image: `blobs` are its layers from the lowest up; without a `config` one is made."""
        full = tuple(normal(name) for name in names)
        wanted = None
        if config is not None:
            try:
                wanted = json.loads(config)["rootfs"]["diff_ids"]
                if not isinstance(wanted, list):
                    raise ImageError("the image's diff_ids are not a list")
            except (ValueError, KeyError, TypeError) as error:
                raise ImageError(f"the image's configuration cannot be read: {error}") from error
            if len(wanted) != len(blobs):
                raise ImageError("the image's configuration and its layers differ in number")
            for digest in wanted:
                digest_hex(digest)
        with self._locked():
            work = tempfile.mkdtemp(prefix=".new-", dir=self._root)
            try:
                found: list[str] = []
                for number, blob in enumerate(blobs):
                    folder = f"{work}/{number}"
                    os.mkdir(folder)
                    os.chmod(folder, 0o755)
                    found.append(layers.extract(blob, folder))
                    if wanted is not None and wanted[number] != found[-1]:
                        raise ImageError(f"layer {number} is {found[-1]}, not {wanted[number]}")
                if config is None:
                    config = json.dumps({"config": {}, "rootfs": {"type": "layers", "diff_ids": found}}).encode()
                os.sync()
                for number, digest in enumerate(found):
                    target = f"{self._root}/layers/{digest_hex(digest)}"
                    if not os.path.isdir(target):
                        os.rename(f"{work}/{number}", target)
                image = hashlib.sha256(config).hexdigest()
                _write(f"{self._root}/configs/{image}.json", config)
                names_now = self._names() | {name: f"sha256:{image}" for name in full}
                _write(f"{self._root}/names.json", json.dumps(names_now, indent=1).encode())
            finally:
                shutil.rmtree(work, ignore_errors=True)
        return self.resolve(full[0] if full else f"sha256:{image}")

    def import_rootfs(self, name: str, tar: str) -> Image:
        """An image of one layer from a tar of a root file system."""
        with open(tar, "rb") as source:
            return self.add((name,), None, (source,))

    def load(self, archive: str) -> list[Image]:
        """The images of a `docker save` archive or an OCI layout (folder or tar)."""
        from .archive import load

        return load(self, archive)

    def ls(self) -> list[Image]:
        return [self.resolve(name) for name in sorted(self._names())]

    def rm(self, name: str) -> None:
        """Forget a name; configurations and layers that nothing names go too."""
        with self._locked():
            names = self._names()
            if names.pop(normal(name), None) is None:
                raise ImageNotFound(name)
            _write(f"{self._root}/names.json", json.dumps(names, indent=1).encode())
            kept = {folder for digest in names.values() for folder in self.resolve(digest).layers}
            for entry in os.listdir(f"{self._root}/configs"):
                if f"sha256:{entry.removesuffix('.json')}" not in names.values():
                    os.unlink(f"{self._root}/configs/{entry}")
            for entry in os.listdir(f"{self._root}/layers"):
                if f"{self._root}/layers/{entry}" not in kept:
                    shutil.rmtree(f"{self._root}/layers/{entry}")
