"""An image from a registry into the store: layers are downloaded, verified, decompressed and unpacked at once.

A task downloads a layer and goes on after errors where it was; a thread hashes, unpacks and keeps it, a few layers side
by side. Every digest and size is checked before anything counts: manifests by their own, configurations and layers by
the manifest's, unpacked layers by the configuration's. A layer that is here is not fetched; one that another process
is fetching is waited for. Rules: runs under trio. An error of the connection leaves whole layers for the next try;
every other error leaves nothing.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import field
from typing import IO, Any, cast

import trio
from pycompose.frozen import dataclass
from pycompose.runtime.images import config as configuration
from pycompose.runtime.images import host_image
from pycompose.runtime.images.errors import ImageError
from pycompose.runtime.images.layers import Blob
from pycompose.runtime.images.manifest import (
    MAX_JSON,
    MAX_NESTING,
    Descriptor,
    Manifest,
    Platform,
    choose,
    own_platform,
    read,
)
from pycompose.runtime.images.reference import Reference, parse
from pycompose.runtime.images.store import Image, Store

from .config import endpoints
from .distribution import ATTEMPTS, Registry, RegistryError, pause
from .progress import Report, Transfer, silent

AT_ONCE = 3  # layers, as Docker has it
AHEAD = 4  # chunks of a layer that wait for its thread


@dataclass(frozen=True, slots=True)
class _Offer:
    """A manifest, and where it was found."""

    manifest: Manifest
    digests: tuple[str, ...]  # of the indexes that led to it
    registries: tuple[Registry, ...]  # the first one had it; the others are asked when it fails


async def pull(
    store: Store,
    name: str,
    *,
    platform: Platform | None = None,
    report: Report = silent,
    environ: Mapping[str, str] = os.environ,
    limit: trio.CapacityLimiter | None = None,
) -> Image:
    """Fetch an image, or find that the store has what the registry has. Raises ImageError.

    `limit` bounds the layers at once, over several pulls.
    """
    if name == host_image.NAME:
        raise ImageError("the image host is this machine: it is in no registry")
    reference = parse(name)
    report(Transfer(name, "", "started"))
    async with AsyncExitStack() as stack:
        registries = []
        for endpoint in endpoints(_registry(reference), environ=environ):
            registries.append(Registry(endpoint, environ))
            stack.push_async_callback(registries[-1].aclose)
        source = await _find(tuple(registries), reference, platform or own_platform())
        config = await _small(source, reference, source.manifest.config)
        image = await _fetched(store, name, reference, source, config, report, limit or trio.CapacityLimiter(AT_ONCE))
    report(Transfer(name, "", "done", text=(source.digests or (source.manifest.digest,))[0]))
    return image


async def digest_of(name: str, *, environ: Mapping[str, str] = os.environ) -> str:
    """The digest that a name leads to in its registry (of an index, where it has one). Raises ImageError."""
    reference = parse(name)
    every = endpoints(_registry(reference), environ=environ)
    for number, endpoint in enumerate(every):
        registry, last = Registry(endpoint, environ), number == len(every) - 1
        try:
            data, _, _ = await registry.manifest(_path(reference), reference.tag, only_once=not last)
            return _sha(data)
        except RegistryError:  # a mirror that is down, or has it not
            if last:
                raise
        finally:
            await registry.aclose()
    raise AssertionError


def _registry(reference: Reference) -> str:
    return reference.repository.partition("/")[0]


def _path(reference: Reference) -> str:
    return reference.repository.partition("/")[2]


# Finding


async def _find(registries: tuple[Registry, ...], reference: Reference, platform: Platform) -> _Offer:
    for number, registry in enumerate(registries):
        last = number == len(registries) - 1
        try:
            return await _find_in(registry, registries[number:], reference, platform, last)
        except RegistryError:  # a mirror that is down, or has it not
            if last:
                raise
    raise AssertionError


async def _find_in(
    registry: Registry, registries: tuple[Registry, ...], reference: Reference, platform: Platform, last: bool
) -> _Offer:
    wanted, media_type, digests = reference.digest or reference.tag, "", list[str]()
    if reference.digest and reference.tag:
        data, _, _ = await registry.manifest(_path(reference), reference.tag, only_once=not last)
        if _sha(data) != reference.digest:
            raise ImageError(
                f"{reference.tagged} is {_sha(data)}, not {reference.digest}",
                f"leave out the tag to get what the digest says: {reference.repository}@{reference.digest}",
            )
    for _ in range(MAX_NESTING):
        data, said, header = await registry.manifest(_path(reference), wanted, only_once=not last)
        digest = _sha(data)
        if wanted != reference.tag and digest != wanted:
            raise ImageError(f"a manifest is not what its digest says: {wanted}")
        if header and header.startswith("sha256:") and header != digest:
            raise ImageError(f"the registry says that a manifest is {header[:80]}, and it is {digest}")
        # Some registries call every manifest JSON; then what is in it says what it is.
        document = read(data, media_type or (said if "manifest" in said or "index" in said else ""))
        if isinstance(document, Manifest):
            return _Offer(document, tuple(digests), registries)
        digests.append(digest)
        chosen = choose(document, platform)
        wanted, media_type = chosen.digest, chosen.media_type
    raise ImageError("its indexes are nested too deep")


def _sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


async def _small(source: _Offer, reference: Reference, blob: Descriptor) -> bytes:
    """The configuration, verified."""
    if blob.size > MAX_JSON:
        raise ImageError("the image's configuration is too large")
    data = b""
    async with aclosing(_download(source, reference, blob, lambda _: None)) as chunks:
        async for chunk in chunks:
            data += chunk
    if _sha(data) != blob.digest:
        raise ImageError(f"the image's configuration is not what its digest says: {blob.digest}")
    return data


async def _download(
    source: _Offer, reference: Reference, blob: Descriptor, failed: Callable[[RegistryError], None]
) -> AsyncGenerator[bytes, None]:
    """A blob's bytes; errors of the connection do not end it, as long as it gets on."""
    arrived, number, place = 0, 0, 0
    while True:
        registry = source.registries[place]
        before = arrived
        try:
            async with aclosing(registry.blob(_path(reference), blob.digest, blob.size, arrived)) as chunks:
                async for chunk in chunks:
                    arrived += len(chunk)
                    yield chunk
            return
        except RegistryError as error:
            number = 0 if arrived > before else number + 1
            if place + 1 < len(source.registries) and (not error.transient or number >= 2):
                place, number = place + 1, 0  # a mirror that lacks it, or fails
            elif not error.transient or number >= ATTEMPTS:
                raise
            failed(error)
            await trio.sleep(error.pause if error.pause is not None else pause(number))


