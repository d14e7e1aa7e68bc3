"""Layers of a build: roots to read, roots to write, and what was written as a layer of the store.

A root is an overlay that is mounted nowhere: only its descriptor exists, so a process that is killed leaves no mount.
Rules: blocking; folders lie in the build's work folder, and what is finished is moved into the store.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence

from pycompose.runtime.files.descent import make_folder
from pycompose.runtime.images import roots
from pycompose.runtime.images.pack import pack, settle
from pycompose.runtime.images.store import Fresh, Layer, Store
from pycompose.runtime.init import host_root, rootfs
from pycompose.runtime.init.rootfs import overlay
from pycompose.runtime.policy import host_secrets

from .errors import BuildError
from .trees import Tree


class Layering:
    def __init__(self, store: Store, work: str, epoch: int | None) -> None:
        self.store, self.work, self.epoch = store, work, epoch
        self._checked = False
        self._views: dict[tuple[tuple[str, ...], bool], Tree] = {}
        self.held = contextlib.ExitStack()

    def close(self) -> None:
        self.held.close()

    def folders(self, layers: Sequence[str]) -> tuple[str, ...]:
        """Where layers lie, the topmost first."""
        return tuple(self.store.folder(diff_id) for diff_id in reversed(layers))

    def place(self, kind: str) -> str:
        """A new folder of the work folder."""
        return tempfile.mkdtemp(prefix=f"{kind}-", dir=self.work)

    def check(self) -> None:
        """Raises BuildError where overlayfs cannot be."""
        if not self._checked and not roots.overlay_works(self.work, roots.init_layer(self.store.places)):
            raise BuildError(
                f"the file system of {self.store.places.state} cannot hold an overlay, which building needs",
                "PYCOMPOSE_STATE can name a folder on ext4, xfs or btrfs; PYCOMPOSE_STORAGE must not be vfs",
            )
        self._checked = True

    def view(self, layers: Sequence[str], host: bool, what: str) -> Tree:
        """What these layers look like together; to be read only."""
        key = (tuple(layers), host)
        if key not in self._views:
            if len(layers) == 1 and not host:
                fd = os.open(self.folders(layers)[0], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            else:
                fd = self.held.enter_context(self.mounted(layers, host, self.place("view")))
                fd = os.dup(fd)
            self.held.callback(os.close, fd)
            self._views[key] = Tree(fd, what, owned=True)
        view = self._views[key]
        return Tree(view.root, what, owned=True)

    @contextlib.contextmanager
    def mounted(self, layers: Sequence[str], host: bool, place: str) -> Iterator[int]:
        """The descriptor of a root of these layers; what is written to it lies in `place`/upper."""
        self.check()
        with contextlib.ExitStack() as held:
            lower = self.folders(layers)
            if host:
                # The layers lie inside the host's root, and overlayfs wants them apart: so that is an overlay, too.
                below = self._host(place, held)
                lower = (*lower, f"/proc/self/fd/{below}")
            if not lower:
                os.makedirs(f"{place}/nothing", 0o755, exist_ok=True)
                lower = (f"{place}/nothing",)
            if not os.path.isdir(f"{place}/upper"):
                os.close(make_folder(f"{place}/upper", 0o755))
            tree = overlay(lower, f"{place}/upper", f"{place}/work")
            held.callback(os.close, tree)
            yield tree

    def _host(self, place: str, held: contextlib.ExitStack) -> int:
        """The host's files without what is hidden of them."""
        places = self.store.places
        hidden = host_secrets.view((places.state, places.run)).hidden
        memory = rootfs.memory("0755")
        held.callback(os.close, memory)
        host_root.veil(f"/proc/self/fd/{memory}/veil", "/", hidden)
        below = overlay((f"/proc/self/fd/{memory}/veil", "/"), f"{place}/host-upper", f"{place}/host-work")
        held.callback(os.close, below)
        return below

    def finish(self, upper: str) -> tuple[str, int]:
        """Take the folder into the store as a layer: (diff_id, bytes of files); ("", 0) if nothing is in it."""
        if not os.listdir(upper):
            return "", 0
        settle(upper, self.epoch)
        packed = pack(upper)
        self.store.keep_layer(Fresh(Layer(packed.diff_id, packed.size), upper), self.work)
        return packed.diff_id, packed.size

    def written(self, layers: Sequence[str], host: bool, write: Callable[[int], None]) -> str:
        """The layer that `write` makes, given the root of these layers; "" if it writes nothing."""
        place = self.place("step")
        with self.mounted(layers, host, place) as root:
            write(root)
        return self.finish(f"{place}/upper")[0]
