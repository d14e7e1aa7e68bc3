"""Named and anonymous volumes: `<volumes>/<name>/{volume.json,_data}`.

A volume appears whole, by rename. `seed` fills an empty one from the image's folder, as Docker does at first use.
Rules: synchronous, standard library only; names are checked before they are in a path.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .errors import RuntimeFailure
from .places import Places

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")


class VolumeError(RuntimeFailure):
    """A volume that is not there, or a name that cannot be one."""


@dataclass(frozen=True, slots=True)
class Volume:
    name: str
    path: str
    labels: Mapping[str, str] = field(default_factory=dict)
    driver: str = "local"


class Volumes:
    def __init__(self, places: Places) -> None:
        self._root = places.volumes

    def _folder(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise VolumeError(f"not a name of a volume: {name[:100]!r}")
        return f"{self._root}/{name}"

    def create(self, name: str, labels: Mapping[str, str] | None = None) -> Volume:
        """Make the volume; one that exists is left as it is."""
        folder = self._folder(name)
        if not os.path.isdir(folder):
            os.makedirs(self._root, mode=0o711, exist_ok=True)
            made = tempfile.mkdtemp(prefix=".new-", dir=self._root)
            try:
                os.chmod(made, 0o711)
                os.mkdir(f"{made}/_data")
                os.chmod(f"{made}/_data", 0o755)
                with open(f"{made}/volume.json", "w", encoding="utf-8") as out:
                    json.dump({"name": name, "labels": dict(labels or {}), "driver": "local"}, out)
                    out.flush()
                    os.fsync(out.fileno())
                os.rename(made, folder)
            except OSError:
                shutil.rmtree(made, ignore_errors=True)
                if not os.path.isdir(folder):
                    raise
        return self.get(name)

    def get(self, name: str) -> Volume:
        try:
            with open(f"{self._folder(name)}/volume.json", encoding="utf-8") as source:
                told = json.load(source)
        except FileNotFoundError:
            raise VolumeError(f"no such volume: {name}") from None
        return Volume(name, self.path(name), told.get("labels", {}), told.get("driver", "local"))

    def exists(self, name: str) -> bool:
        return os.path.isfile(f"{self._folder(name)}/volume.json")

    def path(self, name: str) -> str:
        return f"{self._folder(name)}/_data"

    def list(self) -> list[Volume]:
        if not os.path.isdir(self._root):
            return []
        return [self.get(n) for n in sorted(os.listdir(self._root)) if _NAME.fullmatch(n) and self.exists(n)]

    def remove(self, name: str) -> None:
        """Remove it, first from sight; nothing happens if there is none."""
        gone = f"{self._root}/.gone-{os.getpid()}-{name}"
        try:
            os.rename(self._folder(name), gone)
        except FileNotFoundError:
            return
        shutil.rmtree(gone)

    def seed(self, name: str, lower: Sequence[str], inside: str) -> bool:
        """Copy what the image has at `inside` (layers topmost first) into an empty volume; True if it did."""
        data = self.path(name)
        if os.listdir(data):
            return False
        parts = [p for p in inside.split("/") if p not in ("", ".")]
        if not parts or ".." in parts:
            return False
        found: list[str] = []
        for layer in lower:
            place, hidden = layer, False
            for part in parts:
                place = f"{place}/{part}"
                try:
                    kind = os.lstat(place).st_mode
                except FileNotFoundError:
                    break
                if not stat.S_ISDIR(kind):
                    hidden = True  # a whiteout, a file or a link covers what is below
                    break
                hidden = hidden or _opaque(place)
            else:
                found.append(place)
            if hidden:
                break
        for source in reversed(found):
            _merge(source, data)
        return bool(found)


def _opaque(path: str) -> bool:
    for name in ("trusted.overlay.opaque", "user.overlay.opaque"):
        try:
            if os.getxattr(path, name, follow_symlinks=False) == b"y":
                return True
        except OSError:
            continue
    return False


def _drop(path: str) -> None:
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        pass


def _merge(source: str, target: str) -> None:
    if _opaque(source):
        for name in os.listdir(target):
            _drop(f"{target}/{name}")
    for entry in os.scandir(source):
        there, told = f"{target}/{entry.name}", entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(told.st_mode):
            if os.path.islink(there) or not os.path.isdir(there):
                _drop(there)
                os.mkdir(there)
            _merge(entry.path, there)
            continue
        _drop(there)
        if stat.S_ISCHR(told.st_mode) and told.st_rdev == 0:
            continue
        if stat.S_ISREG(told.st_mode) or stat.S_ISLNK(told.st_mode):
            shutil.copy2(entry.path, there, follow_symlinks=False)
            os.chown(there, told.st_uid, told.st_gid, follow_symlinks=False)
            if stat.S_ISREG(told.st_mode):
                os.chmod(there, stat.S_IMODE(told.st_mode))
        elif not stat.S_ISSOCK(told.st_mode):
            os.mknod(there, told.st_mode, told.st_rdev)
            os.chown(there, told.st_uid, told.st_gid)
    told = os.stat(source)
    os.chown(target, told.st_uid, told.st_gid)
    os.chmod(target, stat.S_IMODE(told.st_mode))
