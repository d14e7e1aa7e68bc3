"""Manifests and indexes: someone else's JSON, read strictly, and our own, written the same way each time.

Rules: pure. A document is one kind only, and the kind that it and its reference say (CVE-2021-41190); digests are well
formed before anything is done with them; layers that are to come from elsewhere (foreign ones) are refused.
Source: opencontainers/image-spec manifest.md, image-index.md, descriptor.md; distribution manifest-v2-2.md.
"""

from __future__ import annotations

import hashlib
import json
import platform as machine
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from pycompose.frozen import dataclass

from .errors import ImageError
from .reference import digest_hex

MAX_JSON = 4 << 20  # manifests and configurations, as containerd has it
MAX_LAYERS = 1000
MAX_NESTING = 3  # an index in an index in an index

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
ACCEPTED = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST)
_INDEXES = (OCI_INDEX, DOCKER_LIST)
_MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
_OLD = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
_LAYERS = {
    *(OCI_LAYER + end for end in ("", "+gzip", "+zstd")),
    *(DOCKER_LAYER + end for end in ("", ".gzip", ".zstd")),
}
MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386", "i386": "386"}


@dataclass(frozen=True, slots=True)
class Platform:
    """`variant` is empty where it does not matter (amd64, arm64)."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


@dataclass(frozen=True, slots=True)
class Descriptor:
    media_type: str
    digest: str
    size: int  # bytes
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Of one image for one platform; `layers` from the lowest up; `data` are its bytes as they came."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    data: bytes

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True)
class Index:
    media_type: str
    manifests: tuple[Descriptor, ...]


def own_platform() -> Platform:
    name = machine.machine()
    return normal(Platform("linux", MACHINES.get(name, name), {"armv7l": "v7", "armv6l": "v6"}.get(name, "")))


def platform(text: str) -> Platform:
    """`os/arch[/variant]`, or an architecture alone, as compose files say it. Raises ImageError."""
    parts = text.strip().lower().split("/")
    if len(parts) == 1:
        parts = [parts[0], own_platform().architecture] if parts[0] == "linux" else ["linux", parts[0]]
    if len(parts) > 3 or not all(part.replace("_", "").replace("-", "").replace(".", "").isalnum() for part in parts):
        raise ImageError(f"not a platform: {text[:100]!r}", "os/architecture[/variant]: linux/amd64, linux/arm64/v8")
    return normal(Platform(parts[0], parts[1], parts[2] if len(parts) == 3 else ""))


def normal(platform: Platform) -> Platform:
    """As containerd normalises: names of the kernel, and variants that every machine of the kind has."""
    architecture = MACHINES.get(platform.architecture, platform.architecture)
    if architecture in ("x86-64",):
        architecture = "amd64"
    variant = platform.variant
    if (architecture, variant) in (("arm64", "v8"), ("arm64", "8"), ("amd64", "v1")):
        variant = ""
    if architecture == "arm":
        variant = f"v{(variant or '7').removeprefix('v')}"
    return Platform(platform.os or "linux", architecture, variant)


def _suits(offered: Platform, wanted: Platform) -> int | None:
    """How far `offered` is from `wanted` (0: the same), or None."""
    offered = normal(offered)
    if (offered.os, offered.architecture) != (wanted.os, wanted.architecture):
        return None
    if offered.variant == wanted.variant:
        return 0
    if wanted.architecture == "arm" and offered.variant < wanted.variant:
        return 1 + ord(wanted.variant[-1]) - ord(offered.variant[-1])  # an older one runs on a newer one
    if not wanted.variant and offered.variant and wanted.architecture != "arm":
        return None  # it may need instructions that this machine lacks
    return 1 if not offered.variant else None


def choose(index: Index, wanted: Platform) -> Descriptor:
    """The manifest for that platform; raises ImageError, with those that there are."""
    suitable = [
        (far, number) for number, one in enumerate(index.manifests) if (far := _distance(one, wanted)) is not None
    ]
    if not suitable:
        there = sorted({str(one.platform) for one in index.manifests if one.platform and one.platform.os != "unknown"})
        hint = f"there is {', '.join(there[:12])}" if there else ""
        raise ImageError(f"it has no image for {wanted}", hint)
    return index.manifests[min(suitable)[1]]


def _distance(one: Descriptor, wanted: Platform) -> int | None:
    return 50 if one.platform is None else _suits(one.platform, wanted)


def of_config(config: bytes) -> Platform:
    """The platform that an image's configuration names (this machine's, where it does not)."""
    tree = json.loads(config)
    here = own_platform()
    values = [tree.get(key) for key in ("os", "architecture", "variant")]
    text = [part if isinstance(part, str) else "" for part in values]
    return normal(Platform(text[0] or here.os, text[1] or here.architecture, text[2]))


def suits(config: bytes, wanted: Platform) -> bool:
    return _suits(of_config(config), wanted) is not None


def _bad(what: str) -> ImageError:
    return ImageError(f"a manifest is not valid: {what}")


def descriptor(tree: Any) -> Descriptor:
    """Raises ImageError."""
    if not isinstance(tree, dict):
        raise _bad("a descriptor is no object")
    size, media_type = tree.get("size"), tree.get("mediaType", "")
    digest_hex(tree.get("digest"))
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ImageError(f"a bad size of a blob: {str(size)[:30]!r}")
    notes, place = tree.get("annotations") or {}, tree.get("platform")
    if not isinstance(media_type, str) or not isinstance(notes, dict):
        raise _bad("mediaType or annotations")
    return Descriptor(
        media_type, tree["digest"], size, _platform(place), {k: v for k, v in notes.items() if isinstance(v, str)}
    )


def _platform(tree: Any) -> Platform | None:
    if not isinstance(tree, dict):
        return None
    parts = [tree.get(key) for key in ("os", "architecture", "variant")]
    return Platform(*(part if isinstance(part, str) else "" for part in parts))


def read(data: bytes, media_type: str = "") -> Manifest | Index:
    """`media_type` is what its reference or the registry said, where they did. Raises ImageError."""
    if len(data) > MAX_JSON:
        raise _bad("it is too large")
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _bad(str(error)) from error
    if not isinstance(tree, dict):
        raise _bad("it is no object")
    stated = tree.get("mediaType") or ""
    if tree.get("schemaVersion") == 1 or stated in _OLD or media_type in _OLD:
        raise ImageError("its manifest is of schema 1, which is no longer in use", "push it again with a current tool")
    is_index, is_manifest = "manifests" in tree, "layers" in tree or "config" in tree
    if is_index and is_manifest:
        raise ImageError("a manifest that is also an index")  # CVE-2021-41190
    if stated and media_type and stated != media_type:
        raise ImageError(f"a manifest says that it is {str(stated)[:100]}, its index says {media_type[:100]}")
    kind = str(stated or media_type)
    if (kind in _INDEXES and not is_index) or (kind in _MANIFESTS and is_index):
        raise ImageError("a manifest is not of the kind that it says")
    if is_index:
        manifests = tree["manifests"]
        if not isinstance(manifests, list) or len(manifests) > MAX_LAYERS:
            raise _bad("manifests")
        return Index(kind or OCI_INDEX, tuple(descriptor(one) for one in manifests))
    layers = tree.get("layers")
    if not isinstance(layers, list):
        raise _bad("it has no layers")
    if len(layers) > MAX_LAYERS:
        raise ImageError("an image has too many layers")
    return Manifest(kind or OCI_MANIFEST, descriptor(tree.get("config")), tuple(map(_layer, layers)), data)


def _layer(tree: Any) -> Descriptor:
    one = descriptor(tree)
    if tree.get("urls") or "foreign" in one.media_type or "nondistributable" in one.media_type:
        raise ImageError(
            f"a layer is to come from elsewhere than the registry: {one.digest}", "such layers are refused"
        )
    if one.media_type and one.media_type not in _LAYERS:
        kind = one.media_type[:100]
        raise ImageError(f"a layer is of a kind that is not known: {kind!r}", "it may be an artifact, not an image")
    return one


def made(config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    """An OCI manifest. The same arguments give the same bytes."""
    tree = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": config.digest, "size": config.size},
        "layers": [{"mediaType": one.media_type, "digest": one.digest, "size": one.size} for one in layers],
    }
    return json.dumps(tree, separators=(",", ":")).encode()
