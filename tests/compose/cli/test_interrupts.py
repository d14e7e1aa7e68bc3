"""A signal that asks a command to end is a KeyboardInterrupt, within trio too, and tells the exit code."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, threading, trio
from pycompose.compose.cli.interrupts import hear_signals, interrupted_code
signal.signal(signal.SIGINT, signal.SIG_IGN)
hear_signals()
async def main():
    trio.lowlevel.spawn_system_task(send)
    await trio.sleep(30)
async def send():
    os.kill(os.getpid(), int(sys.argv[1]))
try:
    trio.run(main)
except KeyboardInterrupt:
    sys.exit(interrupted_code())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_what_is_under_way_and_is_the_exit_code(number: signal.Signals) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(int(number))], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (128 + number, "")
