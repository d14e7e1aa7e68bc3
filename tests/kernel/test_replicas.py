"""Replicas that know which one they are, and that are removed by name."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import Machine

FILE = """
name: p
services:
  worker:
    image: host
    command: [sleep, infinity]
    stop_signal: SIGKILL
    scale: 3
    x-pycompose: {replica_identity: true}
    environment: {PYCOMPOSE_SERVICE: mine}
  plain: {image: host, command: [sleep, infinity], stop_signal: SIGKILL}
"""
TOLD = 'echo "$PYCOMPOSE_PROJECT $PYCOMPOSE_SERVICE $PYCOMPOSE_REPLICA $PYCOMPOSE_CONTAINER $HOSTNAME $(hostname)"'


def numbers(host: Machine, file: str) -> list[str]:
    listed = host.pycompose("-f", file, "ps", "--format", "json", "worker").stdout.splitlines()
    return sorted(json.loads(line)["Name"] for line in listed)


def test_replicas_know_themselves_and_go_by_name(host: Machine, tmp_path: Path) -> None:
    file = str(tmp_path / "compose.yaml")
    Path(file).write_text(FILE)
    host.pycompose("-f", file, "up", "-d")
    try:
        told = host.pycompose("-f", file, "exec", "-T", "--index", "2", "worker", "sh", "-c", TOLD).stdout
        assert told == "p mine 2 p-worker-2 p-worker-2 p-worker-2\n"
        assert (
            "p-worker-2" in host.pycompose("-f", file, "exec", "-T", "--index=2", "worker", "cat", "/etc/hosts").stdout
        )
        environment = host.pycompose("-f", file, "exec", "-T", "plain", "env").stdout
        assert "PYCOMPOSE_" not in environment

        host.pycompose("-f", file, "scale", "worker=2", "--remove", "worker-2")
        assert numbers(host, file) == ["p-worker-1", "p-worker-3"]
        host.pycompose("-f", file, "scale", "worker=2", "--remove", "p-worker-1")
        assert numbers(host, file) == ["p-worker-3", "p-worker-4"]
        refused = host.pycompose("-f", file, "scale", "worker=1", "--remove", "worker-9", check=False)
        assert refused.returncode == 1
        assert "no such container of a service that is scaled: worker-9" in refused.stderr
        assert numbers(host, file) == ["p-worker-3", "p-worker-4"]

        host.pycompose("-f", file, "up", "-d", "--force-recreate", "worker")  # made under another name first
        told = host.pycompose("-f", file, "exec", "-T", "--index", "3", "worker", "sh", "-c", TOLD).stdout
        assert told == "p mine 3 p-worker-3 p-worker-3 p-worker-3\n"
    finally:
        host.pycompose("-f", file, "down")
