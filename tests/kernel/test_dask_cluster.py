"""`ComposeCluster` with a real scheduler, workers and clients, each in a container. Needs root and distributed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .conftest import Machine

pytest.importorskip("distributed", reason="needs distributed")
NEEDS = {"encrypted": ("cryptography",), "shuffles": ("pandas", "pyarrow")}  # beside what the tests are installed with
PROGRAMS = str(Path(__file__).with_name("dask_calls.py"))


@pytest.mark.parametrize("program", ["computes", "shuffles", "lives", "adapts", "of_a_file", "encrypted", "left_open"])
def test_a_program_with_a_cluster(host: Machine, tmp_path: Path, program: str) -> None:
    """It leaves nothing: the fixture looks."""
    for module in NEEDS.get(program, ()):
        pytest.importorskip(module, reason=f"needs {module}")
    done = host.run(
        sys.executable, "-W", "error::ResourceWarning", PROGRAMS, program, str(tmp_path), check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    listed = host.pycompose("ls", "--all", "--quiet").stdout
    assert listed == ""


def test_what_cannot_be_had_is_told_and_nothing_stays(host: Machine, tmp_path: Path) -> None:
    done = host.run(sys.executable, PROGRAMS, "fails", str(tmp_path), timeout=900)
    assert "a worker has ended at once" in done.stdout
    assert "No module named no_such_module" in done.stdout
    assert host.pycompose("ls", "--all", "--quiet").stdout == ""
