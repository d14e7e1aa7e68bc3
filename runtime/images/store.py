"""The image store, changed: layers and images are kept, named, and pushed; shared by all projects.

Layers of an interrupted pull are whole; they wait a day for the next pull. An image that loses its last name to another
one stays, without a name, until `gc.prune`. Nothing is removed that a container of any project uses. Rules:
synchronous. `store_folders` has the layout, `reachability` decides what may go; registries, archives, removal and
verification are other modules, which stand on this one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence

from pycompose import durable
from pycompose.durable import touch
from pycompose.frozen import dataclass
from pycompose.runtime.files.descent import make_folder
from pycompose.runtime.files.flush import flush_file_system

from . import config as configuration
from . import host_image, image_names
from .contents import Image as Image
from .contents import Layer as Layer
from .contents import StoreContents
from .errors import ImageError, not_done
from .manifest import OCI_LAYER
from .reachability import collect
from .reference import Reference, digest_hex, familiar, in_archive, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .layers import Blob, Folder
    from .streams import Progress

DAY = 86_400.0  # seconds that layers of an interrupted pull wait for the next one


@dataclass(frozen=True, slots=True)
class Fresh:
    """A layer in a work folder, on its way into the store; either path may be empty: that part is here already."""

    layer: Layer
    folder: str
    blob: str = ""


class Store(StoreContents):
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
        diff_ids = configuration.read(config).diff_ids
        if len(diff_ids) != len(blobs):
            raise ImageError("the image's configuration and its layers differ in number")
        self.need(work, diff_ids)
        fresh: dict[str, Fresh] = {}
        for number, (wanted, blob) in enumerate(zip(diff_ids, blobs, strict=True)):
            unpacked = fresh.get(wanted) or self._unpacked(wanted, blob, work, bool(manifest), progress)
            if unpacked is None:
                continue
            if unpacked.layer.diff_id != wanted:
                raise ImageError(f"layer {number + 1} is {unpacked.layer.diff_id}, not {wanted}")
            fresh[wanted] = unpacked
        return self.commit(references, config, work, fresh=tuple(fresh.values()), manifest=manifest)

    def _unpacked(
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

    def unpack(self, blob: Blob, work: str, progress: Progress | None = None, *, only_blob: bool = False) -> Fresh:
        """A layer unpacked into the work folder, and its blob as it came; verified. Raises ImageError."""
        from .layers import extract, verified

        fd, path = tempfile.mkstemp(prefix="blob-", dir=work)
        with open(fd, "wb", buffering=0) as copy:
            if only_blob:
                folder, extracted = "", verified(blob, progress, copy)
            else:
                folder = f"{tempfile.mkdtemp(prefix='layer-', dir=work)}/content"
                os.close(make_folder(folder, 0o755))
                extracted = extract(blob, folder, progress, copy)
        kind = OCI_LAYER + (f"+{extracted.compression}" if extracted.compression else "")
        return Fresh(Layer(extracted.diff_id, extracted.size, extracted.digest, extracted.packed, kind), folder, path)

    def keep_layer(self, fresh: Fresh, work: str, *, replace_blob: bool = False) -> None:
        """Move a layer from the work folder into the store before its image is whole: others may use it.

        It is held by `work`, and afterwards by what names it. `replace_blob`: its blob is better than one that is
        here. Raises ImageError.
        """
        self.need(work, (fresh.layer.diff_id, *filter(None, (fresh.layer.blob,))))
        flush_file_system(work)
        with _disk_errors(), self.locked():
            self._place(fresh, replace_blob)

    def _place(self, fresh: Fresh, replace_blob: bool = False) -> None:
        """The lock is held, and what is moved is on the disk."""
        layer = fresh.layer
        if fresh.blob and not self.blobs.has(layer.blob):
            self.blobs.take(fresh.blob, layer.blob)
        known = self.layer(layer.diff_id)
        if known is None or replace_blob or (layer.blob and not (known.blob and self.blobs.has(known.blob))):
            notes = {"size": known.size if known else layer.size, "blob": layer.blob}
            notes |= {"blob_size": layer.blob_size, "media_type": layer.media_type}
            durable.write(f"{self.folder(layer.diff_id)}.json", json.dumps(notes).encode())
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
            flush_file_system(work)
        with _disk_errors(), self.locked():
            for layer in fresh:
                self._place(layer)
            path = f"{self.root}/configs/{digest_hex(digest)}"
            known = list(digests)
            if manifest:
                known.append(self.blobs.put(manifest))
                durable.write(f"{path}.manifest", known[-1].encode())
            durable.write(f"{path}.json", config)
            names = self.names()
            for reference in references:
                if reference.tag:
                    names[reference.tagged] = digest
                for one_digest in known:
                    names[f"{reference.repository}@{one_digest}"] = digest
            self._write_names(names, () if any(r.tag for r in references) else (digest,))
            collect(self, work, DAY)
        first = next((str(r) for r in references if r.tag), digest)
        return self.image(digest, familiar(first))

    def keep_names(self, names: Mapping[str, str]) -> None:
        """The lock is held. What no name leads to any more is for `reachability.collect`."""
        durable.write(f"{self.root}/names.json", json.dumps(names, indent=1).encode())

    def _write_names(self, names: Mapping[str, str], images: Sequence[str] = ()) -> None:
        """Images keep their digest as a name when they have no other any more. The lock is held."""
        self.keep_names(image_names.keeping(self.names(), names, images))

    def tag(self, name: str, target: str) -> None:
        """Give an image another name; what had that name before keeps its digest."""
        if in_archive(target):
            raise ImageError(f"that names an image in an archive: {target!r}", "image save writes archives")
        reference = parse(target)
        if reference.digest:
            raise ImageError(f"a name with a digest cannot be given: {target!r}")
        if name == host_image.NAME:
            raise ImageError("the image host cannot have another name")
        with _disk_errors(), self.locked():
            self._write_names({**self.names(), reference.tagged: self.digest(name)})

    def pushed(self, reference: Reference, digest: str, manifest: str) -> None:
        """The registry of that name has the image under that manifest's digest now."""
        with _disk_errors(), self.locked():
            path = f"{self.root}/configs/{digest_hex(digest)}"
            if not os.path.exists(f"{path}.json"):
                return  # removed meanwhile
            durable.write(f"{path}.manifest", manifest.encode())
            self._write_names({**self.names(), f"{reference.repository}@{manifest}": digest})

    def place_config(self, config: bytes) -> None:
        """Have an image's configuration as a blob too."""
        with _disk_errors(), self.locked():
            self.blobs.put(config)

    def use(self, digest: str) -> None:
        """Note that a container is made from the image now."""
        with contextlib.suppress(OSError, ImageError):
            touch(f"{self.root}/configs/{digest_hex(digest)}.json")

    def name_archived(self, name: str, digest: str) -> None:
        """Let a name with a transport (`reference.InArchive`) lead to an image."""
        with _disk_errors(), self.locked():
            self._write_names({**self.names(), name: digest})

    def discard(self, work: str) -> None:
        """Remove what nothing wants; folders of layers go into `work`."""
        with self.locked():
            collect(self, work)


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    """A write that fails is an ImageError, with a hint where the disk is full."""
    try:
        yield
    except OSError as error:
        raise not_done("the image cannot be kept", error) from error
