"""From what a service mounts to what the runtime mounts: volumes, binds, tmpfs, configs, secrets, other containers'.

Volumes are found or made, and filled at their first use; configs and secrets become files in the container's folder,
which nobody else may enter. Rules: no trio.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace

from pycompose.compose.model import own_keys
from pycompose.compose.model.observed import Label
from pycompose.compose.model.project import (
    BindMount,
    FileReference,
    FileSource,
    ImageMount,
    Project,
    Service,
    TmpfsMount,
    VolumeMount,
)
from pycompose.compose.plan.divergence import clean_target
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass
from pycompose.runtime.files import union
from pycompose.runtime.files.descent import make_beneath, open_beneath, open_entry
from pycompose.runtime.images.store import Image, Store
from pycompose.runtime.spec import Bundle, from_json
from pycompose.runtime.spec import Mount as Made
from pycompose.runtime.state import usage
from pycompose.runtime.state.volumes import Volumes

FILES = "files"  # folder of configs and secrets, in the container's
LARGEST = 64 << 20  # bytes of one of them: a container that has its file may make it any size
FOLLOW_LINKS = "follow_links"  # of x-pycompose: links in the project's folder may lead out of it
_ASK = f"if it is meant to, say so in the service or at the top of the file: {own_keys.KEY}: {{{FOLLOW_LINKS}: true}}"


@dataclass(frozen=True, slots=True)
class Mounted:
    mounts: tuple[Made, ...]  # parents first
    volumes: Mapping[str, str]  # target -> name, anonymous ones too
    anonymous: tuple[str, ...]  # those that are the container's own
    used: tuple[str, ...]  # every volume's name, of volumes_from too
    donors: tuple[str, ...]  # ids of the containers of volumes_from
    images: Mapping[str, str]  # target -> digest of the image that is mounted there


class MountError(PycomposeError):
    """Something that a service mounts is not there, or cannot be mounted."""


class FileGone(MountError):
    """The file of a config or secret is not there."""


def mounted(
    project: Project,
    service: Service,
    image: Image,
    folder: str,
    volumes: Volumes,
    store: Store,
    *,
    before: Mapping[str, str],
    fresh: list[str],
    container: Callable[[str, str], str],
) -> Mounted:
    """What a container of `service` in `folder` mounts.

    `before`: target -> volume of the container that it takes the place of. Anonymous volumes that are made are added to
    `fresh`, whatever happens: who fails removes them. `container(way, name)` is the folder of the
    first container of a service, or of the container of that name. Raises MountError and the runtime's errors.
    """
    mounts: dict[str, Made] = {}
    names: dict[str, str] = {}
    anonymous: list[str] = []
    inherited: list[str] = []
    wanted = list(service.mounts)
    taken = {mount.target for mount in wanted}
    wanted += [VolumeMount(None, path) for path in sorted(image.volumes) if clean_target(path) not in taken]
    donors: list[str] = []
    for one in service.volumes_from:
        folder_of_other, read_only = _other(one, container)
        donors.append(os.path.basename(folder_of_other))
        other_mounts, theirs = _from_other(folder_of_other, read_only)
        mounts.update({mount.destination: mount for mount in other_mounts})
        inherited += theirs
    for mount in wanted:
        if isinstance(mount, VolumeMount) and mount.source is None:
            target = clean_target(mount.target)
            if target in mounts and mount not in service.mounts:
                continue  # volumes_from has something at the place of an image's volume
            name = before.get(target) or secrets.token_hex(32)
            if not volumes.exists(name):
                volumes.create(name, {**mount.labels, Label.PROJECT: project.name, Label.ANONYMOUS: ""})
                fresh.append(name)
            anonymous.append(name)
            names[target] = name
        elif isinstance(mount, VolumeMount):
            names[clean_target(mount.target)] = project.volumes[mount.source or ""].name
        mounts[clean_target(mount.target)] = _mount(project, service, mount, names, image, volumes, store)
    for made_file in _files(project, service, folder):
        mounts[made_file.destination] = made_file
    ordered = tuple(mounts[target] for target in sorted(mounts, key=lambda t: (t.count("/"), t)))
    used = tuple(dict.fromkeys((*names.values(), *inherited)))
    images = {clean_target(m.target): store.digest(m.source) for m in wanted if isinstance(m, ImageMount)}
    return Mounted(ordered, names, tuple(anonymous), used, tuple(donors), images)


def _mount(
    project: Project,
    service: Service,
    mount: BindMount | VolumeMount | TmpfsMount | ImageMount,
    names: Mapping[str, str],
    image: Image,
    volumes: Volumes,
    store: Store,
) -> Made:
    target = clean_target(mount.target)
    match mount:
        case BindMount():
            return _bind(service, mount, target, enclosing(project, service, mount.source))
        case VolumeMount():
            bind = volumes.mount(
                names[target],
                target,
                layers=image.layers,
                read_only=mount.read_only,
                subpath=mount.subpath or "",
                copy=not mount.nocopy,
            )
            top = enclosing(project, service, bind.source) if bind.type == "bind" else ""
            return replace(bind, options=(*bind.options, f"x-beneath={top}")) if top else bind
        case TmpfsMount():
            return _tmpfs(mount, target)
        case ImageMount():
            return _image(service, mount, target, store)


def enclosing(project: Project, service: Service, path: str) -> str:
    """The project's folder, if `path` is in it: then no link on the way there may lead out of it, for a container that
    has a part of the folder mounted can put one there. "" for other paths, and where the file says `follow_links`.
    """
    folder = os.path.normpath(project.working_dir)
    if folder == "/" or not os.path.normpath(path).startswith(folder + "/"):
        return ""
    asked = [own_keys.read(kept, FOLLOW_LINKS) for kept in (project.kept, service.kept)]
    if any(one not in (None, True, False) for one in asked):
        raise MountError(f'service "{service.name}": {own_keys.KEY}: {FOLLOW_LINKS} must be true or false')
    return "" if (asked[0] if asked[1] is None else asked[1]) else folder


def _bind(service: Service, mount: BindMount, target: str, top: str) -> Made:
    what = f'service "{service.name}": bind source {mount.source}'
    try:
        _make_source(mount, what, top)
    except OSError as error:
        if error.errno == errno.EXDEV and top:
            raise MountError(f"{what}: {error.strerror}", hint=_ASK) from None
        raise MountError(f"{what} cannot be made: {error.strerror}") from error
    kind = "bind" if mount.recursive == "disabled" else "rbind"
    access = "rw"
    if mount.read_only:
        access = "ro" if mount.recursive in ("writable", "disabled") else "rro"
    more = (f"x-beneath={top}",) if top else ()
    return Made(target, "bind", mount.source, (kind, access, mount.propagation or "rprivate", *more))


def _make_source(mount: BindMount, what: str, top: str) -> None:
    """Have something at a bind's source. Raises MountError, OSError."""
    if top:
        with contextlib.suppress(FileNotFoundError):
            os.close(open_beneath(top, mount.source))
            return
    elif os.path.exists(mount.source):
        return
    if os.path.lexists(mount.source):
        raise MountError(f"{what} is a link to nothing")
    if not mount.create_host_path:
        raise MountError(f"{what} does not exist", hint="make it, or set bind.create_host_path")
    if top:
        make_beneath(top, mount.source)
    else:
        os.makedirs(mount.source, exist_ok=True)


