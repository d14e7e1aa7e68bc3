"""The command line with faults: `command.py FOLDER ARGUMENTS…`; see `injection`."""

from __future__ import annotations

import os
import sys

from injection import Injection, keeper_boot  # type: ignore[import-not-found] # beside this program
from pycompose.compose.control import session
from pycompose.runtime.keeper import launch
from pycompose.runtime.places import ProjectPlaces

folder = sys.argv.pop(1)


def supervisor(places: ProjectPlaces) -> tuple[str, ...]:
    return sys.executable, f"{os.path.dirname(__file__)}/supervisor.py", folder, places.project


with open(f"{folder}/cli", "w") as file:
    file.write(str(os.getpid()))
session._supervisor = supervisor
launch.BOOT = keeper_boot(launch.BOOT, folder)
Injection(folder, "cli").begin()
from pycompose.__main__ import main  # noqa: E402 - counted from here

main()
