"""The wheel, alone in a virtual environment of its own and used from another folder, does what the source tree does.

What it needs from PyPI is taken from the environment that runs the tests: nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from ..kernel.conftest import Machine, host  # noqa: TID252
from ..kernel.service_tools import until  # noqa: TID252
from ..vm.guest import build_wheel  # noqa: TID252

__all__ = ["host"]  # the fixture

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "dask" / "compose.yaml"
ALWAYS = "services: {dask-worker: {restart: always}}\n"
CLIENT = """
import json, sys, distributed
with distributed.Client("tcp://127.0.0.1:8786", timeout=30) as client:
    client.wait_for_workers(int(sys.argv[1]), timeout=60)
    hosts = client.run(__import__("socket").gethostname)
    workers = client.scheduler_info(n_workers=-1)["workers"]
    print(json.dumps([[worker["host"], hosts[key], worker["memory_limit"]] for key, worker in workers.items()]))
"""


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    wheel = build_wheel(tmp_path / "source")
    into = [f"--python={folder}/bin/python", "install", "--no-deps", "--no-index", "--no-compile", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *into], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def test_the_wheel_has_its_types_and_its_licence(tmp_path: Path) -> None:
    with zipfile.ZipFile(build_wheel(tmp_path / "source")) as wheel:
        names = wheel.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        text = wheel.read(metadata).decode()
        assert {"Name: pycompose-engine", "License-Expression: MIT", "Typing :: Typed"} - set(
            line.removeprefix("Classifier: ") for line in text.splitlines()
        ) == set()
        (entries,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))
        assert "pytest_plugin" in wheel.read(entries).decode()
    assert "pycompose/py.typed" in names
    assert any(name.endswith("/LICENSE") for name in names)
    for path in (
        "man/man1/pycompose.1",
        "bash-completion/completions/pycompose",
        "zsh/site-functions/_pycompose",
        "fish/vendor_completions.d/pycompose.fish",
    ):
        assert any(name.endswith(f".data/data/share/{path}") for name in names), path


def test_the_wheel_runs_the_dask_example_from_another_folder(host: Machine, venv: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "always.yaml").write_text(ALWAYS)

    def typed(*command: str) -> str:
        return host.run("env", f"--chdir={elsewhere}", *command).stdout

    def pycompose(*arguments: str) -> str:
        return typed(str(venv / "bin" / "pycompose"), "-p", "dask-distributed", *arguments)

    def running() -> dict[str, int]:
        """Container -> the machine's number of its first process."""
        rows = [line.split() for line in pycompose("top").splitlines()[1:]]
        numbers: dict[str, list[int]] = {}
        for row in rows:
            numbers.setdefault(f"{row[0]}-{row[1]}", []).append(int(row[3]))
        return {name: min(pids) for name, pids in numbers.items()}

    def computes(workers: int) -> list[list[object]]:
        """Address, host name and memory limit of each worker, as the scheduler and the workers tell."""
        told = json.loads(typed(str(venv / "bin" / "python"), "-c", CLIENT, str(workers)))
        assert len(told) == workers
        return sorted(told)

    def registered() -> int:
        script = f"{venv}/bin/pycompose -p dask-distributed logs --index 1 dask-worker 2>&1"
        return typed("sh", "-c", script).count("Registered to")

    place = typed(str(venv / "bin" / "python"), "-c", "import pycompose; print(pycompose.__file__)")
    assert place.startswith(str(venv))
    try:
        pycompose("-f", str(EXAMPLE), "-f", "always.yaml", "up", "-d")
        pycompose("scale", "dask-worker=4")
        addresses, names, limits = map(set, zip(*computes(4), strict=True))
        assert (len(addresses), len(names), limits) == (4, 4, {1500 << 20})
        pycompose("scale", "dask-worker=2")
        left = running()
        assert set(left) == {"dask-scheduler-1", "dask-worker-1", "dask-worker-2"}
        os.kill(left["dask-worker-1"], signal.SIGKILL)
        until(lambda: registered() == 2)
        computes(2)
        assert running()["dask-worker-2"] == left["dask-worker-2"]
    finally:
        pycompose("down")