def _tmpfs(mount: TmpfsMount, target: str) -> Made:
    options = [o for o in ("noexec", "nosuid", "nodev") if o.removeprefix("no") not in mount.options]
    options += [o for o in mount.options if o not in ("exec", "suid", "dev")]
    options += [f"size={mount.size}"] if mount.size else []
    options += [f"mode={mount.mode:o}"] if mount.mode is not None else []
    return Made(target, "tmpfs", "tmpfs", tuple(options))


def _image(service: Service, mount: ImageMount, target: str, store: Store) -> Made:
    image = store.resolve(mount.source)
    if image.is_host:
        raise MountError(f'service "{service.name}": the image host cannot be mounted', hint="use a bind")
    if len(image.layers) == 1:
        more = (f"x-subpath={mount.subpath}",) if mount.subpath else ()
        return Made(target, "bind", image.layers[0], ("rbind", "rro", "rprivate", *more))
    places = union.places(image.layers, mount.subpath) if mount.subpath else image.layers
    if not places:
        message = f'service "{service.name}": image {mount.source} has no folder or file "{mount.subpath}"'
        raise MountError(message, hint="a subpath leads to what is in the image")
    if len(places) == 1:
        return Made(target, "bind", places[0], ("rbind", "rro", "rprivate"))
    return Made(target, "overlay", "overlay", ("ro", *(f"lowerdir+={place}" for place in places)))


