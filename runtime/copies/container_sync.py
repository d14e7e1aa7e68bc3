"""Files of this machine kept the same in a container: what changed is copied, what went is removed.

Rules: both sides may change meanwhile and neither is trusted with the other. Here a path is opened below the watched
folder without following links, so that a link is copied as the link that it is and never as what it leads to. In the
container the target may lie behind links, which are resolved in its root; a copy goes where links below the target lead
in that root, a removal follows none of them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing

from pycompose.frozen import dataclass
from pycompose.runtime.files.descent import FOLDER
from pycompose.runtime.files.ordered_walk import CHANGED
from pycompose.runtime.files.ordered_walk import INSIDE as BENEATH
from pycompose.runtime.linux import syscalls

from .container_root import INSIDE as IN_ROOT
from .copy_errors import CopyFailed
from .inside_removal import remove_inside
from .tree_entries import opened_entry
from .tree_writer import TreeWriter

_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = (*CHANGED, errno.EXDEV)


@dataclass(frozen=True, slots=True)
class SyncedPath:
    """A path that changed: `below` the folder `top` of this machine, and `inside` the folder `place` of the container.

    `below` and `inside` are relative and have at least one part. `anew`: what was there goes first.
    """

    top: str
    below: str
    place: str
    inside: str
    anew: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """Of the path in the container, from its root."""
        return tuple(part for part in f"{self.place}/{self.inside}".split("/") if part)


def sync(
    root: int,
    name: str,
    paths: Iterable[SyncedPath],
    owner: tuple[int, int] | None,
    passed_over: Callable[[str], None] = lambda _: None,
) -> None:
    """Make the paths in the container called `name`, whose root is `root`, as they are here.

    `owner`: whose what is copied becomes; None: as here. One that cannot be written does not keep the others back.
    Raises CopyFailed for all of these at the end.
    """
    faults: list[str] = []
    with ExitStack() as held:
        tops: dict[str, int] = {}
        top = syscalls.openat2(root, "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, IN_ROOT)
        held.callback(os.close, top)
        writer = TreeWriter(
            top, lambda entry: owner or (entry.uid, entry.gid), root=root, passed_over=passed_over, replacing=True
        )
        held.enter_context(closing(writer))
        for path in sorted(set(paths), key=lambda one: one.parts):
            try:
                if path.top not in tops:
                    tops[path.top] = _folder_here(path.top)
                    if tops[path.top] >= 0:
                        held.callback(os.close, tops[path.top])
                if path.anew:
                    _removed(root, path)
                if not _copied(tops[path.top], path, writer):
                    _removed(root, path)
            except (OSError, CopyFailed) as error:
                faults.append(f"{'/'.join(('', *path.parts))}: {_reason(error)}")
        try:
            writer.finish()
        except OSError as error:
            faults.append(_reason(error))
    if faults:
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise CopyFailed(f"copying files to {name}: {'; '.join(faults[:3])}{more}")


def _reason(error: OSError | CopyFailed) -> str:
    if isinstance(error, CopyFailed):
        return str(error)
    if error.errno == errno.EROFS:
        return "it is mounted read-only, or is a tmpfs of a container that does not run"
    if error.errno == errno.ELOOP:
        return "its links do not end, or lead through /proc"
    return str(error.strerror)


def _folder_here(path: str) -> int:
    """An open folder, or -1 where there is none (any more)."""
    try:
        return os.open(path, FOLDER)
    except OSError as error:
        if error.errno in _GONE:
            return -1
        raise


def _copied(top: int, path: SyncedPath, writer: TreeWriter) -> bool:
    """Whether there is something at the path here, which is copied then. Raises OSError, CopyFailed."""
    if top < 0:
        return False
    try:
        opened = syscalls.openat2(top, path.below, _LOOK, BENEATH)
    except OSError as error:
        if error.errno in _GONE:
            return False
        raise
    try:
        entry = opened_entry(opened, path.parts, os.fstat(opened))
        if entry is None:
            return True  # a socket
        try:
            writer.put(entry)
        finally:
            if entry.content is not None:
                entry.content.close()
    finally:
        os.close(opened)
    return True


def _removed(root: int, path: SyncedPath) -> None:
    try:
        place = syscalls.openat2(root, path.place or "/", FOLDER & ~os.O_NOFOLLOW, IN_ROOT)
        try:
            above, name = os.path.split(path.inside)
            parent = syscalls.openat2(place, above or ".", FOLDER, BENEATH)
        finally:
            os.close(place)
    except OSError as error:
        if error.errno in _GONE:
            return  # it is not there either, or behind a link
        raise
    try:
        remove_inside(parent, name)
    finally:
        os.close(parent)