# Taking in


async def _fetched(
    store: Store,
    name: str,
    reference: Reference,
    source: _Offer,
    config: bytes,
    report: Report,
    limit: trio.CapacityLimiter,
) -> Image:
    manifest = source.manifest
    diff_ids = configuration.read(config).diff_ids
    if len(diff_ids) != len(manifest.layers):
        raise ImageError("the image's configuration and its layers differ in number")
    pairs: dict[str, tuple[Descriptor, str]] = {}
    for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
        if pairs.setdefault(layer.digest, (layer, diff_id)) != (layer, diff_id):
            raise ImageError(f"the manifest says two things of one layer: {layer.digest}")
    async with working(store) as work:
        needs = [manifest.digest, *pairs, *diff_ids]
        await trio.to_thread.run_sync(store.need, work, needs)
        for layer, _ in pairs.values():
            report(Transfer(name, layer.digest, "waiting", 0, layer.size))
        try:
            async with trio.open_nursery() as nursery:
                for layer, diff_id in sorted(pairs.values(), key=lambda pair: -pair[0].size):  # the longest first
                    one = _Layer(store, name, reference, source, layer, diff_id, work, report)
                    await limit.acquire_on_behalf_of(one.turn)
                    nursery.start_soon(one.fetch, limit)
        except BaseExceptionGroup as group:
            error = first_of(group)
            if isinstance(error, ImageError) and not isinstance(error, RegistryError):
                await trio.to_thread.run_sync(_forget, store, work)
            raise error from None

        def commit() -> Image:
            return store.commit((reference,), config, work, manifest=manifest.data, digests=source.digests)

        with trio.CancelScope(shield=True):
            image = await trio.to_thread.run_sync(commit)
    return image


