"""Disk usage: bytes that containers have written, that volumes hold, that images take. Apparent sizes, in bytes.

Trees that containers write to are walked by descriptors; a file of several names counts once. Synchronous.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from pycompose.frozen import dataclass
from pycompose.runtime.files.ordered_walk import walk
from pycompose.runtime.places import Places

from . import inspection

if TYPE_CHECKING:
    from pycompose.runtime.images.store import Store


def written(folder: str) -> int:
    """Bytes that the container in `folder` has written into its root."""
    uppers = [f"{folder}/upper", f"{folder}/rootfs"]
    with suppress(FileNotFoundError):
        uppers += [f"{folder}/disks/{name}/upper" for name in os.listdir(f"{folder}/disks")]
    return sum(size_of(upper) for upper in uppers)


def size_of(folder: str) -> int:
    """Bytes of all files below a folder; 0 where there is none."""
    try:
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return 0
    counted: set[tuple[int, int]] = set()
    total = 0
    try:
        for _, _, _, status in walk(top):
            if stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) not in counted:
                total += status.st_size
                if status.st_nlink > 1:
                    counted.add((status.st_dev, status.st_ino))
    except OSError:  # a path too long to be listed: what is below it is not counted
        return total
    finally:
        os.close(top)
    return total


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one kind of things: how many there are, how many are used, and bytes: all, and what nobody uses."""

    kind: str
    total: int
    active: int
    size: int
    reclaimable: int


def of_machine(roots: Places) -> tuple[Usage, ...]:
    """Of images, containers, volumes and what builds remember. Raises OSError."""
    from pycompose.runtime.images.store import Store
    from pycompose.runtime.state import usage
    from pycompose.runtime.state.volumes import Volumes

    everyone = list(inspection.everyone(roots))
    uses = [one.uses for one in usage.everyone(roots)]
    sizes = {one.container.id: written(one.places.container(one.container.id)) for one in everyone}
    stopped = [one.container.id for one in everyone if not one.container.runs]
    containers = Usage(
        "Containers",
        len(everyone),
        len(everyone) - len(stopped),
        sum(sizes.values()),
        sum(sizes[container_id] for container_id in stopped),
    )
    records = Volumes(roots).list()
    used = {name for one in uses for name in one.volumes}
    volume_sizes = {record.name: size_of(record.path) for record in records}
    volumes = Usage(
        "Local Volumes",
        len(records),
        sum(record.name in used for record in records),
        sum(volume_sizes.values()),
        sum(size for name, size in volume_sizes.items() if name not in used),
    )
    images, cache = _images(Store(roots), {one.digest for one in uses})
    return images, containers, volumes, cache


def _images(store: Store, used: set[str]) -> tuple[Usage, Usage]:
    """Of images, and of the layers that only builds remember."""
    images = {image.digest: image for image in store.ls() if not image.is_host}
    needed = {folder for digest in images.keys() & used for folder in images[digest].layers}
    named = {folder for image in images.values() for folder in image.layers}
    try:
        names = {entry.partition(".")[0] for entry in os.listdir(f"{store.root}/layers") if not entry.startswith(".")}
    except FileNotFoundError:
        names = set()
    sizes = {f"sha256:{name}": layer.size for name in names if (layer := store.layer(f"sha256:{name}"))}
    by_folder = {store.folder(diff_id): size for diff_id, size in sizes.items()}
    whole = sum(by_folder.get(folder, 0) for folder in named)
    kept = sum(by_folder.get(folder, 0) for folder in needed)
    apart = {folder: size for folder, size in by_folder.items() if folder not in named}
    cached = sum(apart.values())
    return (
        Usage("Images", len(images), len(images.keys() & used), whole, whole - kept),
        Usage("Build Cache", len(apart), 0, cached, cached),
    )
