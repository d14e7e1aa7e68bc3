"""A supervisor with faults: `supervisor.py FOLDER PROJECT FD`; see `injection`."""

from __future__ import annotations

import runpy
import sys

from injection import Injection, keeper_boot  # type: ignore[import-not-found] # beside this program
from pycompose.runtime.keeper import launch

folder = sys.argv.pop(1)
launch.BOOT = keeper_boot(launch.BOOT, folder)
Injection(folder, "supervisor").begin()
runpy.run_module("pycompose.compose.supervisor", run_name="__main__", alter_sys=True)
