"""Resolved projects as earlier commands kept them: one file each, under its digest; the newest is the project."""

from __future__ import annotations

import json
import os

from pycompose import durable, shortages
from pycompose.compose.model.codec import from_json, to_json
from pycompose.compose.model.project import Project
from pycompose.errors import PycomposeError
from pycompose.runtime.places import ProjectPlaces
from pycompose.short_digest import sha256


def newest_digest(places: ProjectPlaces) -> str:
    """The digest under which the newest is kept; "" if there is none."""
    return os.path.basename(_newest_path(places)).removesuffix(".json")


def newest(places: ProjectPlaces) -> Project | None:
    """The project as the last `up` had it; None if there was none."""
    try:
        text = _newest_text(places)
        return from_json(Project, text) if text else None
    except ValueError as error:
        raise _unreadable(places, error) from error


def order(places: ProjectPlaces, project: Project) -> tuple[str, ...]:
    """The order of the newest generation's services, where they need each other as those of `project` do; else ()."""
    try:
        record = json.loads(_newest_text(places) or "{}")
        recorded = {name: [d["service"] for d in s["depends_on"]] for name, s in record.get("services", {}).items()}
        needs = {name: [d.service for d in service.depends_on] for name, service in project.services.items()}
        return tuple(record.get("order", ())) if list(recorded.items()) == list(needs.items()) else ()
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()  # it can be worked out again


def _newest_path(places: ProjectPlaces) -> str:
    """ "" if there is none but what was kept for one command."""
    try:
        entries = [entry for entry in os.scandir(places.generations) if entry.name.endswith(".json")]
        times = {entry.path: entry.stat().st_mtime for entry in entries}
    except FileNotFoundError:
        return ""
    newest = max(times, key=times.__getitem__, default="")
    return newest if newest and times[newest] else ""


def _newest_text(places: ProjectPlaces) -> str:
    if not (path := _newest_path(places)):
        return ""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def read(places: ProjectPlaces, digest: str) -> Project:
    """The project of that digest; an empty one for "". Raises PycomposeError where it is not on record."""
    if not digest:
        return Project(places.project, "/", ())
    try:
        with open(f"{places.generations}/{digest}.json", encoding="utf-8") as file:
            return from_json(Project, file.read())
    except (OSError, ValueError) as error:
        raise _unreadable(places, error) from error


def _unreadable(places: ProjectPlaces, error: OSError | ValueError) -> PycomposeError:
    text = f"the record of project {places.project!r} cannot be read: {shortages.reason(error)}"
    return PycomposeError(text, hint=shortages.hint(shortages.number(error)))


def keep(places: ProjectPlaces, project: Project, *, newest: bool = True) -> str:
    """Keep a resolved project under its digest, whole or not at all; the digest. With `newest` it becomes that."""
    text = to_json(project)
    digest = sha256(text.encode())
    os.makedirs(places.generations, mode=0o700, exist_ok=True)
    path = f"{places.generations}/{digest}.json"
    if os.path.exists(path):
        if newest:
            durable.touch(path)
        return digest
    with durable.replacing(path) as file:
        file.write(text.encode())
        if not newest:
            file.flush()
            os.utime(file.fileno(), (0, 0))
    return digest
