"""Images from archives: `docker save` and OCI layouts, as a tar (plain, gzip, zstd; a file or a stream) or a folder;
and images of one layer from a tar of a root file system (`image import`).

Members are read in place, never unpacked. Every digest and size that the archive names is checked.
Source: opencontainers/image-spec image-layout.md, image-index.md, manifest.md; moby image/spec/spec.md (manifest.json).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import IO, Any

from . import config as configuration
from .errors import ImageError, not_done
from .layers import READ_ERRORS, Blob, Entry, spooled
from .manifest import MAX_JSON, MAX_LAYERS, MAX_NESTING, Descriptor, Index, Manifest, choose, own_platform, read
from .reference import InArchive, digest_hex, familiar, parse
from .store import Image, Store
from .streams import Progress

MAX_MEMBERS = 100_000
CONTAINERD_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")


class _Source:
    """Files by name, of a folder or a tar."""

    def __init__(self, source: str | IO[bytes], work: str, held: contextlib.ExitStack) -> None:
        self._folder, self._tar = -1, None
        self._members: dict[str, tarfile.TarInfo] = {}
        if isinstance(source, str) and os.path.isdir(source):
            self._folder = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            held.callback(os.close, self._folder)
            return
        file = source if not isinstance(source, str) else held.enter_context(open(source, "rb"))  # noqa: SIM115
        if not isinstance(source, str) or not _is_plain(file):
            file = held.enter_context(spooled(file, work))
        self._tar = held.enter_context(tarfile.open(fileobj=file, mode="r:", tarinfo=Entry))  # noqa: SIM115
        for count, member in enumerate(self._tar):
            if count >= MAX_MEMBERS:
                raise ImageError("it has too many members")
            self._members[os.path.normpath(member.name)] = member

    def open(self, name: str) -> IO[bytes]:
        if not isinstance(name, str) or name.startswith("/") or ".." in name.split("/") or "\0" in name:
            raise ImageError(f"a bad name in an archive: {str(name)[:100]!r}")
        if self._tar is None:
            return self._of_folder(name)
        member = self._members.get(os.path.normpath(name))
        file = self._tar.extractfile(member) if member else None
        if file is None:
            raise ImageError(f"there is no {name[:100]!r} in it")
        return file

    def _of_folder(self, name: str) -> IO[bytes]:
        from pycompose.runtime.linux import syscalls

        # A link in the folder must not lead to another file of this machine.
        how = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
        try:
            fd = syscalls.openat2(self._folder, name, os.O_RDONLY | os.O_NONBLOCK, how)
        except FileNotFoundError:
            raise ImageError(f"there is no {name[:100]!r} in it") from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise ImageError(f"{name[:100]!r} is not a file")
        return open(fd, "rb")

    def has(self, name: str) -> bool:
        if self._tar is None:
            return os.access(name, os.R_OK, dir_fd=self._folder)
        return name in self._members

    def small(self, name: str) -> Any:
        return json.loads(self._small(name))

    def _small(self, name: str) -> bytes:
        with self.open(name) as file:
            data = file.read(MAX_JSON + 1)
        if len(data) > MAX_JSON:
            raise ImageError(f"{name[:100]!r} is too large")
        if (match := _BLOB.fullmatch(os.path.normpath(name))) and hashlib.sha256(data).hexdigest() != match[1]:
            raise ImageError(f"{name[:100]!r} is not what its digest says")
        return data

    def layer(self, name: str) -> Blob:
        """A layer that `manifest.json` names."""
        self.open(name).close()  # it is there
        match = _BLOB.fullmatch(os.path.normpath(name))
        return Blob(lambda: self.open(name), f"sha256:{match[1]}" if match else "", self._size(name))

    def _size(self, name: str) -> int:
        if self._tar is None or not (member := self._members.get(os.path.normpath(name))) or not member.isreg():
            return -1
        return member.size

    def blob(self, descriptor: Descriptor) -> Blob:
        name = f"blobs/sha256/{digest_hex(descriptor.digest)}"
        return Blob(lambda: self.open(name), descriptor.digest, descriptor.size)

    def blob_json(self, descriptor: Descriptor) -> bytes:
        data = self._small(f"blobs/sha256/{digest_hex(descriptor.digest)}")
        if len(data) != descriptor.size:
            raise ImageError(f"a blob has {len(data)} bytes, not {descriptor.size}: {descriptor.digest}")
        return data


def _is_plain(file: IO[bytes]) -> bool:
    """Whether it is a file that can be read at any place, and not compressed."""
    if not file.seekable():
        return False
    magic = file.read(6)
    file.seek(0)
    return (
        magic[:2] != b"\x1f\x8b" and magic[:4] != b"\x28\xb5\x2f\xfd" and magic[:3] != b"BZh" and magic[1:4] != b"7zX"
    )


def load(store: Store, source: str | IO[bytes], progress: Progress | None = None) -> list[Image]:
    """Keep every image of the archive; raises ImageError."""
    with _told(source if isinstance(source, str) else "standard input"), contextlib.ExitStack() as held:
        work = held.enter_context(store.working())
        archive = _Source(source, work, held)
        if archive.has("manifest.json"):
            return [_docker(store, archive, one, work, progress) for one in archive.small("manifest.json")]
        if not archive.has("index.json"):
            raise ImageError("it has neither manifest.json nor index.json", "for a root file system: image import")
        index = read(archive._small("index.json"))
        if not isinstance(index, Index) or not index.manifests:
            raise ImageError("it has no image")
        return [_oci(store, archive, descriptor, work, progress) for descriptor in index.manifests]


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Errors say which archive it is."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{what}: {error}", error.hint) from error
    except (*READ_ERRORS, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise not_done(what, error) from error
        raise ImageError(f"{what}: not an archive of images: {error}") from error


def load_one(store: Store, named: InArchive, progress: Progress | None = None) -> Image:
    """The one image that a name with a transport means, kept under that name alone; raises ImageError."""

    def chosen(images: list[tuple[list[str], Any]]) -> Any:
        if named.name:
            images = [one for one in images if named.name in one[0]]
        if len(images) == 1:
            return images[0][1]
        what = f"no image {named.name!r}" if named.name else "no image"
        raise ImageError(what if not images else "more than one image", "" if not images else "name one after a colon")

    with _told(named.path), contextlib.ExitStack() as held:
        work = held.enter_context(store.working())
        archive = _Source(named.path, work, held)
        if named.transport == "docker-archive":
            every = [(_tags(one), one) for one in archive.small("manifest.json")]
            image = _docker(store, archive, {**chosen(every), "RepoTags": []}, work, progress)
        else:
            index = read(archive._small("index.json"))
            if not isinstance(index, Index):
                raise ImageError("it has no image")
            notes = [
                (list(filter(None, map(one.annotations.get, (REF_NAME, CONTAINERD_NAME)))), one)
                for one in index.manifests
            ]
            image = _oci(store, archive, replace(chosen(notes), annotations={}), work, progress)
        store.name_archived(str(named), image.digest)
        return store.resolve(str(named))


def _tags(one: dict[str, Any]) -> list[str]:
    """What an image of a docker archive may be called: by its whole name, or as people shorten it."""
    names = [str(name) for name in one.get("RepoTags") or ()]
    full = [parse(name) for name in names]
    short = [familiar(str(name)) for name in full]
    return [*names, *map(str, full), *short, *(name.removesuffix(":latest") for name in short)]


def _docker(store: Store, source: _Source, one: dict[str, Any], work: str, progress: Progress | None) -> Image:
    layers = one["Layers"] or []
    if len(layers) > MAX_LAYERS:
        raise ImageError("an image has too many layers")
    return store.add(
        tuple(one.get("RepoTags") or ()),
        source._small(one["Config"]),
        tuple(source.layer(name) for name in layers),
        work,
        progress=progress,
    )


def _oci(store: Store, source: _Source, descriptor: Descriptor, work: str, progress: Progress | None) -> Image:
    name = descriptor.annotations.get(CONTAINERD_NAME) or descriptor.annotations.get(REF_NAME) or ""
    if ":" not in name and "/" not in name:
        name = ""  # a tag, as skopeo writes it: of no repository
    for _ in range(MAX_NESTING):
        document = read(source.blob_json(descriptor), descriptor.media_type)
        if isinstance(document, Manifest):
            blobs = tuple(source.blob(layer) for layer in document.layers)
            config = source.blob_json(document.config)
            return store.add((name,) if name else (), config, blobs, work, manifest=document.data, progress=progress)
        descriptor = choose(document, own_platform())
    raise ImageError("its indexes are nested too deep")


def import_rootfs(
    store: Store,
    name: str,
    source: str | IO[bytes],
    changes: Sequence[str] = (),
    progress: Progress | None = None,
) -> Image:
    """An image of one layer from a tar of a root file system; `changes` are Dockerfile instructions."""
    reference = parse(name)
    if reference.digest:
        raise ImageError(f"a name with a digest cannot be given: {name!r}")
    config = configuration.changed(changes)
    with store.working() as work:
        opened = _opened(source)
        fresh = store.unpack(Blob(lambda: opened), work, progress)
        tree = {"config": config, "rootfs": {"type": "layers", "diff_ids": [fresh.layer.diff_id]}, **_platform()}
        data = json.dumps(tree).encode()
        configuration.read(data)
        return store.commit((reference,), data, work, fresh=(fresh,))


def _opened(source: str | IO[bytes]) -> IO[bytes]:
    try:
        return open(source, "rb") if isinstance(source, str) else source
    except OSError as error:
        raise not_done("a root file system cannot be read", error) from error


def _platform() -> dict[str, str]:
    here = own_platform()
    return {"architecture": here.architecture, "os": here.os, **({"variant": here.variant} if here.variant else {})}
