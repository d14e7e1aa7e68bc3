"""The Python API on real containers: what a user's program does with a project."""

from __future__ import annotations

import sys
from pathlib import Path

from .conftest import Machine

PROGRAMS = Path(__file__).parent


def test_a_program_lives_with_a_project(host: Machine, tmp_path: Path) -> None:
    program = str(PROGRAMS / "api_calls.py")
    done = host.run(sys.executable, "-X", "dev", "-W", "error", program, str(tmp_path / "c.yaml"), timeout=120)
    assert done.stdout + done.stderr == ""
