"""The names of images in the store: which image one of `names.json` means, and which names an image has.

A key of `names` is a full name with a tag, `repository@digest` (a pin), a name in an archive, or, for an image that has
no other, its digest. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from .errors import ImageNotFound
from .reference import in_archive, is_tag, parse

_SHORT_ID = re.compile(r"(?:sha256:)?([0-9a-f]{12,64})")


def is_id(name: str) -> bool:
    """Whether it looks like an image's digest, whole or the first 12 or more of its digits."""
    return _SHORT_ID.fullmatch(name) is not None


def find(name: str, names: Mapping[str, str], digests: Callable[[], Sequence[str]]) -> str:
    """The digest of the image that `name` means; `digests` are all images'. Raises ImageNotFound, ImageError."""
    if short := _SHORT_ID.fullmatch(name):
        matching = [digest for digest in digests() if digest.removeprefix("sha256:").startswith(short[1])]
        if len(matching) == 1:
            return matching[0]
        if name.startswith("sha256:") or len(name) == 64:
            raise ImageNotFound(name)
    archived = in_archive(name)
    digest = names.get(str(archived)) if archived else _of_reference(name, names)
    if not digest:
        raise ImageNotFound(name)
    return digest


def _of_reference(name: str, names: Mapping[str, str]) -> str | None:
    reference = parse(name)
    if not reference.digest:
        return names.get(reference.tagged)
    digest = names.get(f"{reference.repository}@{reference.digest}")
    if digest is None and any(
        image == reference.digest and parse(key).repository == reference.repository
        for key, image in names.items()
        if not key.startswith("sha256:") and not in_archive(key)
    ):
        digest = reference.digest
    if reference.tag and names.get(reference.tagged) != digest:
        return None  # both must be true
    return digest


def tags(digest: str, names: Mapping[str, str]) -> list[str]:
    """The full names that lead to an image; none where only its digest does."""
    return sorted(name for name, image in names.items() if image == digest and is_tag(name))


def pins(digest: str, names: Mapping[str, str]) -> list[str]:
    """`repository@digest` of the registries that an image is known to be in."""
    return sorted(name for name, image in names.items() if image == digest and "@" in name and not is_tag(name))


def keeping(before: Mapping[str, str], after: Mapping[str, str], images: Sequence[str] = ()) -> dict[str, str]:
    """`after`, with its digest as a name for each image of `before` or `images` that has no other any more."""
    named = {digest for name, digest in after.items() if is_tag(name)}
    unnamed = {digest: digest for digest in (*before.values(), *images) if digest not in named}
    return {n: d for n, d in after.items() if not n.startswith("sha256:") or d not in named} | unnamed
