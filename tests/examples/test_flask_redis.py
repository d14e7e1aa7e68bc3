"""The Flask example is built, comes up with a real Redis, counts, and is built again only where it changed."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pycompose.compose.file.loader import Options, load

from ..kernel.conftest import Machine, host  # noqa: TID252
from .package_index import packages

__all__ = ["host"]  # the fixture

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "flask-redis"
OVERRIDE = "services: {web: {build: {network: host}, stop_grace_period: 0s}, redis: {stop_grace_period: 0s}}\n"
VISIT = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000').read().decode())"


def test_the_file_builds_the_page_and_takes_redis_from_a_registry() -> None:
    project = load(Options(files=(str(EXAMPLE / "compose.yaml"),), environ={})).project
    assert project.services["web"].build is not None
    assert project.services["redis"].image == "redis:7-alpine"


@pytest.fixture
def index(host: Machine, tmp_path: Path) -> Iterator[str]:
    """The URL of an index of packages inside the machine, with what the page needs."""
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    with packages(host, tmp_path / "wheels", "-r", str(EXAMPLE / "requirements.txt")) as url:
        yield url


def test_it_counts_and_only_what_changed_is_built_again(host: Machine, index: str, tmp_path: Path) -> None:
    copy = tmp_path / "example"
    shutil.copytree(EXAMPLE, copy)
    (tmp_path / "override.yaml").write_text(OVERRIDE)
    environment = ("env", "BASE=host", "REDIS_IMAGE=host", f"PIP_INDEX_URL={index}")
    files = ("-f", str(copy / "compose.yaml"), "-f", str(tmp_path / "override.yaml"))
    pycompose = (*environment, sys.executable, "-m", "pycompose", *files)
    up = host.run(*pycompose, "up", "-d", "--wait", check=False, timeout=180)
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        assert host.python(VISIT).stdout.startswith("visit 1, told by ")
        assert host.python(VISIT).stdout.startswith("visit 2, told by ")
        before = host.run(*pycompose, "ps", "-q").stdout
        same = host.run(*pycompose, "up", "-d", "--wait", "--build")
        assert host.run(*pycompose, "ps", "-q").stdout == before, same.stderr
        (copy / "app.py").write_text((copy / "app.py").read_text().replace("visit ", "visitor "))
        said = host.run(*pycompose, "up", "-d", "--wait", "--build").stderr
        assert re.search(r"^(#\d+) \[.*RUN .*pip install(.|\n)*?^\1 CACHED", said, re.MULTILINE), said
        assert host.python(VISIT).stdout.startswith("visitor 3, told by ")
        assert not (Path(sys.prefix) / "lib" / "flask").exists()
    finally:
        host.run(*pycompose, "down", "-v")
