"""Artifacts: small documents kept in a registry under a manifest, as OCI image-spec 1.1 has them, and as 1.0 could.

Rules: runs under trio. All is in memory and bounded. Every digest and size is checked before anything counts.
Source: opencontainers/image-spec manifest.md, "Guidelines for artifact usage"; distribution-spec spec.md.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import field, replace
from typing import Any

import httpx
from pycompose.frozen import dataclass
from pycompose.runtime.images.errors import ImageError
from pycompose.runtime.images.manifest import (
    MAX_NESTING,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    descriptor,
)
from pycompose.runtime.images.reference import Reference, parse

from .config import endpoints
from .distribution import Registry, RegistryError

EMPTY = "application/vnd.oci.empty.v1+json"
NOTHING = b"{}"
MAX_PARTS = 1000
MAX_TOTAL = 64 << 20  # bytes of all parts
REFUSED = range(400, 500)
DENIED = (401, 403, 407)


@dataclass(frozen=True, slots=True)
class ArtifactPart:
    media_type: str
    data: bytes
    annotations: Mapping[str, str] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        notes = {"annotations": dict(self.annotations)} if self.annotations else {}
        return {"mediaType": self.media_type, "digest": digest(self.data), "size": len(self.data), **notes}


@dataclass(frozen=True, slots=True)
class ArtifactKind:
    """What an artifact is: its type, and, in manifests of OCI 1.0, the media type of its empty configuration."""

    artifact_type: str
    config_type: str


@dataclass(frozen=True, slots=True)
class Artifact:
    digest: str
    parts: tuple[ArtifactPart, ...]


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


async def push(
    name: str,
    kind: ArtifactKind,
    parts: Sequence[ArtifactPart],
    *,
    created: str,
    version: str = "",
    insecure: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> str:
    """Keep an artifact under a tag; the digest of its manifest. Raises ImageError.

    `version` is that of the manifest, 1.0 or 1.1; "" is 1.1, and 1.0 where the registry does not take that.
    """
    reference = parse(name)
    if reference.digest:
        raise ImageError(f"a digest cannot be pushed to: {name!r}", "name a tag")
    async with AsyncExitStack() as stack:
        registry = _opened(stack, reference, insecure, environ, pull=False)
        sender = _Sender(registry, reference.repository.partition("/")[2])
        for data in dict.fromkeys([NOTHING, *(part.data for part in parts)]):
            await sender.blob(data)
        for number in (version,) if version else ("1.1", "1.0"):
            manifest = _manifest(kind, parts, created, number)
            try:
                return await sender.manifest(reference.tag, manifest)
            except RegistryError as error:
                if number == version or number == "1.0" or error.status not in REFUSED or error.status in DENIED:
                    raise
    raise AssertionError


def _manifest(kind: ArtifactKind, parts: Sequence[ArtifactPart], created: str, version: str) -> bytes:
    new = version != "1.0"
    config = ArtifactPart(EMPTY if new else kind.config_type, NOTHING).described()
    tree = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        **({"artifactType": kind.artifact_type} if new else {}),
        "config": {**config, "data": base64.b64encode(NOTHING).decode()},
        "layers": [part.described() for part in parts],
        "annotations": {"org.opencontainers.image.created": created},
    }
    return json.dumps(tree, separators=(",", ":")).encode()


@dataclass(slots=True)
class _Sender:
    registry: Registry
    repository: str

    @property
    def scope(self) -> str:
        return f"repository:{self.repository}:pull,push"

    async def blob(self, data: bytes) -> None:
        """In one request: it is small."""
        if await self.registry.has_blob(self.repository, digest(data), self.scope):
            return

        async def send() -> None:
            path = f"/v2/{self.repository}/blobs/uploads/"
            async with self.registry.request("POST", path, self.scope, fine=(202,)) as response:
                place = httpx.URL(str(response.url.join(response.headers.get("location", ""))))
            address = str(place.copy_merge_params({"digest": digest(data)}))
            headers = {"content-type": "application/octet-stream"}
            async with self.registry.request(
                "PUT", address, self.scope, headers=headers, body=lambda: data, fine=(201, 204)
            ):
                pass

        await self.registry.steady(send)

    async def manifest(self, tag: str, data: bytes, media_type: str = OCI_MANIFEST) -> str:
        async def put() -> None:
            path, headers = f"/v2/{self.repository}/manifests/{tag}", {"content-type": media_type}
            async with self.registry.request(
                "PUT", path, self.scope, headers=headers, body=lambda: data, fine=(200, 201, 202)
            ):
                pass

        await self.registry.steady(put)
        return digest(data)


async def refer(
    name: str,
    kind: ArtifactKind,
    subject: str,
    images: Sequence[str],
    annotations: Mapping[str, str],
    *,
    insecure: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> str:
    """Keep an index of images of the same repository (digests) that refers to the artifact `subject`; its digest.

    Raises ImageError.
    """
    reference = parse(name)
    async with AsyncExitStack() as stack:
        registry = _opened(stack, reference, insecure, environ, pull=False)
        sender = _Sender(registry, reference.repository.partition("/")[2])
        described = {}
        for wanted in (*images, subject):
            data, media_type, _ = await registry.manifest(sender.repository, wanted)
            described[wanted] = {"mediaType": media_type, "digest": wanted, "size": len(data)}
        tree = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [described[image] for image in images],
            "subject": {**described[subject], "artifactType": kind.artifact_type},
            "annotations": dict(annotations),
        }
        data = json.dumps(tree, separators=(",", ":")).encode()
        return await sender.manifest(digest(data), data, OCI_INDEX)


async def pull(
    name: str, kind: ArtifactKind, *, insecure: bool = False, environ: Mapping[str, str] = os.environ
) -> Artifact:
    """An artifact of that kind, verified. Raises ImageError."""
    reference = parse(name)
    repository = reference.repository.partition("/")[2]
    async with AsyncExitStack() as stack:
        registry = _opened(stack, reference, insecure, environ, pull=True)
        wanted = reference.digest or reference.tag
        for _ in range(MAX_NESTING):
            data, _, _ = await registry.manifest(repository, wanted)
            if wanted.startswith("sha256:") and digest(data) != wanted:
                raise ImageError(f"a manifest is not what its digest says: {wanted}")
            tree = _object(data)
            if "manifests" not in tree:
                break
            wanted = _in_index(tree, kind, name)
        else:
            raise ImageError("its indexes are nested too deep")
        blobs = _parts_of(tree, kind, name)
        parts = [
            ArtifactPart(blob.media_type, await _blob(registry, repository, blob), blob.annotations) for blob in blobs
        ]
        return Artifact(digest(data), tuple(parts))


def _opened(
    stack: AsyncExitStack, reference: Reference, insecure: bool, environ: Mapping[str, str], *, pull: bool
) -> Registry:
    endpoint = endpoints(reference.repository.partition("/")[0], pull=pull, environ=environ)[-1]
    registry = Registry(replace(endpoint, insecure=endpoint.insecure or insecure), environ)
    stack.push_async_callback(registry.aclose)
    return registry


def _object(data: bytes) -> dict[str, Any]:
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"a manifest is not valid: {error}") from error
    if not isinstance(tree, dict) or ("manifests" in tree and ("layers" in tree or "config" in tree)):
        raise ImageError("a manifest is not valid: it is no object of one kind")  # CVE-2021-41190
    return tree


def _in_index(tree: Mapping[str, Any], kind: ArtifactKind, name: str) -> str:
    entries = tree["manifests"]
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("artifactType") == kind.artifact_type:
            return descriptor(entry).digest
    raise ImageError(f"{name} is an index ({OCI_INDEX}) without an artifact of type {kind.artifact_type}")


def _parts_of(tree: Mapping[str, Any], kind: ArtifactKind, name: str) -> list[Descriptor]:
    config, layers = tree.get("config"), tree.get("layers")
    config_type = config.get("mediaType") if isinstance(config, dict) else ""
    artifact_type = tree.get("artifactType") or ""
    if artifact_type != kind.artifact_type and (artifact_type or config_type != kind.config_type):
        said = str(artifact_type or config_type or "something else")[:100]
        raise ImageError(f"{name} is not of type {kind.artifact_type}, but {said}")
    if not isinstance(layers, list) or len(layers) > MAX_PARTS:
        raise ImageError(f"{name}: a manifest is not valid: layers")
    blobs = [descriptor(layer) for layer in layers]
    if sum(blob.size for blob in blobs) > MAX_TOTAL:
        raise ImageError(f"{name} is larger than {MAX_TOTAL >> 20} MiB")
    return blobs


async def _blob(registry: Registry, repository: str, blob: Descriptor) -> bytes:
    async def fetch() -> bytes:
        data = bytearray()
        async with aclosing(registry.blob(repository, blob.digest, blob.size)) as chunks:
            async for chunk in chunks:
                data += chunk
        return bytes(data)

    data: bytes = await registry.steady(fetch)
    if digest(data) != blob.digest:
        raise ImageError(f"a blob is not what its digest says: {blob.digest}")
    return data
