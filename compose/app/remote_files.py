"""Compose files from elsewhere, artifacts of registries (`oci://…`) and git repositories, in the state folder.

Rules: what the user names is fetched; what a file names only with leave, for it may do anything that a compose file
can. Nothing of it lies outside a fresh folder of its own, which is renamed to its place once it is whole: names in
artifacts are plain, digests are verified, sizes bounded, and no link leads to a compose file elsewhere. Commands on
containers that exist use what was fetched last, and ask nobody.
Source: docker compose, remote resources.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pycompose import durable
from pycompose.errors import PycomposeError, SystemRefused
from pycompose.runtime.files.remove import discard
from pycompose.runtime.places import Places

from .compose_artifact import ARTIFACT, ENV_FILE, FILE, NOTE, OLD_CONFIG
from .nearby_files import FILES

if TYPE_CHECKING:
    from pycompose.runtime.images.registry.artifact import ArtifactPart

Approve = Callable[[str], bool]
OCI = "oci://"
PLAIN = re.compile(r"[A-Za-z0-9._-]{1,200}")
COMPOSE_FILE = "compose.yaml"
LARGEST_REPOSITORY = 1 << 30  # bytes of its files, and of what git keeps beside them
QUESTION = (
    "\nWarning: This Compose project includes files from remote sources:\n  - {}\n\n"
    "Remote includes could potentially be malicious. Make sure you trust the source.\n"
    "Do you want to continue?"
)


class RemoteFiles:
    """The files that one run of the loader asks for: name -> path here. Raises PycomposeError.

    `approve` is asked about those that a file names; without it the answer is no.
    """

    def __init__(self, approve: Approve | None, *, existing: bool) -> None:
        self._approve, self._existing = approve, existing

    def __call__(self, name: str, named_by_file: bool) -> str:
        if name in _fetched:
            return _fetched[name]
        record = f"{_folder()}/names/{hashlib.sha256(name.encode()).hexdigest()}"
        try:
            path = _recorded(record) if self._existing else ""
            if path:
                durable.touch(record)
            else:
                if named_by_file:
                    self._ask(name)
                path = _artifact(name) if name.startswith(OCI) else _repository(name)
                os.makedirs(os.path.dirname(record), mode=0o700, exist_ok=True)
                durable.write(record, path.encode())
        except OSError as error:
            raise SystemRefused(error) from error
        if not self._existing:
            _fetched[name] = path
        return path

    def _ask(self, name: str) -> None:
        from pycompose.compose.file.paths import shown

        if self._approve is None or not self._approve(QUESTION.format(shown(name))):
            hint = "-y of `up`, `create` and `run` says yes, as does PYCOMPOSE_REMOTE=1"
            raise PycomposeError(f'"{shown(name)}" is not fetched: operation cancelled by user', hint=hint)


_fetched: dict[str, str] = {}  # of this process: a file is the same however often it is loaded


def _folder() -> str:
    places = Places.default()
    places.claim()
    return f"{places.state}/remote"


def _recorded(record: str) -> str:
    try:
        with open(record, encoding="utf-8") as file:
            path = file.read()
    except FileNotFoundError:
        return ""
    return path if os.path.isfile(path) else ""


# Artifacts


def _artifact(name: str) -> str:
    from pycompose.runtime.images.reference import parse
    from pycompose.runtime.images.registry import artifact

    from .images import run_tasks

    reference = parse(name.removeprefix(OCI))
    pulled = run_tasks(artifact.pull, str(reference), artifact.ArtifactKind(ARTIFACT, OLD_CONFIG))
    # The folder that the file lies in names the project: that of the repository.
    place = f"{_folder()}/{pulled.digest.removeprefix('sha256:')}/{reference.repository.rpartition('/')[2]}"
    if not os.path.isdir(place):
        with _fresh() as folder:
            _write(folder, pulled.parts, name)
            _take_place(folder, place)
    return f"{place}/{COMPOSE_FILE}"


def _write(folder: str, parts: Iterable[ArtifactPart], name: str) -> None:
    documents, others = [], dict[str, bytes]()
    for part in parts:
        notes = part.annotations
        match part.media_type:
            case kind if kind == FILE and f"{NOTE}extends" not in notes:
                documents.append(part.data)
                continue
            case kind if kind == FILE:
                named = notes.get(f"{NOTE}file", "")
            case kind if kind == ENV_FILE:
                named = notes.get(f"{NOTE}envfile", "")
            case _:
                continue
        if not PLAIN.fullmatch(named) or named in (".", "..", COMPOSE_FILE) or named in others:
            raise PycomposeError(f"{name} has a file whose name is not plain: {named[:100]!r}", hint="do not trust it")
        others[named] = part.data
    if not documents:
        raise PycomposeError(f"{name} has no compose file in it")
    others[COMPOSE_FILE] = b"\n---\n".join(documents)
    for plain, data in others.items():
        durable.write(f"{folder}/{plain}", data)


# Repositories


def _repository(name: str) -> str:
    from pycompose.compose.file.paths import shown
    from pycompose.runtime.images.dockerfile import fetched

    url, _, fragment = name.partition("#")
    ref, _, inner = fragment.partition(":")
    repository = re.sub(r"[^A-Za-z0-9_-]", "", url.rstrip("/").removesuffix(".git").rpartition("/")[2]) or "repository"
    with _fresh() as work:
        checkout = fetched.git(f"{url}#{ref}" if ref else url, work, largest=LARGEST_REPOSITORY)
        place = f"{_folder()}/{checkout.commit}/{repository}"
        if not os.path.isdir(place):
            _take_place(checkout.folder, place)
    top = os.path.realpath(place)
    path = os.path.realpath(os.path.join(top, inner.lstrip("/")))
    if os.path.isdir(path):
        path = next((real for file in FILES if os.path.isfile(real := os.path.realpath(f"{path}/{file}"))), path)
    if os.path.commonpath((top, path)) != top:
        raise PycomposeError(f"{shown(name)}: its compose file is not in the repository", hint="do not trust it")
    if not os.path.isfile(path):
        raise PycomposeError(f"{shown(name)}: there is no compose file in it", hint="name its folder: URL#REF:FOLDER")
    return path


@contextmanager
def _fresh() -> Iterator[str]:
    """A folder beside those that are whole, gone afterwards unless it took its place."""
    os.makedirs(_folder(), mode=0o700, exist_ok=True)
    folder = tempfile.mkdtemp(prefix=durable.TEMPORARY, dir=_folder())
    try:
        yield folder
    finally:
        if os.path.lexists(folder):
            discard(folder)


def _take_place(folder: str, place: str) -> None:
    """Rename a whole folder; where another process was faster, its own counts."""
    os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
    try:
        os.rename(folder, place)
    except OSError:
        if not os.path.isdir(place):
            raise
