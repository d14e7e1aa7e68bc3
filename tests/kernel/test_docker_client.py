"""docker's own client, with pycompose as its plugin, and a daemon that is nowhere."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import Machine
from .service_tools import until

FILE = """
name: d
services:
  web: {image: host, command: [sh, -c, "echo ready; exec sleep 1000"], init: true}
"""
Docker = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(host: Machine, tmp_path: Path) -> dict[str, str]:
    if shutil.which("docker") is None:
        pytest.skip("needs docker's client (Debian's docker-cli, from Debian 13 on)")
    variables = {**host.environment, "DOCKER_CONFIG": str(tmp_path / "docker"), "DOCKER_HOST": "tcp://127.0.0.1:1"}
    host.run("env", f"DOCKER_CONFIG={tmp_path}/docker", *host.entering_pycompose("install-plugin")[5:])
    (tmp_path / "compose.yaml").write_text(FILE)
    return variables


@pytest.fixture
def docker(host: Machine, tmp_path: Path, environment: dict[str, str]) -> Iterator[Docker]:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            host.entering("docker", *arguments), env=environment, capture_output=True, text=True, timeout=60, input=""
        )

    yield call
    call("compose", "-p", "d", "down", "-t", "0")


def test_docker_compose_is_pycompose(docker: Docker, tmp_path: Path) -> None:
    file = ("compose", "-f", str(tmp_path / "compose.yaml"))
    assert docker("compose", "version").stdout.startswith("Docker Compose version v")
    up = docker(*file, "up", "-d")
    assert (up.returncode, up.stdout) == (0, "")
    assert " Container d-web-1 Started" in up.stderr.splitlines()
    assert "d-web-1" in docker(*file, "ps").stdout
    inside = docker(*file, "exec", "-T", "web", "sh", "-c", "echo inside; exit 7")
    assert (inside.returncode, inside.stdout) == (7, "inside\n")
    assert docker(*file, "logs", "--no-color", "web").stdout == "web-1  | ready\n"
    wrong = docker(*file, "ps", "--nope")
    assert (wrong.returncode, "`docker compose ps --help`" in wrong.stderr) == (1, True)
    assert docker("-H", "ssh://there", *file, "ps").returncode == 1
    assert docker(*file, "down", "-t", "0").returncode == 0
    assert docker(*file, "ps", "-aq").stdout == ""


def test_docker_s_client_shows_our_help_and_completes_our_words(docker: Docker, tmp_path: Path) -> None:
    assert "runs the containers of a compose file" in docker("help", "compose").stdout
    assert docker("compose", "up", "--help").stdout == docker("compose", "help", "up").stdout
    completed = docker("__complete", "compose", "-f", str(tmp_path / "compose.yaml"), "stop", "")
    assert completed.stdout.splitlines() == ["web", ":4"]


def test_a_signal_for_the_client_alone_ends_the_command(
    host: Machine, docker: Docker, tmp_path: Path, environment: dict[str, str]
) -> None:
    file = ("compose", "-f", str(tmp_path / "compose.yaml"))
    assert docker(*file, "up", "-d").returncode == 0
    following = subprocess.Popen(
        host.entering("docker", *file, "logs", "-f"), env=environment, stdout=subprocess.PIPE, text=True
    )
    assert following.stdout is not None
    assert following.stdout.readline() == "web-1  | ready\n"
    os.kill(following.pid, signal.SIGTERM)
    until(lambda: following.poll() is not None, 20, "the end of docker's client")
    assert following.stdout.read() == ""  # nobody has the pipe any more
    assert following.returncode == 130
    following.stdout.close()


MAKEFILE = """
DC = docker-compose

up:
\t$(DC) up -d --wait
test:
\t$(DC) run --rm app sh -c 'echo tests passed; exit $(CODE)'
restore:
\t$(DC) exec -T db sh -c 'cat > /tmp/restored && wc -c < /tmp/restored' < dump.sql
grep:
\t$(DC) logs --no-color | grep -c ready
inspect:
\t$(DC) ps -q | xargs -n 1 echo container
down:
\t$(DC) down -v -t 0
"""
SERVICES = """
services:
  db:
    image: host
    command: [sh, -c, "echo ready; exec sleep 1000"]
    init: true
    healthcheck: {test: "true", interval: 0.2s}
  app:
    image: host
    command: "true"
    depends_on: {db: {condition: service_healthy}}
    profiles: [test]
"""


def test_a_makefile_that_says_docker_compose_goes_on(host: Machine, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker-compose").symlink_to(Path(sys.executable).parent / "pycompose")
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "compose.yaml").write_text(SERVICES)
    (tmp_path / "dump.sql").write_bytes(b"x" * 3_000_000)
    path = f"{tmp_path}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    def make(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return host.run("env", f"PATH={path}", "make", "-s", "-C", str(tmp_path), *words, check=check)

    try:
        make("up")
        assert make("test", "CODE=0").stdout == "tests passed\n"
        assert "Error 3" in make("test", "CODE=3", check=False).stderr
        assert make("restore").stdout == "3000000\n"
        assert make("grep").stdout == "1\n"
        assert make("inspect").stdout.startswith("container ")
        assert len(make("inspect").stdout.splitlines()) == 1  # what was run has gone
    finally:
        make("down")
