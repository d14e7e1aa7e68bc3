"""Places of copies: which folder one goes to and what it is called there, by docker's rules of slashes and `/.`. Pure.

Source: docker/cli, docs of `docker container cp`; moby's archive package has the same decisions.
"""

from __future__ import annotations

import os

from pycompose.frozen import dataclass

from .copy_errors import CopyFailed


@dataclass(frozen=True, slots=True)
class CopySource:
    """What is copied: its name, whether it is a folder, and whether only what is in it is meant (`folder/.`)."""

    name: str
    is_folder: bool
    contents: bool = False


@dataclass(frozen=True, slots=True)
class CopyTarget:
    """The path that is copied to, links resolved, and what is there."""

    path: str
    exists: bool
    is_folder: bool


def means_contents(path: str) -> bool:
    """`folder/.`: what is in it, not itself; the root has no name either."""
    return path in ("", ".") or path.endswith("/.") or not path.strip("/")


def asserts_folder(path: str) -> bool:
    return path.endswith(("/", "/.")) or path == "."


def base_name(path: str) -> str:
    return os.path.basename(os.path.normpath(path))


def placed(source: CopySource, target: CopyTarget) -> tuple[str, str]:
    """(folder that is written into, name there; empty: what is in the source lies in the folder). Raises CopyFailed."""
    if target.exists and target.is_folder:
        return target.path, "" if source.contents else source.name
    if target.exists and (asserts_folder(target.path) or source.is_folder):
        raise CopyFailed("cannot copy directory" if source.is_folder else f"{target.path}: not a directory")
    if not target.exists and not source.is_folder and asserts_folder(target.path):
        raise CopyFailed(f"no such directory: {target.path}", hint="make it first, or leave the slash out")
    path = os.path.normpath(target.path)
    return os.path.dirname(path) or "/", os.path.basename(path)
