"""An image from the store into a registry: blobs that it lacks, then the manifest, with the digests they came with.

Blobs that another repository of the registry has are mounted from there; others are sent in parts, each tried again
from where the registry says that it is. Layers whose blob nobody kept are packed and compressed first, always to the
same bytes, and kept. Rules: runs under trio; nothing of the store is changed but by what is made for the push.
Source: opencontainers/distribution-spec spec.md, "Push".
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import httpx
import trio
from pycompose.frozen import dataclass
from pycompose.runtime.images.assemble import complete
from pycompose.runtime.images.errors import ImageError
from pycompose.runtime.images.manifest import OCI_MANIFEST, Descriptor, Manifest, read
from pycompose.runtime.images.reference import Reference, parse
from pycompose.runtime.images.store import Store

from .config import endpoints
from .distribution import ATTEMPTS, Registry, RegistryError, pause
from .progress import Report, Transfer, silent
from .pull import first_of, working

AT_ONCE = 3  # blobs
PART = 32 << 20  # bytes of one request
PIECE = 1 << 18  # bytes read at once


async def push(
    store: Store,
    name: str,
    *,
    beside: str = "",
    report: Report = silent,
    environ: Mapping[str, str] = os.environ,
    limit: trio.CapacityLimiter | None = None,
) -> str:
    """The digest of the manifest that the registry has now. Raises ImageError.

    With `beside` it goes into the repository of that name, without a tag.
    """
    reference = parse(beside or name)
    if reference.digest:
        raise ImageError(f"a digest cannot be pushed to: {name!r}", "name the image by a tag")
    report(Transfer(name, "", "started"))
    async with AsyncExitStack() as stack:
        work = await stack.enter_async_context(working(store))
        manifest = await trio.to_thread.run_sync(complete, store, store.digest(name), work)
        (endpoint,) = endpoints(reference.repository.partition("/")[0], pull=False, environ=environ)
        registry = Registry(endpoint, environ)
        stack.push_async_callback(registry.aclose)
        sources = _sources(store, reference)
        if beside:
            reference = Reference(reference.repository, manifest.digest)  # a manifest is put under either
        one = _Push(store, registry, name, reference, report, sources)
        await one.run(manifest, limit or trio.CapacityLimiter(AT_ONCE))
        if not beside:
            await trio.to_thread.run_sync(store.pushed, reference, store.digest(name), manifest.digest)
    report(Transfer(name, "", "done", text=manifest.digest))
    return manifest.digest


def _sources(store: Store, reference: Reference) -> dict[str, str]:
    """Blob -> a repository of the same registry that is known to have it."""
    registry = reference.repository.partition("/")[0]
    sources: dict[str, str] = {}
    for key in store.names():
        if "@" not in key or not key.startswith(f"{registry}/"):
            continue
        known = parse(key)
        try:
            document = read(store.blobs.small(known.digest))
        except (OSError, ImageError):
            continue  # an index, or damaged
        if isinstance(document, Manifest) and known.repository != reference.repository:
            for one in (document.config, *document.layers):
                sources[one.digest] = known.repository.partition("/")[2]
    return sources


@dataclass(slots=True)
class _Push:
    store: Store
    registry: Registry
    name: str
    reference: Reference
    report: Report
    sources: Mapping[str, str]

    @property
    def repository(self) -> str:
        return self.reference.repository.partition("/")[2]

    @property
    def scope(self) -> str:
        return f"repository:{self.repository}:pull,push"

    async def run(self, manifest: Manifest, limit: trio.CapacityLimiter) -> None:
        layers = {one.digest: one for one in manifest.layers}
        for layer in layers.values():
            self.report(Transfer(self.name, layer.digest, "waiting", 0, layer.size))
        try:
            async with trio.open_nursery() as nursery:
                for layer in layers.values():
                    nursery.start_soon(self._blob, layer, limit)
        except BaseExceptionGroup as group:
            raise first_of(group) from None
        await self._blob(manifest.config, limit, quiet=True)

        async def put() -> None:
            path = f"/v2/{self.repository}/manifests/{self.reference.tag}"
            headers = {"content-type": manifest.media_type or OCI_MANIFEST}
            async with self.registry.request(
                "PUT", path, self.scope, headers=headers, body=lambda: manifest.data, fine=(200, 201, 202)
            ) as response:
                digest = response.headers.get("docker-content-digest", "")
                if digest.startswith("sha256:") and digest != manifest.digest:
                    raise ImageError(f"the registry made {digest[:80]} of the manifest {manifest.digest}")

        await self.registry.steady(put)

    async def _blob(self, blob: Descriptor, limit: trio.CapacityLimiter, quiet: bool = False) -> None:
        def tell(state: str, done: int = 0, text: str = "") -> None:
            if not quiet:
                self.report(Transfer(self.name, blob.digest, state, done, blob.size, text))  # type: ignore[arg-type]

        async with limit:
            if await self.registry.has_blob(self.repository, blob.digest, self.scope):
                tell("here", blob.size)
                return
            location = await self._begin(blob)
            if not location:
                tell("here", blob.size)
                return
            tell("started")
            await self._send(blob, location, tell)
            tell("done", blob.size)

    async def _begin(self, blob: Descriptor) -> str:
        """Where the blob is to be sent; nowhere, if it could be mounted."""
        source = self.sources.get(blob.digest, "")
        path, scope = f"/v2/{self.repository}/blobs/uploads/", self.scope
        if source:
            path += str(httpx.URL("", params={"mount": blob.digest, "from": source}))
            scope += f" repository:{source}:pull"

        async def ask() -> str:
            async with self.registry.request("POST", path, scope, fine=(201, 202)) as response:
                return "" if response.status_code == 201 else self._location(response)

        try:
            return str(await self.registry.steady(ask))
        except RegistryError as error:
            if not source or error.transient:
                raise
        path, scope = f"/v2/{self.repository}/blobs/uploads/", self.scope  # not even the question was allowed
        return str(await self.registry.steady(ask))

    def _location(self, response: httpx.Response) -> str:
        if "location" not in response.headers:
            raise RegistryError(f"{self.registry.endpoint.registry}: does not say where a blob is to be sent")
        return str(response.url.join(response.headers["location"]))

    async def _send(self, blob: Descriptor, location: str, tell: object) -> None:
        assert callable(tell)
        sent, failures = 0, 0
        while sent < blob.size:
            size = min(PART, blob.size - sent)

            async def body(start: int = sent, size: int = size) -> AsyncIterator[bytes]:
                with self.store.blobs.open(blob.digest) as file:
                    file.seek(start)
                    done = 0
                    while done < size:
                        data = file.read(min(PIECE, size - done))
                        if not data:
                            raise ImageError(f"a blob on this machine is damaged: {blob.digest}")
                        yield data
                        done += len(data)
                        tell("started", start + done)

            headers = {"content-type": "application/octet-stream", "content-length": str(size)}
            if size != blob.size:
                headers["content-range"] = f"{sent}-{sent + size - 1}"
            try:
                async with self.registry.request(
                    "PATCH", location, self.scope, headers=headers, body=body, fine=(202, 204)
                ) as response:
                    location, sent, failures = self._location(response), sent + size, 0
            except RegistryError as error:
                failures += 1
                if failures >= ATTEMPTS or not (error.transient or error.status == 416):
                    raise
                tell("retrying", sent, str(error))
                await trio.sleep(error.pause if error.pause is not None else pause(failures))
                location, sent = await self._resume(location, sent)
        tell("finishing", sent)
        address = httpx.URL(location).copy_merge_params({"digest": blob.digest})

        async def close() -> None:
            headers = {"content-length": "0"}
            async with self.registry.request("PUT", str(address), self.scope, headers=headers, fine=(201, 204)):
                pass

        try:
            await self.registry.steady(close)
        except RegistryError as error:
            # An answer that was lost, to a request that was not.
            if not await self.registry.has_blob(self.repository, blob.digest, self.scope):
                raise error

    async def _resume(self, location: str, sent: int) -> tuple[str, int]:
        """Where to go on, and from which byte."""

        async def ask() -> tuple[str, int]:
            async with self.registry.request("GET", location, self.scope, fine=(204, 200, 202)) as response:
                match = re.fullmatch(r"(?:bytes=)?0-(\d+)", response.headers.get("range", ""))
                there = int(match[1]) + 1 if match and int(match[1]) else 0
                return (self._location(response) if "location" in response.headers else location), there

        try:
            position: tuple[str, int] = await self.registry.steady(ask)
        except RegistryError as error:
            if error.status != 404:
                raise
            position = await self._begin_anew(), 0
        return position

    async def _begin_anew(self) -> str:
        async def ask() -> str:
            path = f"/v2/{self.repository}/blobs/uploads/"
            async with self.registry.request("POST", path, self.scope, fine=(202,)) as response:
                return self._location(response)

        return str(await self.registry.steady(ask))
