"""Of what a container's root file system is made: layers of an image, or the host itself.

`init_layer` makes the shared topmost lower layer (mount points and empty `/etc` files) once; `root_for` says what the
kernel shall stack for one container. Rules: folders and values only; mounting is `runtime.inside`'s.
"""

from __future__ import annotations

import os
import shutil
import tempfile

from .images.store import Image
from .places import Places
from .spec import HostRoot, LayeredRoot

_FOLDERS = ("dev", "dev/pts", "dev/shm", "proc", "sys", "etc")
_FILES = ("etc/resolv.conf", "etc/hosts", "etc/hostname", "dev/console", ".dockerenv")


def init_layer(places: Places) -> str:
    """The path of the init layer; made at the first call, whole or not at all."""
    path = places.init_layer
    if os.path.isdir(path):
        return path
    os.makedirs(places.state, mode=0o711, exist_ok=True)
    made = tempfile.mkdtemp(prefix=".init-layer-", dir=places.state)
    try:
        os.chmod(made, 0o755)
        for name in _FOLDERS:
            os.mkdir(f"{made}/{name}")
            os.chmod(f"{made}/{name}", 0o755)
        for name in _FILES:
            os.close(os.open(f"{made}/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            os.chmod(f"{made}/{name}", 0o644)
        os.symlink("/proc/mounts", f"{made}/etc/mtab")
        os.rename(made, path)
    except OSError:
        shutil.rmtree(made, ignore_errors=True)
        if not os.path.isdir(path):  # else another process was first
            raise
    return path


def root_for(image: Image, container_folder: str, places: Places) -> LayeredRoot | HostRoot:
    """The root of one container whose private folders lie in `container_folder`."""
    lowest = init_layer(places)
    if image.is_host:
        store = f"{container_folder}/host"
        os.makedirs(store, mode=0o700, exist_ok=True)
        return HostRoot(store, (lowest,), (places.state, places.run))
    upper, work = f"{container_folder}/upper", f"{container_folder}/work"
    os.makedirs(upper, mode=0o755, exist_ok=True)
    os.makedirs(work, mode=0o700, exist_ok=True)
    os.chmod(upper, 0o755)
    return LayeredRoot((lowest, *image.layers), upper, work)
