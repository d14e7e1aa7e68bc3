"""The image store, read: names, images, layers and manifests that are in it, for every command.

Rules: synchronous; changes nothing. What a name means is decided in `image_names`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any

from pycompose.frozen import dataclass

from . import config as configuration
from . import host_image, image_names
from .errors import ImageNotFound, not_done
from .reference import digest_hex, familiar, in_archive, is_tag, parse
from .store_folders import StoreFolders


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
    exposed: tuple[str, ...] = ()  # "80/tcp"
    stop_signal: str = ""
    healthcheck: Mapping[str, Any] | None = None  # as Docker writes it: times in nanoseconds
    labels: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[str, ...] = ()  # folders, the topmost first
    is_host: bool = False
    created: str = ""
    size: int = 0  # bytes of files in its layers


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer in the store; `blob` is empty where nobody kept its tar."""

    diff_id: str
    size: int = 0  # bytes of files
    blob: str = ""  # the digest of a blob that unpacks to it
    blob_size: int = 0
    media_type: str = ""


class StoreContents(StoreFolders):
    def names(self) -> dict[str, str]:
        try:
            with open(f"{self.root}/names.json", encoding="utf-8") as source:
                return dict(json.load(source))
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError) as error:
            raise not_done(f"{self.root}/names.json cannot be read", error) from error

    def digest(self, name: str) -> str:
        """The digest of the image that `name` means. Raises ImageNotFound, or ImageError for what is no name."""
        return image_names.find(name, self.names(), self.all_digests)

    def all_digests(self) -> list[str]:
        try:
            entries = os.listdir(f"{self.root}/configs")
        except FileNotFoundError:
            return []
        return sorted(f"sha256:{e.removesuffix('.json')}" for e in entries if e.endswith(".json") and e[0] != ".")

    def resolve(self, name: str) -> Image:
        """The image of that name, `sha256:` digest or short id; raises ImageNotFound, ImageError."""
        if name == host_image.NAME:
            return Image(host_image.NAME, "", env=(host_image.path(),), cmd=("/bin/sh",), is_host=True)
        return self.image(self.digest(name), familiar(name))

    def image(self, digest: str, name: str) -> Image:
        """The image of that digest; `name` is how it is called. Raises ImageNotFound, ImageError."""
        try:
            with open(f"{self.root}/configs/{digest_hex(digest)}.json", "rb") as source:
                config = configuration.read(source.read())
        except FileNotFoundError:
            raise ImageNotFound(name) from None
        return Image(
            name=name,
            digest=digest,
            env=config.env,
            cmd=config.cmd,
            entrypoint=config.entrypoint,
            user=config.user,
            workdir=config.workdir,
            volumes=config.volumes,
            exposed=config.exposed,
            stop_signal=config.stop_signal,
            healthcheck=config.healthcheck,
            labels=config.labels,
            layers=tuple(f"{self.root}/layers/{digest_hex(d)}" for d in reversed(config.diff_ids)),
            is_host=config.host,
            created=config.created,
            size=sum(layer.size for d in config.diff_ids if (layer := self.layer(d))),
        )

    def layer(self, diff_id: str) -> Layer | None:
        """What is known of a layer, or None if it is not here."""
        if not os.path.isdir(self.folder(diff_id)):
            return None
        try:
            with open(f"{self.folder(diff_id)}.json", encoding="utf-8") as source:
                return Layer(diff_id, **json.load(source))
        except (OSError, ValueError, TypeError):
            return Layer(diff_id)

    def fetched(self, name: str) -> float:
        """When the image last came from its registry or archive: seconds since 1970; 0 if that is not known."""
        try:
            return os.stat(f"{self.root}/configs/{digest_hex(self.digest(name))}.manifest").st_mtime
        except (FileNotFoundError, ImageNotFound):
            return 0.0

    def folder(self, diff_id: str) -> str:
        """Where a layer lies, or would lie."""
        return f"{self.root}/layers/{digest_hex(diff_id)}"

    def manifest(self, name: str) -> bytes:
        """The manifest that the image came with or was pushed with; empty if it has none."""
        return self.manifest_of(self.digest(name))

    def manifest_of(self, digest: str) -> bytes:
        try:
            with open(f"{self.root}/configs/{digest_hex(digest)}.manifest", encoding="ascii") as source:
                return self.blobs.small(source.read())
        except FileNotFoundError:
            return b""

    def config(self, name: str) -> bytes:
        """The image's configuration as it was loaded."""
        return self.config_of(self.digest(name))

    def config_of(self, digest: str) -> bytes:
        with open(f"{self.root}/configs/{digest_hex(digest)}.json", "rb") as source:
            return source.read()

    def digests(self, names: Iterable[str]) -> dict[str, str]:
        """Name -> digest of the image that has it now; names that no image has are left out (`host` has none)."""
        digests = {}
        for name in names:
            with contextlib.suppress(ImageNotFound):
                digests[name] = "" if name == host_image.NAME else self.digest(name)
        return digests

    def repository_digest(self, name: str) -> str:
        """The digest that the image of that name has in its registry; empty where it came with none."""
        if in_archive(name):
            return ""
        digest, repository = self.digest(name), parse(name).repository
        pins = (parse(pin) for pin in image_names.pins(digest, self.names()))
        return next((pin.digest for pin in pins if pin.repository == repository), "")

    def names_of(self, digest: str) -> tuple[str, ...]:
        """The names that lead to an image, as people write them."""
        return tuple(map(familiar, image_names.tags(digest, self.names())))

    def pins_of(self, digest: str) -> tuple[str, ...]:
        """`repository@digest` of the registries that the image is known to be in."""
        return tuple(map(familiar, image_names.pins(digest, self.names())))

    def used(self, digest: str) -> float:
        """When a container was last made from the image, or it came: seconds since 1970; 0 for the host."""
        if not digest:
            return 0.0
        return os.stat(f"{self.root}/configs/{digest_hex(digest)}.json").st_mtime

    def ls(self) -> list[Image]:
        """One entry a name; an image without one is there under its digest."""
        names = {n: d for n, d in self.names().items() if is_tag(n)}
        named = set(names.values())
        images = [self.image(digest, familiar(name)) for name, digest in sorted(names.items())]
        return images + [self.image(d, d) for d in self.all_digests() if d not in named]
