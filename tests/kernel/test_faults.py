"""SIGKILL to the command, the supervisor or the keeper at every step of up, scale and down.

After each: a clear message or success, no traceback; the next `up` makes everything run; `down` leaves nothing.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from .conftest import Machine

VICTIMS = ["cli", "supervisor", "keeper"]
MOST = 60  # faults of one command
FILE = """
services:
  db:
    image: host
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    volumes: ["data:/data"]
  web:
    image: host
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    ports: ["8080:80"]
    depends_on: [db]
volumes: {data: {}}
"""


@pytest.fixture
def faulty(host: Machine, tmp_path: Path) -> Machine:
    (tmp_path / "compose.yaml").write_text(FILE)
    (tmp_path / "faults").mkdir()
    path = f"{Path(__file__).parent / 'faults'}:{host.environment.get('PYTHONPATH', '')}"
    return replace(host, environment={**host.environment, "PYTHONPATH": path, "FAULT_FOLDER": str(tmp_path / "faults")})


def faults(machine: Machine, tmp_path: Path, victim: str, *command: str) -> Iterator[subprocess.CompletedProcess[str]]:
    """Run the command with a fault at its first step, its second, … until none of its steps is left."""
    folder = tmp_path / "faults"
    for number in range(1, MOST):
        (folder / "plan").write_text(f"{victim} {number}")
        done = machine.pycompose("-p", "p", "-f", str(tmp_path / "compose.yaml"), *command, check=False)
        fired = not (folder / "plan").exists()
        (folder / "plan").unlink(missing_ok=True)
        if not fired:
            assert done.returncode == 0, done.stderr
            return
        where = (folder / "where").read_text().splitlines()[-1]
        assert "Traceback" not in done.stderr, f"{where}\n{done.stderr}"
        if done.returncode:
            assert done.stderr.strip() or victim == "cli", where
        yield done
    raise AssertionError(f"{command} does not come to an end")


def logs(machine: Machine) -> str:
    """What the helpers of project p said."""
    folder = Path(f"/proc/{machine.pid}/root{machine.run_folder}/p")
    return "".join(f"--- {path.name}\n{path.read_text()}" for path in sorted(folder.glob("*.log")))


def settled(machine: Machine, tmp_path: Path, *command: str) -> str:
    done = machine.pycompose("-p", "p", "-f", str(tmp_path / "compose.yaml"), *command, check=False)
    where = (tmp_path / "faults" / "where").read_text().splitlines()[-1:]
    assert done.returncode == 0, f"after {where}: {command}\n{done.stderr}\n{logs(machine)}"
    return done.stdout


def running(machine: Machine, tmp_path: Path) -> list[str]:
    lines = settled(machine, tmp_path, "ps", "--format", "json").splitlines()
    return sorted(item["Name"] for item in map(json.loads, lines) if item["State"] == "running")


@pytest.mark.parametrize("victim", VICTIMS)
def test_up_survives_a_kill_at_every_step(faulty: Machine, tmp_path: Path, victim: str) -> None:
    for _ in faults(faulty, tmp_path, victim, "up", "-d"):
        settled(faulty, tmp_path, "up", "-d")
        assert running(faulty, tmp_path) == ["p-db-1", "p-web-1"]
        settled(faulty, tmp_path, "down", "-v", "-t", "0")
    settled(faulty, tmp_path, "down", "-v", "-t", "0")


@pytest.mark.parametrize("victim", VICTIMS)
def test_scale_survives_a_kill_at_every_step(faulty: Machine, tmp_path: Path, victim: str) -> None:
    settled_up = faulty.pycompose("-p", "p", "-f", str(tmp_path / "compose.yaml"), "up", "-d")
    assert settled_up.returncode == 0
    for _ in faults(faulty, tmp_path, victim, "scale", "web=3"):
        settled(faulty, tmp_path, "scale", "web=3")
        assert running(faulty, tmp_path) == ["p-db-1", "p-web-1", "p-web-2", "p-web-3"]
        settled(faulty, tmp_path, "scale", "web=1")
        assert running(faulty, tmp_path) == ["p-db-1", "p-web-1"]
    settled(faulty, tmp_path, "down", "-v", "-t", "0")


@pytest.mark.parametrize("victim", VICTIMS)
def test_down_survives_a_kill_at_every_step(faulty: Machine, tmp_path: Path, victim: str) -> None:
    faulty.pycompose("-p", "p", "-f", str(tmp_path / "compose.yaml"), "up", "-d")
    for _ in faults(faulty, tmp_path, victim, "down", "-v", "-t", "0"):
        settled(faulty, tmp_path, "down", "-v", "-t", "0")
        faulty.pycompose("-p", "p", "-f", str(tmp_path / "compose.yaml"), "up", "-d")
