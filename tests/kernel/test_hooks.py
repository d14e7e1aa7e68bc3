"""Hooks of services: what they write, and what comes of their failing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Machine
from .service_tools import Described


@pytest.fixture
def project(host: Machine, tmp_path: Path) -> Iterator[Described]:
    described = Described(host, tmp_path / "compose.yaml")
    yield described
    described("down", "-v", "-t", "0", "--remove-orphans", check=False)


def test_a_pre_stop_that_fails_is_the_exit_code_and_all_is_taken_down(project: Described) -> None:
    project.describe("""
services:
  web:
    image: host
    init: true
    command: sleep 600
    working_dir: /usr
    pre_stop:
      - {command: "sh -c 'echo $$PWD; echo $$WORD >&2; exit 7'", working_dir: /etc, environment: {WORD: why}}
""")
    project("up", "-d")
    done = project("down", "-t", "0", check=False)
    assert done.returncode == 7, done.stderr
    assert "pre_stop of p-web-1 exited with 7" in done.stderr
    assert "why" in done.stderr
    assert project.ps() == {}
    assert project("ls", "-aq").stdout == ""


def test_what_hooks_write_is_shown_in_an_attached_up(project: Described) -> None:
    project.describe("""
services:
  web: {image: host, init: true, command: sleep 1, post_start: [{command: echo hello}, {command: echo again}]}
""")
    lines = project("up").stdout.splitlines()
    assert [line for line in lines if "->" in line] == ["web-1 -> | hello", "web-1 -> | again"]