def _other(text: str, container: Callable[[str, str], str]) -> tuple[str, bool]:
    """Another container's folder, and whether its mounts are read-only; `text` is service[:ro], container:name[:ro]."""
    parts = text.split(":")
    way, parts = ("container", parts[1:]) if parts[0] == "container" else ("service", parts)
    return container(way, parts[0]), parts[1:] == ["ro"]


def _from_other(folder: str, read_only: bool) -> tuple[list[Made], tuple[str, ...]]:
    """What the container in `folder` mounts from outside, and the volumes that it uses."""
    with open(f"{folder}/bundle.json", encoding="utf-8") as file:
        mounts = from_json(Bundle, file.read()).spec.mounts
    outside = []
    for mount in mounts:
        if mount.type == "bind" and not mount.source.startswith(os.path.dirname(folder) + "/"):  # not its /etc files
            options = tuple("rro" if o == "rw" and read_only else o for o in mount.options)
            outside.append(Made(mount.destination, "bind", mount.source, options))
    return outside, usage.read(folder).volumes


# configs and secrets


def _files(project: Project, service: Service, folder: str) -> list[Made]:
    mounts = []
    for number, (kind, use, source) in enumerate(_references(project, service)):
        top = enclosing(project, service, source.file) if source.file else ""
        if source.file and os.path.isdir(source.file):
            more = (f"x-beneath={top}",) if top else ()
            mounts.append(Made(clean_target(use.target), "bind", source.file, ("rbind", "rro", "rprivate", *more)))
            continue
        path = f"{folder}/{FILES}/{number}"
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        _write(path, _content(project, service, kind, source), use)
        mounts.append(Made(clean_target(use.target), "bind", path, ("rbind", "ro", "rprivate")))
    return mounts


def refresh(project: Project, service: Service, folder: str) -> list[str]:
    """Write configs and secrets anew before a start: their files may have changed. What is gone stays as it was given,
    and is told. Raises MountError."""
    notes = []
    for number, (kind, use, source) in enumerate(_references(project, service)):
        path = f"{folder}/{FILES}/{number}"
        if not os.path.exists(path):
            continue
        try:
            content = _content(project, service, kind, source)
        except FileGone:
            notes.append(f'{kind} "{source.key}" stays as it was given: {source.file} is gone')
        else:
            _write(path, content, use)
    return notes


def _references(project: Project, service: Service) -> list[tuple[str, FileReference, FileSource]]:
    return [("config", use, project.configs[use.source]) for use in service.configs] + [
        ("secret", use, project.secrets[use.source]) for use in service.secrets
    ]


def _content(project: Project, service: Service, kind: str, source: FileSource) -> bytes:
    what = f'service "{service.name}": {kind} "{source.key}"'
    if source.content is not None:
        return source.content.encode("utf-8", "surrogateescape")
    if not source.file:
        raise MountError(f"{what} is external: there is no store of {kind}s here", hint="give it a file or content")
    top = enclosing(project, service, source.file)
    try:
        entry = open_beneath(top, source.file) if top else os.open(source.file, os.O_PATH | os.O_CLOEXEC)
        try:
            with open(open_entry(entry), "rb") as file:
                content = file.read(LARGEST + 1)
        finally:
            os.close(entry)
    except OSError as error:
        hint = _ASK if error.errno == errno.EXDEV and top else ""
        kind_of_error = FileGone if isinstance(error, FileNotFoundError) else MountError
        raise kind_of_error(f"{what}: {source.file}: {error.strerror}", hint=hint) from error
    if len(content) > LARGEST:
        raise MountError(f"{what}: {source.file}: it is larger than {LARGEST >> 20} MiB", hint="mount it as a volume")
    return content


def _write(path: str, data: bytes, use: FileReference) -> None:
    with open(path, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(data)
        os.fchown(file.fileno(), _number(use.uid), _number(use.gid))
        os.fchmod(file.fileno(), 0o444 if use.mode is None else use.mode)


def _number(text: str | None) -> int:
    if text is None:
        return 0
    if not text.isdecimal() or int(text) >= 1 << 31:
        raise MountError(f'"{text}" is no number of a user or group', hint="configs and secrets take numbers")
    return int(text)
