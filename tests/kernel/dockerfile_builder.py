"""Builds the cases of the table of Dockerfiles, in one process: JSON in on stdin, what came of each on stdout."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
import tarfile
from pathlib import Path
from typing import Any

from pycompose.compose.builds import service_builds
from pycompose.compose.builds.options import BuildOptions
from pycompose.errors import PycomposeError
from pycompose.runtime.images.dockerfile.request import Happened
from pycompose.runtime.images.store import Image, Store
from pycompose.runtime.places import Places

CONTEXT = {
    "a": "a",
    "a b": "ab",
    "d/b": "b",
    "d/e/c": "c",
    "m.md": "m",
    "n.txt": "n",
    "o.txt": "o",
    "run.sh": "#!",
}


def laid_out(folder: Path, case: dict[str, Any]) -> None:
    for name, text in (CONTEXT | case.get("context", {}) | {"Dockerfile": case["dockerfile"]}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, newline="")
        path.chmod(0o755 if name.endswith(".sh") else 0o644)
    with tarfile.open(folder / "tar.tgz", "w:gz") as tar:
        entry = tarfile.TarInfo("in")
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))


def files(image: Image) -> dict[str, str]:
    """Path -> kind and mode, owner, content, as the layers make it together; big files without their content."""
    seen: dict[str, str] = {}
    for layer in reversed(image.layers):
        for path in sorted(Path(layer).rglob("*")):
            status, name = path.lstat(), str(path.relative_to(layer))
            if stat.S_ISCHR(status.st_mode):
                seen = {
                    other: what for other, what in seen.items() if other != name and not other.startswith(f"{name}/")
                }
                continue
            kind = "d" if path.is_dir() else "l" if path.is_symlink() else "f"
            text = path.read_text(errors="replace") if kind == "f" and status.st_size < 1000 else ""
            seen[name] = f"{kind}{stat.S_IMODE(status.st_mode):o} {status.st_uid}:{status.st_gid} {text}"
    return seen


def outcome(folder: Path, case: dict[str, Any], store: Store) -> dict[str, Any]:
    warnings: list[str] = []

    def tell(_: str, happened: Happened) -> None:
        if happened.kind == "warning":
            warnings.append(happened.text)

    options = BuildOptions(context=str(folder), dockerfile="Dockerfile", args=case.get("arguments", {}))
    try:
        target = service_builds.Target("", (), options, {})
        images = service_builds.build([target], service_builds.Overrides({}), tell)
    except PycomposeError as error:
        return {"error": f"{error} {error.hint}"}
    image = images[""]
    return {
        "error": "",
        "files": files(image),
        "image": json.loads(store.config_of(image.digest)),
        "warnings": "\n".join(warnings),
    }


def main() -> None:
    store, outcomes = Store(Places.default()), []
    for number, case in enumerate(json.load(sys.stdin)):
        folder = Path(sys.argv[1], str(number))
        folder.mkdir()
        laid_out(folder, case)
        outcomes.append(outcome(folder, case, store))
    json.dump(outcomes, os.fdopen(os.dup(1), "w"))


main()
