"""The dask example loads, and runs: up, scale, compute, down."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pycompose.compose.file.loader import Options, load

from ..kernel.conftest import Machine, host  # noqa: TID252
from .package_index import packages

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


def test_it_comes_up_from_the_dockerfile(host: Machine, tmp_path: Path) -> None:
    override = tmp_path / "override.yaml"
    built = "{build: {network: host}, stop_grace_period: 0s}"
    override.write_text(f"services: {{dask-scheduler: {built}, dask-worker: {built}}}\n")
    with packages(host, tmp_path / "wheels", "dask", "distributed") as index:
        environment = ("env", "BASE=host", "PACKAGES=dask distributed", f"PIP_INDEX_URL={index}")
        files = ("-f", str(EXAMPLE / "compose.yaml"), "-f", str(EXAMPLE / "compose.build.yaml"), "-f", str(override))
        pycompose = (*environment, sys.executable, "-m", "pycompose", *files)
        up = host.run(*pycompose, "up", "-d", "--scale", "dask-worker=4", check=False, timeout=180)
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        assert len(json.loads(host.python(CLIENT).stdout)) == 4
        where = host.run(*pycompose, "exec", "-T", "dask-worker", "python", "-c", "import dask; print(dask.__file__)")
        assert where.stdout.startswith("/opt/dask/")
    finally:
        host.run(*pycompose, "down")


def test_a_script_has_a_cluster_without_a_file(host: Machine) -> None:
    script = str(ROOT / "examples" / "dask-cluster" / "compute.py")
    done = host.run(sys.executable, script, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    first, *workers = done.stdout.splitlines()
    assert first.startswith("332,833,500 by ")
    assert len({line.split()[1] for line in workers}) == 4
    assert host.pycompose("ls", "--all", "--quiet").stdout == ""
