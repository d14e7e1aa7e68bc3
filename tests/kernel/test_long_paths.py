"""Places and names longer than the kernel's small rooms: sockets' addresses (107 bytes), options of mounts (255).

Needs root.
"""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from .conftest import Machine

PROJECT, SERVICE = "p" * 60, "s" * 60
FILE = f"""
name: {PROJECT}
services:
  {SERVICE}:
    image: host
    command: sleep 1000
    stop_signal: SIGKILL
    healthcheck: {{test: "true", interval: 1s, start_interval: 50ms, start_period: 5s}}
    volumes: [data:/data]
  client:
    build: {{dockerfile_inline: "FROM host\\nRUN echo made > /made\\n"}}
    command: sleep 1000
    stop_signal: SIGKILL
    depends_on: {{{SERVICE}: {{condition: service_healthy}}}}
volumes: {{data: {{}}}}
"""


@pytest.fixture
def far(host: Machine) -> Machine:
    """The same machine, with its state and run folders at the end of paths of some 340 bytes."""
    deep = "/".join(letter * 100 for letter in "abc")
    state, run_folder = f"{host.state}/{deep}/state", f"{host.run_folder}/{deep}/run"
    return replace(
        host,
        state=state,
        run_folder=run_folder,
        environment={**host.environment, "PYCOMPOSE_STATE": state, "PYCOMPOSE_RUN": run_folder},
    )


def test_a_project_lives_at_the_end_of_a_long_path(far: Machine, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(FILE)

    def pycompose(*arguments: str) -> str:
        return far.pycompose("-f", str(file), *arguments).stdout

    try:
        pycompose("up", "-d", "--build")
        assert pycompose("exec", "-T", "client", "cat", "/made") == "made\n"
        assert SERVICE in pycompose("exec", "-T", "client", "getent", "hosts", SERVICE)
        pids = far.run("sh", "-c", f"cat {far.run_folder}/{PROJECT}/supervisor.json").stdout
        far.run("kill", f"-{signal.SIGKILL.value}", str(json.loads(pids)["pid"]))
        assert pycompose("exec", "-T", "client", "echo", "again") == "again\n"
        pycompose("restart", "client")
        assert len(pycompose("ps", "-q").split()) == 2
    finally:
        pycompose("down", "-v", "-t", "0", "--rmi", "all")
