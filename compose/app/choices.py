"""The options before a command: which project it is about, and how it is acted on."""

from __future__ import annotations

from collections.abc import Callable

from pycompose.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user said before the command's name."""

    files: tuple[str, ...] = ()
    project_name: str | None = None
    project_directory: str | None = None
    env_files: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    compatibility: bool = False  # names are as of Compose 1
    all_resources: bool = False  # of `config`: also those that no service uses
    dry_run: bool = False
    parallel: int | None = None  # None: no limit
    approve: Callable[[str], bool] | None = None  # asked before files are fetched that a file names; None: they are not


TEXTS = ("files", "project_name", "project_directory", "env_files", "profiles")  # of Choices: which project it is