def _forget(store: Store, work: str) -> None:
    """Layers of an image that is not to be trusted do not wait for another try."""
    os.unlink(f"{work}/needs")
    store.discard(work)


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that explains the others: what is ours goes before what was only cancelled."""
    flat: list[BaseException] = []

    def gather(one: BaseException) -> None:
        if isinstance(one, BaseExceptionGroup):
            for inner in one.exceptions:
                gather(inner)
        else:
            flat.append(one)

    gather(group)
    for kind in (KeyboardInterrupt, trio.Cancelled):
        if all(isinstance(one, kind | trio.Cancelled) for one in flat):
            return next((one for one in flat if isinstance(one, kind)), flat[0])
    return min(
        flat,
        key=lambda one: (
            isinstance(one, trio.Cancelled),
            not isinstance(one, ImageError),
            isinstance(one, RegistryError),
        ),
    )


@asynccontextmanager
async def working(store: Store) -> AsyncIterator[str]:
    """`store.working`, whose folder may take long to make (another process holds the lock) and to empty."""
    held = store.working()
    work = await trio.to_thread.run_sync(held.__enter__)
    try:
        yield work
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(held.__exit__, None, None, None)


@dataclass(slots=True)
class _Layer:
    """One layer on its way."""

    store: Store
    name: str
    reference: Reference
    offer: _Offer
    blob: Descriptor
    diff_id: str
    work: str
    report: Report
    arrived: int = 0
    turn: object = field(default_factory=object)  # what holds its place among the layers under way

    def tell(self, state: Any, text: str = "") -> None:
        self.report(Transfer(self.name, self.blob.digest, state, self.arrived, self.blob.size, text))

    def here(self) -> bool:
        return self.store.layer(self.diff_id) is not None and self.store.blobs.has(self.blob.digest)

    async def fetch(self, limit: trio.CapacityLimiter) -> None:
        try:
            if self.here():
                self.tell("here")
                return
            async with _locked(self.store, self.blob.digest):
                if self.here():  # another process has just fetched it
                    self.tell("here")
                    return
                self.tell("started")
                send, receive = trio.open_memory_channel[bytes | ImageError](AHEAD)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.feed, send)
                    with receive:
                        await trio.to_thread.run_sync(self.take, _Feed(receive))
            self.tell("done")
        finally:
            limit.release_on_behalf_of(self.turn)

    async def feed(self, send: trio.MemorySendChannel[bytes | ImageError]) -> None:
        """The blob's bytes to the thread, and errors too, so that it is the thread that fails."""
        with send, suppress(trio.BrokenResourceError):  # then the thread has failed, and tells why
            try:
                async with aclosing(_download(self.offer, self.reference, self.blob, self.failed)) as chunks:
                    async for chunk in chunks:
                        self.arrived += len(chunk)
                        self.tell("started")
                        await send.send(chunk)
                self.tell("finishing")
            except ImageError as error:
                await send.send(error)

    def failed(self, error: RegistryError) -> None:
        self.tell("retrying", str(error))

    def take(self, feed: _Feed) -> None:
        """In a thread: unpack, verify, keep."""
        blob = Blob(lambda: cast(IO[bytes], feed), self.blob.digest, self.blob.size)
        only_blob = self.store.layer(self.diff_id) is not None
        fresh = self.store.unpack(blob, self.work, only_blob=only_blob)
        if fresh.layer.diff_id != self.diff_id:
            raise ImageError(f"a layer is {fresh.layer.diff_id} unpacked, not {self.diff_id}: {self.blob.digest}")
        self.store.keep_layer(fresh, self.work)


class _Feed(io.RawIOBase):
    """What a task sends, read in a thread."""

    def __init__(self, channel: trio.MemoryReceiveChannel[bytes | ImageError]) -> None:
        self._channel, self._rest = channel, memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            try:
                piece = trio.from_thread.run(self._channel.receive)
            except trio.EndOfChannel:
                return b""
            if isinstance(piece, ImageError):
                raise piece
            self._rest = memoryview(piece)
        size = len(self._rest) if size < 0 else size
        data, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return data


@asynccontextmanager
async def _locked(store: Store, digest: str) -> AsyncIterator[None]:
    """The lock of a blob. Whoever is cancelled while waiting leaves a thread behind, which gives the lock back."""
    fds: list[int] = []
    left, guard = False, threading.Lock()

    def wait() -> None:
        fd = store.blobs.lock(digest)
        with guard:
            if not left:
                fds.append(fd)
                return
        store.blobs.unlock(digest, fd)

    try:
        await trio.to_thread.run_sync(wait, abandon_on_cancel=True)
        yield
    finally:
        with guard:
            left = True
        for fd in fds:
            store.blobs.unlock(digest, fd)
