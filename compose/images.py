"""Images of services, made ready before anything is decided: all are on this machine, or all that are missing are told.

Their digests are part of what `reconcile` compares, so a new image under an old name makes containers anew.
Rules: reads the image store; changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pycompose.runtime.errors import RuntimeFailure
from pycompose.runtime.places import Places

from .errors import PycomposeError
from .model import ImageMount, Project

HINT = "pycompose image load ARCHIVE, or image: host (registries come later)"


class ImagesMissing(PycomposeError):
    """`missing`: services and images."""

    def __init__(self, missing: tuple[tuple[str, str], ...]) -> None:
        lines = [f'service "{service}": image "{image}" is not on this machine' for service, image in missing]
        super().__init__("\n".join(lines), hint=HINT)
        self.missing = missing


def ready(project: Project, services: Iterable[str] = (), *, no_deps: bool = False) -> dict[str, str]:
    """Service -> digest of its image, of the services asked for (all, if none) and of what they need.

    Images that are only mounted must be here too. Raises ImagesMissing with every one that is not here, PycomposeError
    for what is no image's name.
    """
    wanted: list[tuple[str, str, bool]] = []
    for name in _needed(project, tuple(services), no_deps):
        service = project.services[name]
        wanted.append((name, service.image or "", True))
        wanted += [(name, mount.source, False) for mount in service.mounts if isinstance(mount, ImageMount)]
    found, missing = {"host": ""}, []
    for name, image, _ in wanted:
        if image not in found and not (digest := _digest(name, image)):
            missing.append((name, image or "(none)"))
        elif image not in found:
            found[image] = digest
    if missing:
        raise ImagesMissing(tuple(dict.fromkeys(missing)))
    return {name: found[image] for name, image, own in wanted if own and found[image]}


def pinned(images: Mapping[str, str]) -> dict[str, str]:
    """Image -> its full name with the digest that it has in its registry; `images` tells a service that each is of.

    Raises ImagesMissing, and PycomposeError for those that are here and came without a digest.
    """
    from pycompose.runtime.images.reference import Reference, parse
    from pycompose.runtime.images.store import Store

    store, found, missing, without = Store(Places.default()), {}, [], []
    for image, service in images.items():
        if image == "host":
            continue
        if not _digest(service, image):
            missing.append((service, image))
        elif (name := parse(image)).digest:
            found[image] = str(name)
        elif digest := store.repository_digest(image):
            found[image] = str(Reference(name.repository, name.tag, digest))
        else:
            without.append(f'service "{service}": image "{image}" has no digest: it came from no registry')
    if missing:
        raise ImagesMissing(tuple(missing))
    if without:
        raise PycomposeError("\n".join(without), hint="an archive of OCI layout brings digests along; pull does too")
    return found


def _digest(service: str, image: str) -> str:
    from pycompose.runtime.images.store import Store

    try:
        return Store(Places.default()).digests([image])[image] if image else ""
    except KeyError:
        return ""
    except (RuntimeFailure, OSError) as error:
        raise PycomposeError(f'service "{service}": {error}', hint=getattr(error, "hint", "")) from error


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
