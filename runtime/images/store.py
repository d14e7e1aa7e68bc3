"""The image store, shared by all projects:

    layers/<diff_id>/    one folder a layer; <diff_id>.size beside it, the bytes of its files
    configs/<digest>.json    an image; its digest is its identity
    names.json           full name -> digest; `repository@digest` names an image by its manifest's digest
    work/<random>/       one load or import under way; `needs` in it are layers it relies on; <random>.lock is flocked
    lock                 short work only: exclusive to change what is above, shared to make a container from it

Everything is made in a work folder, synced, and renamed under the lock; a failure leaves nothing, and what a killed
process left is swept by the next one. Nothing is removed that a container of any project uses. Rules: synchronous.
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
from dataclasses import dataclass, field
from typing import IO, Any

from pycompose.runtime import uses
from pycompose.runtime.places import Places
from pycompose.runtime.removal import empty

from . import config as configuration
from . import host
from .errors import ImageError, ImageInUse, ImageNotFound
from .reference import Reference, digest_hex, familiar, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .layers import Blob, Progress

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
        self._places, self._root = places, places.images

    # Locks and work folders

    def _ready(self) -> None:
        """The folders; only root may look inside, for layers hold other systems' setuid programs."""
        os.makedirs(self._places.state, mode=0o711, exist_ok=True)
        os.makedirs(self._root, mode=0o700, exist_ok=True)
        for name in ("layers", "configs", "work"):
            with contextlib.suppress(FileExistsError):
                os.mkdir(f"{self._root}/{name}", 0o700)

    @contextlib.contextmanager
    def _locked(self, how: int = fcntl.LOCK_EX) -> Iterator[None]:
        self._ready()
        with open(os.open(f"{self._root}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "a") as lock:
            fcntl.flock(lock, how)
            yield

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While a container is being made from an image: nothing is removed from the store meanwhile."""
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def working(self) -> Iterator[str]:
        """A folder of one's own in the store's file system; gone afterwards, whatever happens."""
        with contextlib.ExitStack() as held:
            name = f"{self._root}/work/{secrets.token_hex(8)}"
            with self._locked():
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
        for entry in {e.removesuffix(".lock") for e in os.listdir(f"{self._root}/work")}:
            folder = f"{self._root}/work/{entry}"
            with open(f"{folder}.lock", "a") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                if os.path.isdir(folder):
                    os.rename(folder, f"{own}/left-{entry}")
                os.unlink(f"{folder}.lock")
        for place in (self._root, f"{self._root}/configs"):
            for entry in os.listdir(place):
                if entry.startswith(".new-"):
                    os.unlink(f"{place}/{entry}")

    # Reading

    def _names(self) -> dict[str, str]:
        try:
            with open(f"{self._root}/names.json", encoding="utf-8") as source:
                return dict(json.load(source))
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError) as error:
            raise ImageError(f"{self._root}/names.json cannot be read: {error}") from error

    def _digest(self, name: str) -> str:
        """The digest of the image that `name` means. Raises ImageNotFound, or ImageError for what is no name."""
        names = self._names()
        if short := _SHORT_ID.fullmatch(name):
            found = [entry for entry in self._digests() if entry.removeprefix("sha256:").startswith(short[1])]
            if len(found) == 1:
                return found[0]
            if name.startswith("sha256:") or len(name) == 64:
                raise ImageNotFound(name)
        wanted = parse(name)
        if not wanted.digest:
            found_one = names.get(wanted.tagged)
        else:
            found_one = names.get(f"{wanted.repository}@{wanted.digest}")
            if found_one is None and any(
                digest == wanted.digest and parse(key).repository == wanted.repository
                for key, digest in names.items()
                if not key.startswith("sha256:")
            ):
                found_one = wanted.digest
            if wanted.tag and names.get(wanted.tagged) != found_one:
                found_one = None  # both must be true
        if not found_one:
            raise ImageNotFound(name)
        return found_one

    def _digests(self) -> list[str]:
        try:
            entries = os.listdir(f"{self._root}/configs")
        except FileNotFoundError:
            return []
        return sorted(f"sha256:{e.removesuffix('.json')}" for e in entries if not e.startswith("."))

    def resolve(self, name: str) -> Image:
        """The image of that name, `sha256:` digest or short id; raises ImageNotFound, ImageError."""
        if name == host.NAME:
            return Image(host.NAME, "", env=(host.PATH,), cmd=("/bin/sh",), is_host=True)
        return self._image(self._digest(name), familiar(name))

    def _image(self, digest: str, name: str) -> Image:
        try:
            with open(f"{self._root}/configs/{digest_hex(digest)}.json", "rb") as source:
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
            layers=tuple(f"{self._root}/layers/{digest_hex(d)}" for d in reversed(told.diff_ids)),
            created=told.created,
            size=sum(self._size(d) for d in told.diff_ids),
        )

    def _size(self, diff_id: str) -> int:
        try:
            with open(f"{self._root}/layers/{digest_hex(diff_id)}.size") as source:
                return int(source.read())
        except (OSError, ValueError):
            return 0

    def config(self, name: str) -> bytes:
        """The image's configuration as it was loaded."""
        with open(f"{self._root}/configs/{digest_hex(self._digest(name))}.json", "rb") as source:
            return source.read()

    def digests(self, names: Iterable[str]) -> dict[str, str]:
        """Name -> digest of the image that has it now; names that no image has are left out (`host` has none)."""
        found = {}
        for name in names:
            with contextlib.suppress(ImageNotFound):
                found[name] = "" if name == host.NAME else self._digest(name)
        return found

    def names_of(self, digest: str) -> tuple[str, ...]:
        return tuple(familiar(n) for n, d in sorted(self._names().items()) if d == digest and "@" not in n)

    def ls(self) -> list[Image]:
        """One entry a name; an image without one is there under its digest."""
        names = {n: d for n, d in self._names().items() if "@" not in n}
        named = set(names.values())
        found = [self._image(digest, familiar(name)) for name, digest in sorted(names.items())]
        return found + [self._image(d, d) for d in self._digests() if d not in named]

    # Changing

    def add(
        self,
        names: Sequence[str],
        config: bytes,
        blobs: Sequence[Blob],
        work: str,
        *,
        manifest: str = "",
        progress: Progress | None = None,
    ) -> Image:
        """Keep an image: `blobs` are its layers from the lowest up; `work` is a folder of `working`.

        `manifest` is the digest of its manifest, where it has one. Raises ImageError.
        """
        references = tuple(parse(name) for name in names)
        told = configuration.read(config)
        if len(told.diff_ids) != len(blobs):
            raise ImageError("the image's configuration and its layers differ in number")
        with self._locked():
            needs = self._needs(work) | set(told.diff_ids)
            _write(f"{work}/needs", json.dumps(sorted(needs)).encode())
            here = {d for d in told.diff_ids if os.path.isdir(self._layer(d))}
        fresh: dict[str, str] = {}
        for number, (wanted, blob) in enumerate(zip(told.diff_ids, blobs, strict=True)):
            if wanted in here or wanted in fresh:
                if progress and blob.size > 0:
                    progress(blob.size)
                continue
            fresh[wanted], found = self._unpack(blob, work, progress)
            if found != wanted:
                raise ImageError(f"layer {number + 1} is {found}, not {wanted}")
        return self._commit(references, config, fresh, work, manifest)

    def _needs(self, work: str) -> set[str]:
        try:
            with open(f"{work}/needs", encoding="utf-8") as file:
                return set(json.load(file))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return set()

    def _layer(self, diff_id: str) -> str:
        return f"{self._root}/layers/{digest_hex(diff_id)}"

    def _unpack(self, blob: Blob, work: str, progress: Progress | None) -> tuple[str, str]:
        """(folder, diff_id) of a layer in the work folder."""
        from .layers import extract

        folder = tempfile.mkdtemp(prefix="layer-", dir=work)
        os.chmod(folder, 0o755)
        made = extract(blob, folder, progress)
        _write(f"{folder}.size", str(made.size).encode())
        return folder, made.diff_id

    def _commit(
        self, references: Sequence[Reference], config: bytes, fresh: Mapping[str, str], work: str, manifest: str
    ) -> Image:
        digest = "sha256:" + hashlib.sha256(config).hexdigest()
        if fresh:
            _sync(work)
        try:
            with self._locked():
                for diff_id, folder in fresh.items():
                    if not os.path.isdir(self._layer(diff_id)):  # else another load was first with the same
                        os.rename(f"{folder}.size", self._layer(diff_id) + ".size")
                        os.rename(folder, self._layer(diff_id))
                _write(f"{self._root}/configs/{digest_hex(digest)}.json", config)
                names = self._names()
                for reference in references:
                    if reference.tag:
                        names[reference.tagged] = digest
                    if manifest:
                        names[f"{reference.repository}@{manifest}"] = digest
                if not references:
                    names[digest] = digest
                _write(f"{self._root}/names.json", json.dumps(names, indent=1).encode())
                self._collect(work)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise ImageError("the disk is full", "nothing was kept; make room and try again") from error
            raise ImageError(f"the image cannot be kept: {error}") from error
        first = next((str(r) for r in references if r.tag), digest)
        return self._image(digest, familiar(first))

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
                blob = Blob(lambda: _opened(source))
                folder, diff_id = self._unpack(blob, work, progress)
            except FileNotFoundError as error:
                raise ImageError(f"{source}: no such file") from error
            tree = {"config": config, "rootfs": {"type": "layers", "diff_ids": [diff_id]}, **_platform()}
            data = json.dumps(tree).encode()
            configuration.read(data)
            return self._commit((reference,), data, {diff_id: folder}, work, "")

    def load(self, archive: str | IO[bytes], progress: Progress | None = None) -> list[Image]:
        """The images of a `docker save` archive or an OCI layout (folder, tar, or a stream of a tar)."""
        from .archive import load

        return load(self, archive, progress)

    def rm(self, name: str, force: bool = False) -> list[str]:
        """Forget a name; what nothing names or uses goes too. Returns what went, in words.

        Raises ImageInUse while a container of any project is made from it, ImageNotFound.
        """
        if name == host.NAME:
            raise ImageError("the image host is always there")
        with self.working() as work, self._locked():
            digest, names = self._digest(name), self._names()
            reference = None if _SHORT_ID.fullmatch(name) else parse(name)
            tagged = reference.tagged if reference and reference.tag else ""
            gone = [tagged] if tagged in names else [n for n, d in names.items() if d == digest]
            left = [n for n, d in names.items() if d == digest and n not in gone and "@" not in n]
            users = [
                f"{user.container} (project {user.project})"
                for user in uses.everyone(self._places)
                if user.uses.digest == digest and (not left or _same(user.uses.image, tagged))
            ]
            if users and not force:
                raise ImageInUse(name, tuple(users))
            if not left:
                gone = [n for n, d in names.items() if d == digest]
            for key in gone:
                del names[key]
            _write(f"{self._root}/names.json", json.dumps(names, indent=1).encode())
            self._collect(work)
        said = [f"untagged: {familiar(n)}" for n in gone if not n.startswith("sha256:")]
        return said + ([] if left or users else [f"deleted: {digest}"])

    def _collect(self, work: str) -> None:
        """Take away images and layers that nothing names or uses; `work` gets the layers. The lock is held."""
        users = uses.everyone(self._places)
        images = set(self._names().values()) | {user.uses.digest for user in users}
        layers = {layer for user in users for layer in user.uses.layers}
        for entry in os.listdir(f"{self._root}/work"):
            layers |= self._needs(f"{self._root}/work/{entry}")
        for digest in self._digests():
            if digest in images:
                with open(f"{self._root}/configs/{digest_hex(digest)}.json", "rb") as source:
                    layers |= set(configuration.read(source.read()).diff_ids)
            else:
                os.unlink(f"{self._root}/configs/{digest_hex(digest)}.json")
        for entry in os.listdir(f"{self._root}/layers"):
            if f"sha256:{entry.removesuffix('.size')}" not in layers:
                if entry.endswith(".size"):
                    os.unlink(f"{self._root}/layers/{entry}")
                else:
                    os.rename(f"{self._root}/layers/{entry}", f"{work}/gone-{entry}")


def _opened(source: str | IO[bytes]) -> IO[bytes]:
    return open(source, "rb") if isinstance(source, str) else source


def _same(one: str, tagged: str) -> bool:
    try:
        return parse(one).tagged == tagged
    except ImageError:
        return False


def _platform() -> dict[str, str]:
    import platform

    from .archive import MACHINES

    return {"architecture": MACHINES.get(platform.machine(), platform.machine()), "os": "linux"}


def _sync(folder: str) -> None:
    """Everything of the folder's file system is on the disk when this returns (man 2 syncfs)."""
    from pycompose.runtime.inside import syscalls

    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syscalls.syncfs(fd)
    finally:
        os.close(fd)
