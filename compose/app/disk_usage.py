"""Disk usage: bytes that containers have written, that volumes hold, that images take. Apparent sizes, in bytes.

Trees that containers write to are walked by descriptors; a file of several names counts once. Synchronous.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from pycompose.frozen import dataclass
from pycompose.runtime.files.ordered_walk import walk
from pycompose.runtime.places import Places

from . import inspection

if TYPE_CHECKING:
    from pycompose.runtime.images.store import Image, Store
    from pycompose.runtime.state.volumes import VolumeRecord


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


@dataclass(frozen=True, slots=True)
class ImageUse:
    """One name of an image. `shared`: bytes of layers that another image has, too; `containers` are made from it."""

    image: Image
    shared: int
    containers: int


@dataclass(frozen=True, slots=True)
class ContainerUse:
    somewhere: inspection.Somewhere
    size: int


@dataclass(frozen=True, slots=True)
class VolumeUse:
    """`links`: how many containers have it, whether these run or not."""

    record: VolumeRecord
    links: int
    size: int


@dataclass(frozen=True, slots=True)
class CachedLayer:
    """A layer that only builds remember; `steps` lead to it, the last of which was asked for at `used`."""

    diff_id: str
    size: int
    created: float
    used: float
    steps: int


@dataclass(frozen=True, slots=True)
class Details:
    """Everything on the disk, each thing by itself."""

    images: tuple[ImageUse, ...]
    containers: tuple[ContainerUse, ...]
    volumes: tuple[VolumeUse, ...]
    cache: tuple[CachedLayer, ...]


def details(roots: Places) -> Details:
    """Of images, containers, volumes and what builds remember. Raises OSError."""
    from pycompose.runtime.images.store import Store
    from pycompose.runtime.state import usage
    from pycompose.runtime.state.volumes import Volumes

    uses = [one.uses for one in usage.everyone(roots)]
    links = Counter(name for one in uses for name in set(one.volumes))
    of_image = Counter(one.digest for one in uses)
    containers = [
        ContainerUse(one, written(one.places.container(one.container.id))) for one in inspection.everyone(roots)
    ]
    store = Store(roots)
    images = [image for image in store.ls() if not image.is_host]
    sizes = _layer_sizes(store)
    of_images = Counter(layer for image in {one.digest: one for one in images}.values() for layer in set(image.layers))
    return Details(
        tuple(
            ImageUse(
                image,
                sum(sizes.get(layer, 0) for layer in image.layers if of_images[layer] > 1),
                of_image[image.digest],
            )
            for image in images
        ),
        tuple(containers),
        tuple(VolumeUse(one, links[one.name], size_of(one.path)) for one in Volumes(roots).list()),
        tuple(_cached(store, {folder: size for folder, size in sizes.items() if folder not in of_images})),
    )


def _cached(store: Store, sizes: Mapping[str, int]) -> Iterator[CachedLayer]:
    """The layers in folders that no image has."""
    from pycompose.runtime.images.cache import Cache

    steps: dict[str, list[float]] = {}
    for layers, moment in Cache(store).entries():
        for diff_id in layers:
            steps.setdefault(store.folder(diff_id), []).append(moment)
    for folder, size in sizes.items():
        with suppress(FileNotFoundError):  # it was collected meanwhile
            created = os.stat(folder).st_ctime
            moments = steps.get(folder, [])
            yield CachedLayer(os.path.basename(folder), size, created, max(moments, default=created), len(moments))


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
    by_folder = _layer_sizes(store)
    whole = sum(by_folder.get(folder, 0) for folder in named)
    kept = sum(by_folder.get(folder, 0) for folder in needed)
    apart = {folder: size for folder, size in by_folder.items() if folder not in named}
    cached = sum(apart.values())
    return (
        Usage("Images", len(images), len(images.keys() & used), whole, whole - kept),
        Usage("Build Cache", len(apart), 0, cached, cached),
    )


def _layer_sizes(store: Store) -> dict[str, int]:
    """Bytes of each layer in the store, by its folder."""
    try:
        names = {entry.partition(".")[0] for entry in os.listdir(f"{store.root}/layers") if not entry.startswith(".")}
    except FileNotFoundError:
        return {}
    layers = (store.layer(f"sha256:{name}") for name in names)
    return {store.folder(layer.diff_id): layer.size for layer in layers if layer}
