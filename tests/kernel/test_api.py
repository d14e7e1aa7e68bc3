"""The Python API on real containers: what a user's program does with a project."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .conftest import Machine

PROGRAMS = Path(__file__).parent


@pytest.mark.parametrize("program", ["api_calls.py", "entering_calls.py", "aio_calls.py"])
def test_a_program_does_what_its_author_means(host: Machine, tmp_path: Path, program: str) -> None:
    path = str(PROGRAMS / program)
    done = host.run(sys.executable, "-X", "dev", "-W", "error", path, str(tmp_path / "c.yaml"), timeout=120)
    assert done.stdout + done.stderr == ""
