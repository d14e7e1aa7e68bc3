"""An index of packages inside a test machine, where nothing outside can be reached: what examples install with pip."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..kernel.conftest import Machine  # noqa: TID252

PORT = 8642


@contextmanager
def packages(host: Machine, wheels: Path, *wanted: str) -> Iterator[str]:
    """The index's URL, while it serves what pip takes for `wanted`. Skips the test where no index can be reached."""
    found = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "-d", wheels, *wanted], capture_output=True, text=True
    )
    if found.returncode:
        pytest.skip(f"no index of packages can be reached: {found.stderr.strip()[-200:]}")
    for wheel in wheels.iterdir():
        name = re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower()
        (wheels / "simple" / name).mkdir(parents=True, exist_ok=True)
        wheel.rename(wheels / "simple" / name / wheel.name)
    with subprocess.Popen(
        ["nsenter", f"--target={host.pid}", "--net", sys.executable, "-u", "-m", "http.server", str(PORT)],
        cwd=wheels,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C"},
    ) as server:
        assert server.stdout is not None
        server.stdout.readline()  # it serves
        try:
            yield f"http://127.0.0.1:{PORT}/simple"
        finally:
            server.kill()
