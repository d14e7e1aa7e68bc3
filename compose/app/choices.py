"""The options before a command: which project it is about, and how it is acted on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pycompose.frozen import dataclass

if TYPE_CHECKING:
    from pycompose.runtime.places import ProjectPlaces

    Launched = tuple[ProjectPlaces, Callable[[], bool]]


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
    environ: Mapping[str, str] | None = None  # None: the process's
    text: str | None = None  # of the file "-", instead of standard input
    recorded: bool = False  # the project is as its last `up` had it, whatever file lies here
    launched: Launched | None = None  # of whose helpers come up already, and what waits for them (`session.waking`)

    @property
    def environment(self) -> Mapping[str, str]:
        """The caller's variables."""
        return os.environ if self.environ is None else self.environ


TEXTS = ("files", "project_name", "project_directory", "env_files", "profiles")  # of Choices: which project it is
