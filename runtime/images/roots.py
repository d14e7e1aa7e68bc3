"""Of what a container's root file system is made: layers of an image, or the host itself.

`init_layer` makes the shared topmost lower layer (mount points and empty `/etc` files) once; `root_for` says what the
kernel shall stack for one container; where overlayfs cannot be, it is a copy of everything ("vfs": slow and large, but
right). Rules: folders and values only; mounting is `runtime.inside`'s.
"""

from __future__ import annotations

import os
import tempfile

from pycompose.runtime.errors import RuntimeFailure
from pycompose.runtime.files.descent import make_folder
from pycompose.runtime.files.remove import discard
from pycompose.runtime.files.union import merge
from pycompose.runtime.places import Places
from pycompose.runtime.policy import host_secrets
from pycompose.runtime.spec import FolderRoot, HostRoot, LayeredRoot
from pycompose.runtime.state import usage

from .store import Image

_FOLDERS = ("dev", "dev/pts", "dev/shm", "proc", "sys", "etc")
_FILES = ("etc/resolv.conf", "etc/hosts", "etc/hostname", "dev/console", ".dockerenv")


def init_layer(places: Places) -> str:
    """The path of the init layer; made at the first call, whole or not at all."""
    path = places.init_layer
    if os.path.isdir(path):
        return path
    places.claim()
    staging = tempfile.mkdtemp(prefix=".init-layer-", dir=places.state)
    try:
        for name in ("", *_FOLDERS):
            os.close(make_folder(f"{staging}/layer/{name}".rstrip("/"), 0o755))
        for name in _FILES:
            file = os.open(f"{staging}/layer/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            os.fchmod(file, 0o644)
            os.close(file)
        os.symlink("/proc/mounts", f"{staging}/layer/etc/mtab")
        os.rename(f"{staging}/layer", path)
        os.rmdir(staging)
    except OSError:
        discard(staging)
        if not os.path.isdir(path):  # else another process was first
            raise
    return path


def root_for(
    image: Image,
    container_folder: str,
    places: Places,
    volumes: tuple[str, ...] = (),
    project_folder: str = "",
    show: tuple[str, ...] = (),
) -> LayeredRoot | HostRoot | FolderRoot:
    """The root of one container whose private folders lie in `container_folder`.

    Of the host's files it shows `project_folder` and `show` too, where they are hidden (`host_secrets`).
    What it uses is on record when this returns. To be called while `Store.held`, so that no layer goes meanwhile.
    """
    lowest = init_layer(places)
    layers = tuple(f"sha256:{os.path.basename(folder)}" for folder in image.layers)
    usage.write(container_folder, usage.Uses(image.name, image.digest, layers, volumes))
    if image.is_host:
        store = f"{container_folder}/host"
        os.makedirs(store, mode=0o700, exist_ok=True)
        view = host_secrets.view((places.state, places.run), project_folder, show)
        return HostRoot(store, (lowest,), view.hidden, image.layers, view.shown)
    if not overlay_works(container_folder, lowest):
        path = f"{container_folder}/rootfs"
        os.mkdir(path, 0o755)
        merge((lowest, *image.layers), path)
        return FolderRoot(path)
    upper, work = f"{container_folder}/upper", f"{container_folder}/work"
    if not os.path.isdir(upper):
        os.close(make_folder(upper, 0o755))
    os.makedirs(work, mode=0o700, exist_ok=True)
    return LayeredRoot((lowest, *image.layers), upper, work)


_tried: dict[int, bool] = {}  # device number -> whether it can hold an overlay's upper folder


def overlay_works(folder: str, lower: str) -> bool:
    """Whether overlayfs takes `folder`'s file system for its upper: tried once, for nothing else can tell.

    `PYCOMPOSE_STORAGE=vfs` says no. An overlay, a network file system or one without trusted attributes cannot.
    """
    wanted = os.environ.get("PYCOMPOSE_STORAGE", "")
    if wanted not in ("", "overlay", "vfs"):
        raise RuntimeFailure(f'PYCOMPOSE_STORAGE is "{wanted}": it must be overlay or vfs')
    if wanted:
        return wanted == "overlay"
    device = os.stat(folder).st_dev
    if device not in _tried:
        from pycompose.runtime.init.rootfs import can_overlay

        place = tempfile.mkdtemp(prefix=".try-", dir=folder)
        try:
            _tried[device] = can_overlay(lower, f"{place}/upper", f"{place}/work")
        finally:
            discard(place)
    return _tried[device]
