"""A service of a provider beside containers: its variables are inside, and it comes and goes with the project."""

from __future__ import annotations

from pathlib import Path

from .conftest import Machine
from .service_tools import Described

SCRIPT = """#!/bin/sh
here=$(dirname "$0")
[ "$2" = metadata ] && { echo '{"description": "d", "stop": {}}'; exit; }
echo "$3 $4" >> "$here/calls"
[ -e "$here/broken" ] && { echo '{"type": "error", "message": "no credit"}'; exit 1; }
echo '{"type": "setenv", "message": "URL='$(cat "$here/url")'"}'
"""
FILE = """
services:
  db: {provider: {type: cloud}}
  web: {image: host, init: true, command: sleep 600, depends_on: [db]}
"""


def test_a_provider_runs_with_the_project(host: Machine, tmp_path: Path) -> None:
    (tmp_path / "cloud").write_text(SCRIPT)
    (tmp_path / "cloud").chmod(0o755)
    project = Described(host, tmp_path / "compose.yaml")
    project.describe(FILE.replace("type: cloud", f"type: {tmp_path}/cloud"))

    def calls() -> list[str]:
        lines = (tmp_path / "calls").read_text().splitlines()
        (tmp_path / "calls").write_text("")
        return lines

    try:
        (tmp_path / "url").write_text("one")
        assert "Service db Created" in project("up", "-d").stderr
        assert project.inside("web", "echo $DB_URL") == "one"
        assert list(project.ps()) == ["web-1"]
        first = project("ps", "-q").stdout
        project("up", "-d")
        project("scale", "web=1")
        assert project("ps", "-q").stdout == first
        assert calls() == ["up db"] * 3
        (tmp_path / "url").write_text("two")
        assert "would run provider" in project("--dry-run", "up", "-d").stderr
        project("up", "-d", "--no-deps", "web")
        assert (project("ps", "-q").stdout, calls()) == (first, [])
        project("up", "-d")
        assert project.inside("web", "echo $DB_URL") == "two"
        (tmp_path / "broken").touch()
        failed = project("up", "-d", check=False)
        assert (failed.returncode, "no credit" in failed.stderr) == (1, True)
        (tmp_path / "broken").unlink()
        project("stop", "-t", "0", "web")
        project("stop", "-t", "0")
        project("start")
        assert project.inside("web", "echo $DB_URL") == "two"
        project("logs")
        project("down", "-t", "0")
        assert calls() == ["up db", "up db", "stop db", "down db"]
        assert project("ls", "-aq").stdout == ""
    finally:
        project("down", "-v", "-t", "0", check=False)
