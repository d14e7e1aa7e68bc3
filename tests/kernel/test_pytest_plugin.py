"""The pytest plugin on real containers: suites that use it, two at once, and one that was written for pytest-docker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import SLOWER, Machine

PLUGIN = "pycompose.compose.integrations.pytest_plugin"
FILE = """
services:
  web:
    image: host
    init: true
    command: [PYTHON, -m, http.server, "8000", --directory, /srv]
    ports: ["8000"]
    stop_grace_period: 0s
  db:
    image: host
    init: true
    command: sh -c 'echo db is ready; exec sleep 3000'
    stop_grace_period: 0s
    volumes: [d:/d]
volumes: {d: }
""".replace("PYTHON", sys.executable)
SUITE = """
from urllib.request import urlopen
import pytest

names = []

def test_waits(compose):
    names.append(compose.name)
    compose.wait_for("web", tcp=8000)
    compose.wait_for("web", http=8000, healthy=True)
    compose.wait_for("db", log="is ready")
    assert urlopen(compose.url("web", 8000)).status == 200
    with pytest.raises(TimeoutError):
        compose.wait_for("web", tcp=1, timeout=0.1)
    with pytest.raises(TimeoutError):
        compose.wait_for("db", log="never", timeout=0.1)

def test_same_project(compose):
    assert compose.name == names[0]
    compose.exec("db", "echo dirt >/d/file; echo dirt >/file", check=True)

def test_reset(compose):
    assert compose.exec("db", "cat /d/file /file").returncode == 0
    compose.reset()
    assert compose.exec("db", "ls /d; cat /file").stdout == ""

def test_snapshot(compose):
    compose.exec("db", "echo kept >/d/kept", check=True)
    compose.snapshot()
    compose.exec("db", "rm /d/kept; touch /d/more", check=True)
    compose.reset()
    assert compose.exec("db", "ls /d; cat /d/kept").stdout == "kept\\nkept\\n"

def test_one_that_ends_is_told(compose):
    compose["db"].kill()
    compose["db"].wait(60)
    with pytest.raises(Exception, match="has ended"):
        compose.wait_for("db", tcp=1)

def test_of_a_function(compose_function, compose_module):
    assert len({compose_function.name, compose_module.name, names[0]}) == 3
"""
FAILING = """
def test_fails(compose):
    compose.wait_for("db", log="is ready")
    assert False
"""
DOCKER = """
import pytest
from urllib.request import urlopen

def is_responsive(url):
    try:
        return urlopen(url).status == 200
    except OSError:
        return False

@pytest.fixture(scope="session")
def docker_compose_file(pytestconfig):
    return str(pytestconfig.rootpath / "compose.yaml")

@pytest.fixture(scope="session")
def http_service(docker_ip, docker_services):
    url = f"http://{docker_ip}:{docker_services.port_for('web', 8000)}"
    docker_services.wait_until_responsive(timeout=60.0, pause=0.1, check=lambda: is_responsive(url))
    return url

def test_status_code(http_service):
    assert urlopen(http_service + "/").status == 200
"""
UNUSED = """
import sys

def test_nothing_of_ours_is_imported():
    names = [name for name in sys.modules if name.startswith("pycompose.")]
    assert sorted(names) == [
        "pycompose.compose",
        "pycompose.compose.integrations",
        "pycompose.compose.integrations.pytest_docker_names",
        "pycompose.compose.integrations.pytest_plugin",
    ]
"""


def command(machine: Machine, folder: Path, text: str, *words: str) -> list[str]:
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (folder / "compose.yaml").write_text(FILE)
    (folder / "test_suite.py").write_text(text)
    run = [sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", f"--rootdir={folder}", *words]
    settings = ("PYTEST_DISABLE_PLUGIN_AUTOLOAD=1", "PYTHONDONTWRITEBYTECODE=1")
    return machine.entering("env", *settings, *run, str(folder))


def run(machine: Machine, words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, env=dict(machine.environment), capture_output=True, text=True, timeout=150 * SLOWER)


@pytest.mark.parametrize("text", [SUITE, DOCKER, UNUSED], ids=["suite", "of pytest-docker", "without fixtures"])
def test_a_suite_passes(host: Machine, tmp_path: Path, text: str) -> None:
    done = run(host, command(host, tmp_path / "suite", text))
    assert done.returncode == 0, done.stdout + done.stderr
    assert host.pycompose("ls", "-a", "-q").stdout == ""


def test_the_report_of_a_failed_test_has_the_logs(host: Machine, tmp_path: Path) -> None:
    done = run(host, command(host, tmp_path / "suite", FAILING))
    assert done.returncode == 1
    assert "compose logs of pytest-main-" in done.stdout
    assert re.search(r"-db-1 +\| db is ready", done.stdout), done.stdout
    assert host.pycompose("ls", "-a", "-q").stdout == ""


def test_two_workers_do_not_meet(host: Machine, tmp_path: Path) -> None:
    running = []
    for worker in ("gw0", "gw1"):
        words = command(host, tmp_path / worker, SUITE)
        environment = {**host.environment, "PYTEST_XDIST_WORKER": worker}
        running.append(
            subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
    for process in running:
        output, _ = process.communicate(timeout=200 * SLOWER)
        assert process.returncode == 0, output
    assert host.pycompose("ls", "-a", "-q").stdout == ""


def test_an_interrupted_session_leaves_nothing(host: Machine, tmp_path: Path) -> None:
    text = "def test_interrupted(compose):\n    raise KeyboardInterrupt\n"
    done = run(host, command(host, tmp_path / "suite", text))
    assert done.returncode == 2, done.stdout + done.stderr
    assert host.pycompose("ls", "-a", "-q").stdout == ""
