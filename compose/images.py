"""Images of services, made ready before anything is decided: all are on this machine, or all that are missing are told.

Their digests are part of what `reconcile` compares, so a new image under an old name makes containers anew.
Rules: reads the image store; changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pycompose.runtime.errors import RuntimeFailure
from pycompose.runtime.images.store import Store
from pycompose.runtime.places import Places

from .errors import PycomposeError
from .model import Project

HINT = "pycompose image load ARCHIVE, or image: host (registries come later)"


class ImagesMissing(PycomposeError):
    """`missing`: service -> image."""

    def __init__(self, missing: Mapping[str, str]) -> None:
        lines = [f'service "{service}": image "{image}" is not on this machine' for service, image in missing.items()]
        super().__init__("\n".join(lines), hint=HINT)
        self.missing = missing


def ready(project: Project, services: Iterable[str] = (), *, no_deps: bool = False) -> dict[str, str]:
    """Service -> digest of its image, of the services asked for (all, if none) and of what they need.

    Raises ImagesMissing with every one that is not here, PycomposeError for what is no image's name.
    """
    wanted = _needed(project, tuple(services), no_deps)
    names = {service: project.services[service].image or "" for service in wanted}
    try:
        found = Store(Places.default()).digests({name for name in names.values() if name})
    except RuntimeFailure as error:
        raise PycomposeError(str(error), hint=getattr(error, "hint", "")) from error
    missing = {service: name or "(none)" for service, name in names.items() if name not in found}
    if missing:
        raise ImagesMissing(missing)
    return {service: found[name] for service, name in names.items() if found[name]}


def _needed(project: Project, services: tuple[str, ...], no_deps: bool) -> list[str]:
    pending = [name for name in services or tuple(project.services) if name in project.services]
    found: dict[str, None] = {}
    while pending:
        name = pending.pop(0)
        if name not in found:
            found[name] = None
            if not (no_deps and services):
                pending += [d.service for d in project.services[name].depends_on if d.service in project.services]
    return list(found)
