"""A compose file of containers that exist, as their projects had them when they were made (`alpha generate`).

Rules: read from records alone. What only the old project could mean is left out: names that it gave, and dependencies
on services that are not in the file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pycompose.compose.file import show
from pycompose.compose.file.canonical import project_tree
from pycompose.compose.state import generations
from pycompose.errors import PycomposeError
from pycompose.runtime.places import Places

from . import inspection

KINDS = ("services", "networks", "volumes", "configs", "secrets", "models")


def of_containers(roots: Places, names: Sequence[str], *, name: str = "", folder: str = "") -> dict[str, Any]:
    """The file's tree. `folder`: binds below it are written from there. Raises PycomposeError."""
    chosen = [(one, inspection.container_named(roots, one)) for one in names]
    if missing := [one for one, container in chosen if container is None]:
        raise PycomposeError(f"no container(s) found with the following name(s): {','.join(missing)}")
    counts: dict[tuple[str, str, str], set[str]] = {}
    places = {}
    for _, one in chosen:
        assert one is not None
        key = (one.places.project, one.container.generation, one.container.service)
        counts.setdefault(key, set()).add(one.container.id)
        places[one.places.project] = one.places
    whole: dict[str, Any] = {}
    for (project, generation, service), ids in counts.items():
        part = _service(generations.read(places[project], generation), service, len(ids), folder)
        for kind in KINDS:
            for key, entry in (part.get(kind) or {}).items():
                if whole.setdefault(kind, {}).setdefault(key, entry) != entry:
                    raise PycomposeError(
                        f"{kind[:-1]} {key!r} is not the same for all of these containers",
                        hint="one file has it once: generate a file of each project",
                    )
    known = whole["services"].keys()
    for service in whole["services"].values():
        needs = {need: how for need, how in (service.pop("depends_on", None) or {}).items() if need in known}
        if needs:
            service["depends_on"] = needs
    return ({"name": name} if name else {}) | {kind: whole[kind] for kind in KINDS if whole.get(kind)}


def _service(project: Any, name: str, count: int, folder: str) -> dict[str, Any]:
    """The tree of a project with one service."""
    service = project.services.get(name)
    if service is None:
        raise PycomposeError(f"service {name!r} is not on record any more")
    service = replace(service, build=None, profiles=(), image=service.image or project.own_image(name))
    tree = show.used(project_tree(replace(project, services={name: service})))
    entry = tree["services"][name]
    entry["image"] = service.image
    entry.pop("scale", None)
    if count > 1:
        entry["scale"] = count
    for kind in ("networks", "volumes", "configs", "secrets"):
        for key, one in (tree.get(kind) or {}).items():
            if one.get("name") == f"{project.name}_{key}":
                del one["name"]
    base = os.path.abspath(folder) if folder else ""
    for mount in entry.get("volumes", ()):
        if base and mount["type"] == "bind" and f"{mount['source']}/".startswith(f"{base}/"):
            mount["source"] = f"./{os.path.relpath(mount['source'], base)}"
    return tree
