"""A supervisor that cannot start: who waits for it hears why, nothing hangs, and the project goes on once it can."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pycompose.compose.control import protocol
from pycompose.compose.control.protocol import RequestFailed
from pycompose.runtime.keeper.supervisor_process import turned_away

from .conftest import Machine
from .test_recovery import peer

FILE = "services: {web: {image: host, command: [sleep, '1000'], stop_signal: SIGKILL}}\n"


class Install:
    """pycompose beside a folder of packages that may hold a trio that cannot be imported."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine, self.file = machine, folder / "compose.yaml"
        self.file.write_text(FILE)
        self.packages = folder / "packages"
        (self.packages / "pyroute2").mkdir(parents=True)  # found by the helpers, and empty: the real one is taken
        self.broken = self.packages / "trio.py"

    def break_it(self) -> None:
        self.broken.write_text("raise ImportError('no trio here')\n")

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "pycompose", "-p", "p", "-f", str(self.file), *arguments)
        return self.machine.run("env", f"PYTHONPATH={self.packages}", *command, check=False)


@pytest.fixture
def install(host: Machine, tmp_path: Path) -> Install:
    return Install(host, tmp_path)


def test_the_first_up_says_why_and_leaves_nothing(install: Install, host: Machine) -> None:
    install.break_it()
    done = install("up", "-d")
    assert done.returncode == 1
    assert "the supervisor cannot start: ImportError: no trio here" in done.stderr
    assert install("down").returncode == 0
    assert host.run("ls", host.run_folder).stdout == ""


def test_helpers_that_were_launched_for_a_file_that_is_wrong_are_gone(install: Install, host: Machine) -> None:
    install.file.write_text("name: p\nservices: {web: {image: [host]}}\n")
    assert install("up", "-d").returncode == 1
    assert host.run("ls", host.run_folder).stdout == ""


def test_of_a_project_that_runs_a_command_is_refused_until_it_can_start(install: Install, host: Machine) -> None:
    assert install("up", "-d").returncode == 0
    install.break_it()
    os.kill(peer(host, "control.sock"), signal.SIGKILL)
    for command in ("stop", "down", "down"):
        done = install(command)
        assert done.returncode == 1
        assert "no trio here" in done.stderr
    assert len(install("ps", "-q").stdout.split()) == 1
    install.broken.unlink()
    done = install("down", "-t", "0")
    assert done.returncode == 0, done.stderr
    assert host.run("ls", host.run_folder).stdout == ""


def test_the_keepers_answer_is_one_of_the_control_protocol(tmp_path: Path) -> None:
    log = tmp_path / "supervisor.log"
    log.write_text("Traceback:\n  ...\nImportError: no trio here\n\n")
    answer = protocol.decode_answer(turned_away(str(log)))
    assert answer == RequestFailed("the supervisor cannot start: ImportError: no trio here", f"see {log}")
    assert isinstance(protocol.decode_answer(turned_away(f"{log}.none")), RequestFailed)
