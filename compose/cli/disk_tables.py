"""Tables of `system df -v`: each image, container, volume and layer of builds, with what it takes on the disk.

As JSON or by a template all are one object with the keys of docker's: Images, Containers, Volumes, BuildCache.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from pycompose.compose.app.disk_usage import CachedLayer, ContainerUse, Details, ImageUse, VolumeUse

from .commands import ps, volume
from .image_options import created_seconds, name_and_tag
from .output import terminal
from .output.listing import compact
from .output.tables import age, decimal_size, table

_CREATED = "CREATED"
_IMAGES = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "ID": "IMAGE ID",
    "CreatedSince": _CREATED,
    "Size": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
    "Containers": "CONTAINERS",
}
_CONTAINERS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "LocalVolumes": "LOCAL VOLUMES",
    "Size": "SIZE",
    "RunningFor": _CREATED,
    "Status": "STATUS",
    "Names": "NAMES",
}
_VOLUMES = {"Name": "VOLUME NAME", "Links": "LINKS", "Size": "SIZE"}
_CACHE = {
    "ID": "CACHE ID",
    "CacheType": "CACHE TYPE",
    "Size": "SIZE",
    "CreatedSince": _CREATED,
    "LastUsedSince": "LAST USED",
    "UsageCount": "USAGE",
    "Shared": "SHARED",
}


def show(form: str, details: Details) -> None:
    """Print all of it as `form` has it: "table", "json" or a template. Raises TemplateError."""
    now = time.time()
    images = [_image(one, now) for one in details.images]
    containers = [_container(one, now) for one in details.containers]
    volumes = [_volume(one) for one in details.volumes]
    cache = [_cached(one, now) for one in details.cache]
    whole = {"Images": images, "Containers": containers, "Volumes": volumes, "BuildCache": cache}
    if form == "json":
        terminal.say(compact(_plain(whole)))
    elif form != "table":
        from .output.templates import printed

        terminal.say(printed(form, [whole], {}), end="")
    else:
        cached = decimal_size(sum(one.size for one in details.cache))
        _say("Images space usage:", _IMAGES, images)
        _say("\nContainers space usage:", _CONTAINERS, containers)
        _say("\nLocal Volumes space usage:", _VOLUMES, volumes)
        _say(f"\nBuild cache usage: {cached}", _CACHE, cache)


def _say(title: str, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
    terminal.say(f"{title}\n")
    terminal.say(table(tuple(columns.values()), [[str(row[key]) for key in columns] for row in rows]), end="")


def _plain(whole: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    return {
        kind: [{key: value for key, value in row.items() if not callable(value)} for row in rows]
        for kind, rows in whole.items()
    }


def _image(use: ImageUse, now: float) -> dict[str, Any]:
    image = use.image
    repository, tag = name_and_tag(image.name)
    created = created_seconds(image.created)
    return {
        "Containers": str(use.containers),
        "CreatedAt": image.created,
        "CreatedSince": f"{age(now - created)} ago" if created else "N/A",
        "Digest": "<none>",
        "ID": image.digest.rpartition(":")[2][:12],
        "Repository": repository,
        "SharedSize": decimal_size(use.shared),
        "Size": decimal_size(image.size),
        "Tag": tag,
        "UniqueSize": decimal_size(image.size - use.shared),
        "VirtualSize": decimal_size(image.size),
    }


def _container(use: ContainerUse, now: float) -> dict[str, Any]:
    from pycompose.compose.state import observe

    container, places = use.somewhere.container, use.somewhere.places
    row = ps.as_json(container, places.project, observe.arguments(places, container), now)
    return {**row, "Size": decimal_size(use.size)}


def _volume(use: VolumeUse) -> dict[str, Any]:
    return {**volume.row(use.record), "Links": str(use.links), "Size": decimal_size(use.size)}


def _cached(layer: CachedLayer, now: float) -> dict[str, Any]:
    return {
        "CacheType": "regular",
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(layer.created)),
        "CreatedSince": f"{age(now - layer.created)} ago",
        "ID": layer.diff_id[:12],
        "InUse": "false",
        "LastUsedSince": f"{age(now - layer.used)} ago",
        "Shared": "false",
        "Size": decimal_size(layer.size),
        "UsageCount": str(layer.steps),
    }
