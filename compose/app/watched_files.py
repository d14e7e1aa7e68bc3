"""Changed files below folders, in batches, by inotify (`watchfiles`, which wraps the notify crate).

Rules: each folder is watched by itself and not as a tree, so that one that is passed over costs nothing, and no link is
followed. A folder that comes is watched before it is looked into, so nothing in it is missed. A path is told whether it
came, changed or went: who is told looks.
A folder that another one has taken the name of is told apart, for what was in it need not be in the new one.
A batch ends once it has been quiet: at once for a saved file, later where many change (a branch is switched) or where
something went, for editors put a file in the place of another.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from threading import Event
from typing import TYPE_CHECKING

from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

STEP = 10  # ms between looks at what came; it is quiet when a look sees nothing new
MANY = 16  # paths from which on a batch is waited for
QUIET = 150  # ms without a change that end a batch of many
AGAIN = 40  # ms in which what went may come again
LONGEST = 3.0  # seconds that a batch takes at most
ROUNDS = 20  # how often folders may change while they are begun to be watched
_FOR_EVER = 0
_MODIFIED = 2  # watchfiles.Change


@dataclass(frozen=True, slots=True)
class Changes:
    """A batch: paths that came, changed or went; `replaced` are those of folders that others are in the place of."""

    paths: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.paths)


class WatchedFiles:
    """Watches what `roots` (absolute paths, links resolved) are or hold, but folders that `passes_over` names.

    `further` are folders whose entries are watched beside. Raises PycomposeError where that cannot be.
    """

    def __init__(
        self,
        roots: Iterable[str],
        passes_over: Callable[[str], bool],
        further: Iterable[str] = (),
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._roots, self._passes_over, self._further = tuple(dict.fromkeys(roots)), passes_over, tuple(further)
        self._warn = warn
        self._folders: frozenset[str] = frozenset()
        self._replaced: set[str] = set()
        self._notify: RustNotify | None = None
        self._looked = time.time()
        self._watch_anew()

    def __enter__(self) -> WatchedFiles:
        return self

    def __exit__(self, *_: object) -> None:
        if self._notify is not None:
            self._notify.close()

    def everything(self) -> set[str]:
        """All paths that are there."""
        return {root for root in self._roots if os.path.lexists(root)} | self._below(self._roots)

    def changes(self, stop: Event) -> Changes:
        """The next batch; empty once `stop` is set. Raises KeyboardInterrupt for a signal, in the main thread."""
        batch = self._hear(stop, _FOR_EVER)
        end = time.monotonic() + LONGEST
        while batch and not stop.is_set() and time.monotonic() < end:
            if len(batch) >= MANY:
                more = self._hear(stop, QUIET)
            elif any(not os.path.lexists(path) for path in batch):
                more = self._hear(stop, AGAIN)
                end = min(end, time.monotonic())  # once
            else:
                break
            if not more:
                break
            batch |= more
        replaced, self._replaced = self._replaced, set()
        return Changes() if stop.is_set() else Changes(batch, {path for path in replaced if _is_folder(path)})

    def _hear(self, stop: Event, patience: int) -> set[str]:
        """What has changed within `patience` ms, or at last; with all in the folders that came."""
        from watchfiles._rust_notify import WatchfilesRustInternalError

        assert self._notify is not None
        looked = time.time()
        try:
            answer = self._notify.watch(int(LONGEST * 1000), STEP, patience, stop)
        except WatchfilesRustInternalError:  # a name that is no UTF-8, or more events than the kernel keeps
            self._watch_anew()
            changed, self._looked = self._changed_since(self._looked), looked
            return changed
        if answer == "signal":
            raise KeyboardInterrupt
        if isinstance(answer, str):
            return set()
        self._looked = looked
        before = self._folders
        changed = self._noted(answer)
        if self._folders != before or any(self._is_other_folder(path) for path in changed):
            changed |= self._watch_anew(always=self._folders != before)
        return changed

    def _noted(self, answer: Iterable[tuple[int, str]]) -> set[str]:
        """The paths; a watched folder that came or went is not the one that was watched, nor are those below."""
        pairs = set(answer)
        others = {path for change, path in pairs if change != _MODIFIED and path in self._folders}
        if others:
            self._replaced |= others
            below = tuple(f"{path}/" for path in others)
            self._folders = frozenset(f for f in self._folders if f not in others and not f.startswith(below))
        return {path for _, path in pairs}

    def _is_other_folder(self, path: str) -> bool:
        """Whether what is watched is not what is to be watched any more."""
        if path in self._folders:
            return False
        if not any(path == root or path.startswith(f"{root}/") or root.startswith(f"{path}/") for root in self._roots):
            return False
        return _is_folder(path) and not self._passes_over(path)

    def _watch_anew(self, *, always: bool = True) -> set[str]:
        """Watch the folders that there are now; what is in those that came, and what was told meanwhile."""
        changed: set[str] = set()
        for _ in range(ROUNDS):
            folders = frozenset(self._all_folders())
            if folders == self._folders and not always:
                break
            try:
                notify = self._notifier(sorted(folders))
            except FileNotFoundError:
                continue  # one of them went just now
            came, self._folders = folders - self._folders, folders
            if self._notify is not None:
                changed |= self._noted(_left(self._notify))
                self._notify.close()
                below = {folder for folder in came if self._is_below_root(folder)}
                changed |= below | self._below(below)
            self._notify, always = notify, False
        return changed

    def _is_below_root(self, path: str) -> bool:
        return any(path == root or path.startswith(f"{root}/") for root in self._roots)

    def _notifier(self, folders: list[str]) -> RustNotify:
        from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

        watched = []
        for folder in folders:
            try:
                folder.encode()
                watched.append(folder)
            except UnicodeEncodeError:
                self._warn(f"{folder!r} is not watched: its name is not UTF-8")
        try:
            return RustNotify(watched, False, False, 0, False, True)
        except FileNotFoundError:
            raise
        except (OSError, WatchfilesRustInternalError) as error:
            hint = "raise fs.inotify.max_user_watches and fs.inotify.max_user_instances, or have more ignored"
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                hint = "raise fs.inotify.max_user_watches, or have more ignored"
            raise PycomposeError(f"{len(watched)} folders cannot be watched: {error}", hint=hint) from error

    def _all_folders(self) -> Iterator[str]:
        yield from (folder for folder in self._further if _is_folder(folder))
        for root in self._roots:
            if _is_folder(root):
                yield from self._tree(root)
            else:  # a file, which editors put another one in the place of; or what is not there yet
                above = os.path.dirname(root)
                while not _is_folder(above) and above != "/":
                    above = os.path.dirname(above)
                yield above

    def _tree(self, top: str) -> Iterator[str]:
        """The folder and all below it that are not passed over; no link is followed."""
        pending = [top]
        while pending:
            folder = pending.pop()
            yield folder
            for entry in _entries(folder):
                if entry.is_dir(follow_symlinks=False) and not self._passes_over(entry.path):
                    pending.append(entry.path)

    def _below(self, folders: Iterable[str]) -> set[str]:
        """The paths of all in these folders, and below, that are not passed over."""
        paths: set[str] = set()
        for top in folders:
            if top not in paths and _is_folder(top):
                for folder in self._tree(top):
                    paths.update(entry.path for entry in _entries(folder))
        return paths

    def _changed_since(self, when: float) -> set[str]:
        """Paths that have changed since a little before a time (Unix seconds). What went is not among them."""
        changed = set()
        for path in self.everything():
            try:
                if os.lstat(path).st_ctime > when - 0.1:
                    changed.add(path)
            except OSError:
                continue
        return changed


def _left(notify: RustNotify) -> set[tuple[int, str]]:
    """What a notifier knows and has not told."""
    from watchfiles._rust_notify import WatchfilesRustInternalError

    try:
        answer = notify.watch(1, 1, 1, None)
    except WatchfilesRustInternalError:
        return set()
    if answer == "signal":
        raise KeyboardInterrupt
    return set() if isinstance(answer, str) else answer


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []  # it went, or nobody may look into it


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
