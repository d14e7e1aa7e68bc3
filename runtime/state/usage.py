"""Use of images, layers and volumes by containers: `uses.json` in its folder, so that nobody removes it from under it.

Written before the container is; read by whoever wants to remove an image, a layer or a volume, of any project.
Rules: synchronous, standard library only. It outlives nothing: it goes with the container's folder.
"""

from __future__ import annotations

import json
import os

from pycompose import durable
from pycompose.frozen import dataclass
from pycompose.runtime.places import Places

from . import container_record

FILE = "uses.json"


@dataclass(frozen=True, slots=True)
class Uses:
    """`layers` are diff_ids, the topmost first; `digest` is the image's."""

    image: str = ""
    digest: str = ""
    layers: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerUses:
    project: str
    container: str  # its name
    uses: Uses


def write(folder: str, uses: Uses) -> None:
    """Record what the container in `folder` uses; as durable as its bundle, which has no fsync. Raises OSError."""
    tree = {"image": uses.image, "digest": uses.digest, "layers": uses.layers, "volumes": uses.volumes}
    durable.write(f"{folder}/{FILE}", json.dumps(tree).encode(), flush=False)


def read(folder: str) -> Uses:
    try:
        with open(f"{folder}/{FILE}", encoding="utf-8") as file:
            tree = json.load(file)
        return Uses(tree["image"], tree["digest"], tuple(tree["layers"]), tuple(tree["volumes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Uses()


def everyone(places: Places) -> list[ContainerUses]:
    """Every container of every project."""
    containers = []
    for project in _names(places.projects):
        project_places = places.project(project)
        for container in _names(project_places.containers):
            folder = project_places.container(container)
            name = container_record.read(f"{folder}/state.json").get("name", container[:12])
            containers.append(ContainerUses(project, str(name), read(folder)))
    return containers


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
