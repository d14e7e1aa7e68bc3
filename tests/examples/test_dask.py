"""The dask example loads, and runs: up, scale, compute, down."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pycompose.compose.file.loader import Options, load

from ..kernel.conftest import Machine, host  # noqa: TID252

__all__ = ["host"]  # the fixture

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "dask"
CLIENT = """
import json, distributed
with distributed.Client("tcp://127.0.0.1:8786", timeout=30) as client:
    client.wait_for_workers(4, timeout=60)
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    print(json.dumps([[worker["host"], worker["memory_limit"]] for worker in workers]))
"""


def test_the_file_says_scheduler_workers_and_a_notebook_that_is_not_started() -> None:
    project = load(Options(files=(str(EXAMPLE / "compose.yaml"),), environ={})).project
    assert project.name == "dask-distributed"
    assert set(project.services) == {"dask-scheduler", "dask-worker"}
    assert {service.image for service in project.services.values()} == {"host"}


def test_an_official_image_takes_the_place_of_the_host() -> None:
    environ = {"DASK_IMAGE": "ghcr.io/dask/dask:latest"}
    project = load(Options(files=(str(EXAMPLE / "compose.yaml"),), environ=environ)).project
    assert {service.image for service in project.services.values()} == {"ghcr.io/dask/dask:latest"}


def test_the_image_can_be_built_from_the_dockerfile_beside_it() -> None:
    files = (str(EXAMPLE / "compose.yaml"), str(EXAMPLE / "compose.build.yaml"))
    project = load(Options(files=files, environ={"BASE": "host"})).project
    assert {service.image for service in project.services.values()} == {"me/dask"}
    for service in project.services.values():
        assert service.build is not None
        assert service.build.args["BASE"] == "host"


def test_four_workers_with_addresses_of_their_own_compute_and_are_gone(host: Machine) -> None:
    project = ("-p", "dask-distributed")
    with_python = (sys.executable, "-m", "pycompose", *project)
    up = host.run(*with_python, "-f", str(EXAMPLE / "compose.yaml"), "up", "-d", check=False)
    try:
        assert up.returncode == 0, up.stderr
        host.run(*with_python, "scale", "dask-worker=4")
        workers = json.loads(host.python(CLIENT).stdout)
        assert len({address for address, _ in workers}) == 4
        assert {limit for _, limit in workers} == {1500 * 1024 * 1024}
    finally:
        host.run(*with_python, "down")
