"""The image store, shared by all projects:

    layers/<diff_id>/      one folder a layer, unpacked; <diff_id>.json beside it: its size, and the blob that holds it
    blobs/<digest>         what came, byte for byte: compressed layers and manifests (`blobs`)
    configs/<digest>.json  an image; its digest is its identity. Its time of change is when it was last used
    configs/<digest>.manifest   the digest of the manifest it came with, or was pushed with
    names.json             full name -> digest; `repository@digest` names an image by its manifest's digest
    cache/<key>.json       what builders remember (`cache`); holds layers
    work/<random>/         one load, pull or build under way; `needs` in it are digests it relies on; <random>.lock
    locks/<digest>         a blob that is being fetched
    lock                   short work only: exclusive to change what is above, shared to make a container from it

Everything is made in a work folder, synced, and renamed under the lock; a failure leaves nothing, and what a killed
process left is swept by the next one. Layers of an interrupted pull are whole; they wait a day for the next pull. An
image that loses its last name to another one stays, without a name, until `prune`. Nothing is removed that a container
of any project uses. Rules: synchronous. `collection` decides what may go; registries and archives are other modules.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import IO, Any

from pycompose.frozen import dataclass
from pycompose.runtime.files import atomic
from pycompose.runtime.files.remove import empty
from pycompose.runtime.places import Places
from pycompose.runtime.state import usage

from . import config as configuration
from . import host_image
from .blobs import Blobs
from .errors import ImageError, ImageInUse, ImageNotFound
from .manifest import OCI_LAYER
from .reference import Reference, digest_hex, familiar, in_archive, is_tag, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .gc import Pruned
    from .layers import Blob, Folder
    from .streams import Progress

DAY = 86_400.0  # seconds that layers of an interrupted pull wait for the next one
FOLDERS = ("layers", "blobs", "configs", "cache", "work", "locks")
_SHORT_ID = re.compile(r"(?:sha256:)?([0-9a-f]{12,64})")


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
    """What is known of a layer that is here; `blob` is empty where nobody kept its tar."""

    diff_id: str
    size: int = 0  # bytes of files
    blob: str = ""  # the digest of a blob that unpacks to it
    blob_size: int = 0
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Fresh:
    """A layer in a work folder, on its way into the store; either path may be empty: that part is here already."""

    layer: Layer
    folder: str
    blob: str = ""


class Store:
    def __init__(self, places: Places) -> None:
        self.places, self.root = places, places.images
        self.blobs = Blobs(self.root)

    # Locks and work folders

    def _ready(self) -> None:
        """The folders; only root may look inside, for layers hold other systems' setuid programs."""
        os.makedirs(self.places.state, mode=0o711, exist_ok=True)
        os.makedirs(self.root, mode=0o700, exist_ok=True)
        for name in FOLDERS:
            with contextlib.suppress(FileExistsError):
                os.mkdir(f"{self.root}/{name}", 0o700)

    @contextlib.contextmanager
    def locked(self, how: int = fcntl.LOCK_EX) -> Iterator[None]:
        self._ready()
        with open(os.open(f"{self.root}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "a") as lock:
            fcntl.flock(lock, how)
            yield

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While a container is being made from an image: nothing is removed from the store meanwhile."""
        with self.locked(fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def working(self) -> Iterator[str]:
        """A folder of one's own in the store's file system; gone afterwards, whatever happens."""
        with contextlib.ExitStack() as held:
            name = f"{self.root}/work/{secrets.token_hex(8)}"
            with self.locked():
                lock = held.enter_context(open(f"{name}.lock", "w"))
                fcntl.flock(lock, fcntl.LOCK_EX)
                os.mkdir(name, 0o700)
                self._sweep(name)
            try:
                yield name
            finally:
                empty(name)
                os.rmdir(name)
                os.unlink(f"{name}.lock")

    def _sweep(self, own: str) -> None:
        """Move what processes that died left into one's own work folder, to go with it. The lock is held."""
        for entry in {e.removesuffix(".lock") for e in os.listdir(f"{self.root}/work")}:
            folder = f"{self.root}/work/{entry}"
            with open(f"{folder}.lock", "a") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                if os.path.isdir(folder):
                    os.rename(folder, f"{own}/left-{entry}")
                with contextlib.suppress(FileNotFoundError):  # its owner ended between our open and our flock
                    os.unlink(f"{folder}.lock")
        for place in (self.root, *(f"{self.root}/{name}" for name in ("configs", "layers", "cache"))):
            for entry in os.listdir(place):
                if entry.startswith(atomic.TEMPORARY):
                    os.unlink(f"{place}/{entry}")
        self.blobs.sweep()

    # Reading

    def names(self) -> dict[str, str]:
        try:
            with open(f"{self.root}/names.json", encoding="utf-8") as source:
                return dict(json.load(source))
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError) as error:
            raise ImageError(f"{self.root}/names.json cannot be read: {error}") from error

    def digest(self, name: str) -> str:
        """The digest of the image that `name` means. Raises ImageNotFound, or ImageError for what is no name."""
        names = self.names()
        if short := _SHORT_ID.fullmatch(name):
            found = [entry for entry in self.all_digests() if entry.removeprefix("sha256:").startswith(short[1])]
            if len(found) == 1:
                return found[0]
            if name.startswith("sha256:") or len(name) == 64:
                raise ImageNotFound(name)
        if archived := in_archive(name):
            if found_there := names.get(str(archived)):
                return found_there
            raise ImageNotFound(name)
        wanted = parse(name)
        if not wanted.digest:
            found_one = names.get(wanted.tagged)
        else:
            found_one = names.get(f"{wanted.repository}@{wanted.digest}")
            if found_one is None and any(
                digest == wanted.digest and parse(key).repository == wanted.repository
                for key, digest in names.items()
                if not key.startswith("sha256:") and not in_archive(key)
            ):
                found_one = wanted.digest
            if wanted.tag and names.get(wanted.tagged) != found_one:
                found_one = None  # both must be true
        if not found_one:
            raise ImageNotFound(name)
        return found_one

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
        return self._image(self.digest(name), familiar(name))

    def _image(self, digest: str, name: str) -> Image:
        try:
            with open(f"{self.root}/configs/{digest_hex(digest)}.json", "rb") as source:
                told = configuration.read(source.read())
        except FileNotFoundError:
            raise ImageNotFound(name) from None
        return Image(
            name=name,
            digest=digest,
            env=told.env,
            cmd=told.cmd,
            entrypoint=told.entrypoint,
            user=told.user,
            workdir=told.workdir,
            volumes=told.volumes,
            exposed=told.exposed,
            stop_signal=told.stop_signal,
            healthcheck=told.healthcheck,
            labels=told.labels,
            layers=tuple(f"{self.root}/layers/{digest_hex(d)}" for d in reversed(told.diff_ids)),
            is_host=told.host,
            created=told.created,
            size=sum(layer.size for d in told.diff_ids if (layer := self.layer(d))),
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
        found = {}
        for name in names:
            with contextlib.suppress(ImageNotFound):
                found[name] = "" if name == host_image.NAME else self.digest(name)
        return found

    def repository_digest(self, name: str) -> str:
        """The digest that the image of that name has in its registry; empty where it came with none."""
        if in_archive(name):
            return ""
        digest, repository = self.digest(name), parse(name).repository
        pins = (parse(key) for key, value in self.names().items() if value == digest and not is_tag(key) and "@" in key)
        return next((pin.digest for pin in pins if pin.repository == repository), "")

    def names_of(self, digest: str) -> tuple[str, ...]:
        return tuple(familiar(n) for n, d in sorted(self.names().items()) if d == digest and is_tag(n))

    def pins_of(self, digest: str) -> tuple[str, ...]:
        """`repository@digest` of the registries that the image is known to be in."""
        pins = sorted(n for n, d in self.names().items() if d == digest and "@" in n and not is_tag(n))
        return tuple(familiar(name) for name in pins)

    def used(self, digest: str) -> float:
        """When a container was last made from the image, or it came: seconds since 1970; 0 for the host."""
        if not digest:
            return 0.0
        return os.stat(f"{self.root}/configs/{digest_hex(digest)}.json").st_mtime

    def ls(self) -> list[Image]:
        """One entry a name; an image without one is there under its digest."""
        names = {n: d for n, d in self.names().items() if is_tag(n)}
        named = set(names.values())
        found = [self._image(digest, familiar(name)) for name, digest in sorted(names.items())]
        return found + [self._image(d, d) for d in self.all_digests() if d not in named]

    # Changing

    def add(
        self,
        names: Sequence[str],
        config: bytes,
        blobs: Sequence[Blob | Folder],
        work: str,
        *,
        manifest: bytes = b"",
        progress: Progress | None = None,
    ) -> Image:
        """Keep an image: `blobs` are its layers from the lowest up; `work` is a folder of `working`.

        A `Folder` is a layer that is unpacked already, in `work`: it is moved. `manifest` is what the image came with,
        byte for byte. Raises ImageError.
        """
        references = tuple(parse(name) for name in names)
        told = configuration.read(config)
        if len(told.diff_ids) != len(blobs):
            raise ImageError("the image's configuration and its layers differ in number")
        self.need(work, told.diff_ids)
        fresh: dict[str, Fresh] = {}
        for number, (wanted, blob) in enumerate(zip(told.diff_ids, blobs, strict=True)):
            made = fresh.get(wanted) or self._made(wanted, blob, work, bool(manifest), progress)
            if made is None:
                continue
            if made.layer.diff_id != wanted:
                raise ImageError(f"layer {number + 1} is {made.layer.diff_id}, not {wanted}")
            fresh[wanted] = made
        return self.commit(references, config, work, fresh=tuple(fresh.values()), manifest=manifest)

    def _made(
        self, wanted: str, blob: Blob | Folder, work: str, exact: bool, progress: Progress | None
    ) -> Fresh | None:
        """The layer in the work folder; None if it is here. `exact`: its blob is wanted too, as it came."""
        from .layers import Folder

        here = self.layer(wanted) is not None
        if isinstance(blob, Folder):
            return None if here else Fresh(Layer(blob.diff_id, blob.size), blob.path)
        if here and (not exact or (blob.digest and self.blobs.has(blob.digest))):
            if progress and blob.size > 0:
                progress(blob.size)
            return None
        return self.unpack(blob, work, progress, only_blob=here)

    def need(self, work: str, digests: Iterable[str]) -> None:
        """Nobody removes these layers and blobs while `work` exists, whether they are here yet or not."""
        with self.locked():
            needs = self.needs(work) | set(digests)
            atomic.write(f"{work}/needs", json.dumps(sorted(needs)).encode())

    def needs(self, work: str) -> set[str]:
        try:
            with open(f"{work}/needs", encoding="utf-8") as file:
                return set(json.load(file))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return set()

    def unpack(self, blob: Blob, work: str, progress: Progress | None = None, *, only_blob: bool = False) -> Fresh:
        """A layer unpacked into the work folder, and its blob as it came; verified. Raises ImageError."""
        from .layers import extract, verified

        fd, path = tempfile.mkstemp(prefix="blob-", dir=work)
        with open(fd, "wb", buffering=0) as copy:
            if only_blob:
                folder, made = "", verified(blob, progress, copy)
            else:
                folder = tempfile.mkdtemp(prefix="layer-", dir=work)
                os.chmod(folder, 0o755)
                made = extract(blob, folder, progress, copy)
        kind = OCI_LAYER + (f"+{made.compression}" if made.compression else "")
        return Fresh(Layer(made.diff_id, made.size, made.digest, made.packed, kind), folder, path)

    def keep_layer(self, fresh: Fresh, work: str, *, replace_blob: bool = False) -> None:
        """Move a layer from the work folder into the store before its image is whole: others may use it.

        It is held by `work`, and afterwards by what names it. `replace_blob`: its blob is better than one that is
        here. Raises ImageError.
        """
        self.need(work, (fresh.layer.diff_id, *filter(None, (fresh.layer.blob,))))
        atomic.sync(work)
        with _full_disk(), self.locked():
            self._place(fresh, replace_blob)

    def _place(self, fresh: Fresh, replace_blob: bool = False) -> None:
        """The lock is held, and what is moved is on the disk."""
        layer = fresh.layer
        if fresh.blob and not self.blobs.has(layer.blob):
            self.blobs.take(fresh.blob, layer.blob)
        known = self.layer(layer.diff_id)
        if known is None or replace_blob or (layer.blob and not (known.blob and self.blobs.has(known.blob))):
            told = {"size": known.size if known else layer.size, "blob": layer.blob}
            told |= {"blob_size": layer.blob_size, "media_type": layer.media_type}
            atomic.write(f"{self.folder(layer.diff_id)}.json", json.dumps(told).encode())
        if known is None and fresh.folder:  # else another was first with the same
            os.rename(fresh.folder, self.folder(layer.diff_id))

    def commit(
        self,
        references: Sequence[Reference],
        config: bytes,
        work: str,
        *,
        fresh: Sequence[Fresh] = (),
        manifest: bytes = b"",
        digests: Sequence[str] = (),
    ) -> Image:
        """Make an image of layers that are here or `fresh`, all at once. `digests` are more digests that it has in
        the registry of its names, as an index that leads to it. Raises ImageError."""
        digest = "sha256:" + hashlib.sha256(config).hexdigest()
        if fresh:
            atomic.sync(work)
        with _full_disk(), self.locked():
            for one in fresh:
                self._place(one)
            own = f"{self.root}/configs/{digest_hex(digest)}"
            known = list(digests)
            if manifest:
                known.append(self.blobs.put(manifest))
                atomic.write(f"{own}.manifest", known[-1].encode())
            atomic.write(f"{own}.json", config)
            names = self.names()
            for reference in references:
                if reference.tag:
                    names[reference.tagged] = digest
                for one_digest in known:
                    names[f"{reference.repository}@{one_digest}"] = digest
            self._write_names(names, {} if any(r.tag for r in references) else {digest: digest})
            self._collect(work, DAY)
        first = next((str(r) for r in references if r.tag), digest)
        return self._image(digest, familiar(first))

    def keep_names(self, names: Mapping[str, str]) -> None:
        """The lock is held. What no name leads to any more is for `collect`."""
        atomic.write(f"{self.root}/names.json", json.dumps(names, indent=1).encode())

    def _write_names(self, names: dict[str, str], unnamed: Mapping[str, str] | None = None) -> None:
        """Images keep their digest as a name when they have no other any more. The lock is held."""
        named = {digest for name, digest in names.items() if is_tag(name)}
        lost = {digest: digest for digest in (*self.names().values(), *(unnamed or {})) if digest not in named}
        kept = {n: d for n, d in names.items() if not n.startswith("sha256:") or d not in named}
        self.keep_names({**kept, **lost})

    def tag(self, name: str, target: str) -> None:
        """Give an image another name; what had that name before keeps its digest."""
        if in_archive(target):
            raise ImageError(f"that names an image in an archive: {target!r}", "image save writes archives")
        reference = parse(target)
        if reference.digest:
            raise ImageError(f"a name with a digest cannot be given: {target!r}")
        if name == host_image.NAME:
            raise ImageError("the image host cannot have another name")
        with _full_disk(), self.locked():
            self._write_names({**self.names(), reference.tagged: self.digest(name)})

    def pushed(self, reference: Reference, digest: str, manifest: str) -> None:
        """The registry of that name has the image under that manifest's digest now."""
        with _full_disk(), self.locked():
            own = f"{self.root}/configs/{digest_hex(digest)}"
            if not os.path.exists(own + ".json"):
                return  # removed meanwhile
            atomic.write(f"{own}.manifest", manifest.encode())
            self._write_names({**self.names(), f"{reference.repository}@{manifest}": digest})

    def place_config(self, config: bytes) -> None:
        """Have an image's configuration as a blob too."""
        with _full_disk(), self.locked():
            self.blobs.put(config)

    def use(self, digest: str) -> None:
        """Note that a container is made from the image now."""
        with contextlib.suppress(OSError, ImageError):
            os.utime(f"{self.root}/configs/{digest_hex(digest)}.json")

    def import_rootfs(
        self,
        name: str,
        source: str | IO[bytes],
        changes: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> Image:
        """An image of one layer from a tar of a root file system; `changes` are Dockerfile instructions."""
        from .layers import Blob

        reference = parse(name)
        if reference.digest:
            raise ImageError(f"a name with a digest cannot be given: {name!r}")
        config = configuration.changed(changes)
        with self.working() as work:
            try:
                fresh = self.unpack(Blob(lambda: _opened(source)), work, progress)
            except FileNotFoundError as error:
                raise ImageError(f"{source}: no such file") from error
            tree = {"config": config, "rootfs": {"type": "layers", "diff_ids": [fresh.layer.diff_id]}, **_platform()}
            data = json.dumps(tree).encode()
            configuration.read(data)
            return self.commit((reference,), data, work, fresh=(fresh,))

    def name_archived(self, name: str, digest: str) -> None:
        """Let a name with a transport (`reference.InArchive`) lead to an image."""
        with _full_disk(), self.locked():
            self._write_names({**self.names(), name: digest})

    def load(self, archive: str | IO[bytes], progress: Progress | None = None) -> list[Image]:
        """The images of a `docker save` archive or an OCI layout (folder, tar, or a stream of a tar)."""
        from .load import load

        return load(self, archive, progress)

    def rm(self, name: str, force: bool = False) -> list[str]:
        """Forget a name; what nothing names or uses goes too. Returns what went, in words.

        Raises ImageInUse while a container of any project is made from it, ImageNotFound.
        """
        if name == host_image.NAME:
            raise ImageError("the image host is always there")
        with self.working() as work, self.locked():
            digest, names = self.digest(name), self.names()
            archived = in_archive(name)
            reference = None if archived or _SHORT_ID.fullmatch(name) else parse(name)
            tagged = str(archived) if archived else reference.tagged if reference and reference.tag else ""
            gone = [tagged] if tagged in names else [n for n, d in names.items() if d == digest]
            left = [n for n, d in names.items() if d == digest and n not in gone and is_tag(n)]
            users = [
                f"{user.container} (project {user.project})"
                for user in usage.everyone(self.places)
                if user.uses.digest == digest and (not left or _same(user.uses.image, tagged))
            ]
            if users and not force:
                raise ImageInUse(name, tuple(users))
            if not left:
                gone = [n for n, d in names.items() if d == digest]
            for key in gone:
                del names[key]
            self.keep_names(names)
            self._collect(work)
        said = [f"untagged: {familiar(n)}" for n in gone if not n.startswith("sha256:")]
        return said + ([] if left or users else [f"deleted: {digest}"])

    def discard(self, work: str) -> None:
        """Remove what nothing wants; folders of layers go into `work`."""
        with self.locked():
            self._collect(work)

    def _collect(self, work: str, age: float = 0) -> None:
        from .gc import collect

        collect(self, work, age)

    def prune(self, everything: bool = False) -> Pruned:
        """Remove images without a name (`everything`: all that no container uses), and what interrupted pulls left."""
        from .gc import prune

        return prune(self, everything)

    def check(self) -> list[str]:
        """What is damaged, in words: every digest is computed anew."""
        from .gc import check

        return check(self)


@contextlib.contextmanager
def _full_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ImageError("the disk is full", "nothing was kept; make room and try again") from error
        raise ImageError(f"the image cannot be kept: {error}") from error


def _opened(source: str | IO[bytes]) -> IO[bytes]:
    return open(source, "rb") if isinstance(source, str) else source


def _same(one: str, tagged: str) -> bool:
    if archived := in_archive(one):
        return str(archived) == tagged
    try:
        return parse(one).tagged == tagged
    except ImageError:
        return False


def _platform() -> dict[str, str]:
    from .manifest import own_platform

    own = own_platform()
    return {"architecture": own.architecture, "os": own.os, **({"variant": own.variant} if own.variant else {})}
