"""A changed config reaches its containers with the next `up`, and `graph` tells how services are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Machine

FILE = """
name: changed
services:
  a: {image: host, network_mode: none, command: sleep 1000, configs: [app.conf], depends_on: [b]}
  b: {image: host, network_mode: none, command: "false"}
configs: {app.conf: {file: ./app.conf}}
"""


@pytest.fixture
def file(host: Machine, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The arguments that name a project's file; its config is beside it, and it is taken down at the end."""
    (tmp_path / "compose.yaml").write_text(FILE)
    (tmp_path / "app.conf").write_text("one\n")
    yield "-f", str(tmp_path / "compose.yaml")
    host.pycompose("-p", "changed", "down", "-t", "0", check=False)


def test_a_changed_config_reaches_its_containers(host: Machine, tmp_path: Path, file: tuple[str, str]) -> None:
    host.pycompose(*file, "up", "-d", "a")
    (tmp_path / "app.conf").write_text("two\n")
    plan = host.pycompose(*file, "--dry-run", "up", "-d", "a").stdout
    assert "(configuration changed: config app.conf)" in plan
    host.pycompose(*file, "up", "-d", "a")
    assert host.pycompose(*file, "exec", "-T", "a", "cat", "/app.conf").stdout == "two\n"
    again = host.pycompose(*file, "--dry-run", "up", "-d", "a").stdout
    assert "configuration changed" not in again
    picture = host.pycompose(*file, "graph").stdout
    assert "● running" in picture
    assert "✖ failed" in picture


def test_what_is_started_again_keeps_a_config_whose_file_is_gone(
    host: Machine, tmp_path: Path, file: tuple[str, str]
) -> None:
    host.pycompose(*file, "up", "-d", "a")
    (tmp_path / "app.conf").write_text("two\n")
    host.pycompose(*file, "restart", "-t", "0", "a")
    (tmp_path / "app.conf").unlink()
    for command in (("restart", "-t", "0", "a"), ("stop", "-t", "0", "a"), ("start", "a")):
        said = host.pycompose(*file, *command).stderr
        note = f'service "a": config "app.conf" stays as it was given: {tmp_path}/app.conf is gone'
        assert (note in said) == (command[0] != "stop")
    assert host.pycompose(*file, "exec", "-T", "a", "cat", "/app.conf").stdout == "two\n"
    refused = host.pycompose(*file, "up", "-d", "--force-recreate", "a", check=False)
    assert refused.returncode == 1
    assert 'config "app.conf"' in refused.stderr
