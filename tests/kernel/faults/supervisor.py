"""A supervisor with faults: `supervisor.py FOLDER PROJECT FD`; see `injection`."""

from __future__ import annotations

import runpy
import sys

from injection import Injection  # type: ignore[import-not-found] # beside this program

Injection(sys.argv.pop(1), "supervisor").begin()
runpy.run_module("pycompose.compose.supervisor", run_name="__main__", alter_sys=True)
