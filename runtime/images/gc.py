"""Removal from the image store: one name, or all that nothing uses. What may go is decided in `reachability`.

Rules: synchronous; removes only under the store's lock, and moves folders aside to remove them after it.
"""

from __future__ import annotations

import os

from pycompose.frozen import dataclass
from pycompose.runtime.state import usage

from . import host_image, image_names
from .errors import ImageError, ImageInUse
from .reachability import collect
from .reference import familiar, in_archive, is_tag, parse
from .store import Store


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, in words for a person, and how many bytes that made free."""

    said: tuple[str, ...] = ()
    freed: int = 0


def remove(store: Store, name: str, force: bool = False) -> list[str]:
    """Forget a name; what nothing names or uses goes too. Returns what went, in words.

    Raises ImageInUse while a container of any project is made from it, ImageNotFound.
    """
    if name == host_image.NAME:
        raise ImageError("the image host is always there")
    with store.working() as work, store.locked():
        digest, names = store.digest(name), store.names()
        archived = in_archive(name)
        reference = None if archived or image_names.is_id(name) else parse(name)
        tagged = str(archived) if archived else reference.tagged if reference and reference.tag else ""
        gone = [tagged] if tagged in names else [n for n, d in names.items() if d == digest]
        left = [n for n in image_names.tags(digest, names) if n not in gone]
        users = [
            f"{user.container} (project {user.project})"
            for user in usage.everyone(store.places)
            if user.uses.digest == digest and (not left or _same(user.uses.image, tagged))
        ]
        if users and not force:
            raise ImageInUse(name, tuple(users))
        if not left:
            gone = [n for n, d in names.items() if d == digest]
        for key in gone:
            del names[key]
        store.keep_names(names)
        collect(store, work)
    said = [f"untagged: {familiar(n)}" for n in gone if not n.startswith("sha256:")]
    return said + ([] if left or users else [f"deleted: {digest}"])


def _same(image: str, tagged: str) -> bool:
    if archived := in_archive(image):
        return str(archived) == tagged
    try:
        return parse(image).tagged == tagged
    except ImageError:
        return False


def prune(store: Store, everything: bool = False, among: frozenset[str] | None = None) -> Pruned:
    """Remove images without a name (`everything`: all that no container uses), and what interrupted pulls left.

    `among`: only these digests are looked at.
    """
    with store.working() as work:
        with store.locked():
            before, users = _size(store), {user.uses.digest for user in usage.everyone(store.places)}
            names = store.names()
            tagged = {d for n, d in names.items() if is_tag(n)}
            gone = {d for d in names.values() if d not in users and (everything or d not in tagged)}
            gone = gone if among is None else gone & among
            said = [f"untagged: {familiar(n)}" for n, d in sorted(names.items()) if d in gone and is_tag(n)]
            here = set(store.all_digests())
            store.keep_names({n: d for n, d in names.items() if d not in gone})
            collect(store, work)
            said += [f"deleted: {digest}" for digest in sorted(here - set(store.all_digests()))]
            freed = before - _size(store)
        return Pruned(tuple(said), freed)


def _size(store: Store) -> int:
    """Bytes of all layers and blobs."""
    blobs = sum(store.blobs.size(digest) for digest in store.blobs.digests())
    names = {entry.partition(".")[0] for entry in os.listdir(f"{store.root}/layers") if not entry.startswith(".")}
    return blobs + sum(layer.size for name in names if (layer := store.layer(f"sha256:{name}")))
