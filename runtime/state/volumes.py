"""Named and anonymous volumes: `<volumes>/<name>/{volume.json,_data}`, of the one driver `local`.

A volume appears whole, by rename. At its first use it takes on what the image has at that place, once, whole or not at
all: `seeded` in volume.json says that it has been used. With the options of a bind (`type=none,o=bind,device=…`) or a
tmpfs it is only a name for that mount; other types are refused. Nothing is removed that a container uses.
Rules: synchronous, standard library only; names are checked before they are in a path.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field

from pycompose import durable, shortages
from pycompose.frozen import dataclass
from pycompose.runtime.errors import RuntimeFailure
from pycompose.runtime.files.descent import make_folder
from pycompose.runtime.files.remove import discard
from pycompose.runtime.files.union import copy_out
from pycompose.runtime.places import UNFINISHED, Places
from pycompose.runtime.spec import Mount

from . import usage

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")


class VolumeError(RuntimeFailure):
    """A volume that is not there, that is in use, or that cannot be made; `hint` says what to try."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    name: str
    path: str
    labels: Mapping[str, str] = field(default_factory=dict)
    driver: str = "local"
    options: Mapping[str, str] = field(default_factory=dict)
    seeded: bool = False


class Volumes:
    def __init__(self, places: Places) -> None:
        self._places, self._root = places, places.volumes

    def _folder(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise VolumeError(f"not a name of a volume: {name[:100]!r}")
        return f"{self._root}/{name}"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._places.claim()
        os.makedirs(self._root, mode=0o700, exist_ok=True)
        with open(os.open(f"{self._root}/.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def create(
        self,
        name: str,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
        driver: str = "local",
    ) -> VolumeRecord:
        """Make the volume; one that exists is left as it is. Raises VolumeError."""
        folder = self._folder(name)
        if driver != "local":
            raise VolumeError(f'volume driver "{driver}" is not supported', "only local is")
        check_options(options or {})
        with self._locked():
            if not os.path.isdir(folder):
                self._sweep()
                self._make(name, folder, labels or {}, options or {})
        return self.get(name)

    def _make(self, name: str, folder: str, labels: Mapping[str, str], options: Mapping[str, str]) -> None:
        import tempfile  # with `random` 3 ms, and most commands make no volume

        staging = tempfile.mkdtemp(prefix=".new-", dir=self._root)
        try:
            os.close(make_folder(f"{staging}/_data", 0o755))
            _record(staging, VolumeRecord(name, "", labels, "local", options))
            os.rename(staging, folder)
        except OSError:
            discard(staging)
            raise

    def sweep(self) -> None:
        """Remove what processes that died were making or removing. Raises OSError."""
        with suppress(FileNotFoundError):
            if any(entry.startswith(UNFINISHED) for entry in os.listdir(self._root)):
                with self._locked():
                    self._sweep()

    def _sweep(self) -> None:
        """The lock is held."""
        for entry in os.listdir(self._root):
            if entry.startswith(UNFINISHED):
                with suppress(OSError):
                    discard(f"{self._root}/{entry}")

    def get(self, name: str) -> VolumeRecord:
        """Raises VolumeError if there is none."""
        try:
            with open(f"{self._folder(name)}/volume.json", encoding="utf-8") as source:
                tree = json.load(source)
        except FileNotFoundError:
            raise VolumeError(f'there is no volume "{name}"', "pycompose volume ls lists them") from None
        except ValueError as error:
            raise VolumeError(f'the record of volume "{name}" cannot be read: {shortages.reason(error)}') from error
        return VolumeRecord(
            name,
            self.path(name),
            tree.get("labels") or {},
            tree.get("driver", "local"),
            tree.get("options") or {},
            bool(tree.get("seeded")),
        )

    def exists(self, name: str) -> bool:
        return os.path.isfile(f"{self._folder(name)}/volume.json")

    def path(self, name: str) -> str:
        return f"{self._folder(name)}/_data"

    def list(self) -> list[VolumeRecord]:
        """Those that there are. Raises OSError where this user may not look, which is not that there are none."""
        try:
            names = sorted(os.listdir(self._root))
        except FileNotFoundError:
            return []
        return [self.get(name) for name in names if _NAME.fullmatch(name) and self.exists(name)]

    def remove(self, name: str, *, despite: str = "") -> None:
        """Remove it, first from sight; nothing happens if there is none. Raises VolumeError while it is used.

        Containers of the project `despite` do not count: its caller has stopped them, and makes the volume again.
        """
        folder = self._folder(name)
        if not os.path.isdir(folder):
            return
        with self._locked():
            users = [
                f"{u.container} (project {u.project})"
                for u in usage.everyone(self._places)
                if name in u.uses.volumes and u.project != despite
            ]
            if users:
                raise VolumeError(f'volume "{name}" is used by {", ".join(users)}', "remove the containers first")
            gone = f"{self._root}/.gone-{os.urandom(8).hex()}"
            try:
                os.rename(folder, gone)
            except FileNotFoundError:
                return
        discard(gone)

    def mount(
        self,
        name: str,
        target: str,
        *,
        layers: Sequence[str] = (),
        read_only: bool = False,
        subpath: str = "",
        copy: bool = True,
    ) -> Mount:
        """The mount that puts the volume at `target` of a container; its first use, with `copy`, fills it from the
        image's `layers` (topmost first). Raises VolumeError.
        """
        volume = self.get(name)
        access = "rro" if read_only else "rw"
        kind, device = volume.options.get("type", ""), volume.options.get("device", "")
        flags = tuple(o for o in volume.options.get("o", "").split(",") if o)
        if kind == "tmpfs":
            if subpath:
                raise VolumeError(f'volume "{name}" is a tmpfs and has no subpath')
            return Mount(target, "tmpfs", "tmpfs", (*flags, "nosuid", "nodev", *(("ro",) if read_only else ())))
        if device:
            if not os.path.exists(device):
                raise VolumeError(f'volume "{name}": its device {device} does not exist', "make the folder first")
            access = "rro" if read_only or "ro" in flags else "rw"
            source = device
        else:
            self._use(volume, target, layers if copy and not subpath else ())
            source = volume.path
        options: tuple[str, ...] = ("rbind", access, "rprivate")
        if subpath:
            if subpath.startswith("/") or ".." in subpath.split("/"):
                raise VolumeError(f'subpath "{subpath}" of volume "{name}" leaves it')
            options = (*options, f"x-subpath={subpath}")
        return Mount(target, "bind", source, options)

    def _use(self, volume: VolumeRecord, target: str, layers: Sequence[str]) -> None:
        if volume.seeded:
            return
        folder = self._folder(volume.name)
        with self._locked():
            if self.get(volume.name).seeded:
                return
            if layers and not os.listdir(volume.path):
                self._seed(folder, layers, target)
            _record(folder, VolumeRecord(volume.name, "", volume.labels, volume.driver, volume.options, True))

    def _seed(self, folder: str, layers: Sequence[str], target: str) -> None:
        discard(f"{folder}/_seed")  # of a process that died
        os.mkdir(f"{folder}/_seed", 0o755)
        try:
            if copy_out(layers, target, f"{folder}/_seed"):
                os.sync()
                os.rename(f"{folder}/_seed", f"{folder}/_data")  # takes the place of an empty folder only
                return
        except OSError as error:
            if error.errno in shortages.FULL:
                raise VolumeError(f"the disk is full: {target} of the image does not fit into its volume") from error
            raise
        finally:
            discard(f"{folder}/_seed")


def check_options(options: Mapping[str, str]) -> None:
    """Which options of the local driver there are. Raises VolumeError."""
    if unknown := sorted(set(options) - {"type", "o", "device"}):
        raise VolumeError(f'volume option "{unknown[0]}" is not supported', "there are type, o and device")
    kind, flags = options.get("type", ""), options.get("o", "").split(",")
    if kind == "tmpfs":
        return
    if kind not in ("", "none", "bind"):
        raise VolumeError(f'volumes of type "{kind}" are not supported', "mount it on the host and use a bind")
    if options and not ({"bind", "rbind"} & set(flags)):
        raise VolumeError("a volume with a device needs o=bind", "type: none, o: bind, device: /a/folder")
    if options and not options.get("device", "").startswith("/"):
        raise VolumeError(f'the device "{options.get("device", "")}" of a volume is not an absolute path')


def _record(folder: str, volume: VolumeRecord) -> None:
    tree = {
        "name": volume.name,
        "labels": dict(volume.labels),
        "driver": volume.driver,
        "options": dict(volume.options),
        "seeded": volume.seeded,
    }
    durable.write(f"{folder}/volume.json", json.dumps(tree).encode())
