"""Python's tools that call docker compose, given pycompose instead: pytest-docker, testcontainers. Needs root."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .conftest import Machine

pytest.importorskip("pytest_docker", reason="needs pytest-docker")
pytest.importorskip("testcontainers.compose", reason="needs testcontainers")

FILE = """
services:
  web:
    image: host
    command: python3 -m http.server 80
    working_dir: /srv
    ports: [80]
    stop_signal: SIGKILL
    healthcheck: {test: 'curl -s localhost', interval: 0.2s, retries: 50}
  logger: {image: host, command: [sh, -c, "echo out; echo err >&2; exec sleep 1000"], stop_signal: SIGKILL}
"""
WITH_PYTEST_DOCKER = """
import urllib.request
import pytest

@pytest.fixture(scope="session")
def docker_compose_command():
    return "pycompose"

@pytest.fixture(scope="session")
def docker_compose_file():
    return FILE

def answers(url):
    try:
        return urllib.request.urlopen(url, timeout=1).status == 200
    except OSError:
        return False

def test_it(docker_ip, docker_services):
    url = f"http://{docker_ip}:{docker_services.port_for('web', 80)}/"
    docker_services.wait_until_responsive(timeout=20.0, pause=0.1, check=lambda: answers(url))
"""
WITH_TESTCONTAINERS = """
import sys, urllib.request
from testcontainers.compose import DockerCompose

with DockerCompose(sys.argv[1], docker_command_path="pycompose", wait=True) as compose:
    host, port = compose.get_service_host_and_port("web", 80)
    assert urllib.request.urlopen(f"http://localhost:{port}/").status == 200
    assert compose.exec_in_container(["sh", "-c", "echo inside; exit 0"], "web")[0] == "inside\\n"
    out, err = compose.get_logs("logger")
    assert "out" in out and "err" in out + err, (out, err)
    assert {container.Service for container in compose.get_containers()} == {"web", "logger"}
    assert compose.get_container("web").State == "running"
    assert compose.get_container("web").Health == "healthy"
    assert compose.get_config()["services"]["web"]["image"] == "host"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    where = tmp_path / "project"
    where.mkdir()
    (where / "compose.yaml").write_text(FILE)
    return where


def in_python(host: Machine, *arguments: str) -> None:
    """As whoever has the virtual environment's programs on the path."""
    path = f"PATH={Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    host.run("env", path, sys.executable, *arguments)


def test_pytest_docker_takes_it_for_docker_compose(host: Machine, folder: Path) -> None:
    test = folder / "test_web.py"
    test.write_text(WITH_PYTEST_DOCKER.replace("FILE", repr(str(folder / "compose.yaml"))))
    in_python(host, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(test))
    assert host.pycompose("ls", "-aq").stdout == ""


def test_testcontainers_takes_it_for_docker_compose(host: Machine, folder: Path) -> None:
    script = folder / "script.py"
    script.write_text(WITH_TESTCONTAINERS)
    in_python(host, str(script), str(folder))
    assert host.pycompose("ls", "-aq").stdout == ""
