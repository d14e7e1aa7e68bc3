"""The manual page, and what the wheel installs under share/."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from pycompose.compose.cli import manual, root

Run = Callable[..., tuple[int, str, str]]
TOP = Path(manual.__file__).parent.parent.parent
SHARE = TOP / "docs" / "share"


def test_every_command_and_option_is_on_the_page(run: Run) -> None:
    code, page, err = run("help", "--man")
    assert (code, err) == (0, "")
    plain = page.replace("\\-", "-")
    for name in (name for name, row in root.COMMANDS.items() if row[2] and root._there(name)):
        assert f"\n.B {name}\n" in plain, name
    for option in ("--project-name", "--remove-orphans", "--no-trunc", "--archive"):
        assert option in plain
    assert "\n.B network create\n" in plain
    assert "COMPOSE_FILE" in plain
    assert not re.search(r"(?m)^\.[a-z]", plain.replace(".br", ""))


def test_man_understands_the_page(run: Run) -> None:
    if shutil.which("groff") is None:
        pytest.skip("needs groff")
    page = run("help", "--man")[1]
    done = subprocess.run(["groff", "-man", "-ww", "-Tutf8"], input=page, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "remove-orphans" in done.stdout


def test_what_the_wheel_installs_under_share_is_there(run: Run) -> None:
    """PYCOMPOSE_WRITE_SHARE=1 writes it anew."""
    if os.environ.get("PYCOMPOSE_WRITE_SHARE"):
        (SHARE / "pycompose.1").write_text(manual.page())
        for shell, name in (("bash", "pycompose"), ("zsh", "_pycompose"), ("fish", "pycompose.fish")):
            (SHARE / name).write_text(run("completion", shell)[1])
    listed = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    files = {name for names in listed.values() for name in names}
    assert files == {f"docs/share/{path.name}" for path in SHARE.iterdir()}
    page = (SHARE / "pycompose.1").read_text().replace("\\-", "-")
    assert page.startswith(".TH PYCOMPOSE 1")
    assert set(re.findall(r"(?m)^\.B ([a-z][\w-]*)$", page)) >= {"up", "down", "run", "cp", "inspect"}
    for name in ("pycompose", "_pycompose", "pycompose.fish"):
        assert "_PYCOMPOSE_COMPLETE" in (SHARE / name).read_text()
