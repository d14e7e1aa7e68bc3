"""The TAB key, as a real bash has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


def answers(folder: Path, *words: str) -> list[str]:
    """What bash would offer for the last of `words`, in `folder`."""
    program = Path(sys.executable).parent / "pycompose"
    if shutil.which("bash") is None or not program.exists():
        pytest.skip("needs bash, and pycompose installed")
    script = (
        f'source <("{program}" completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        '_pycompose_completion "$1"; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    told = subprocess.run(
        ["bash", "-c", script, "bash", str(program), *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stderr == ""
    return told.stdout.split()


def test_services_commands_and_options_are_offered(places: Path) -> None:
    (places / "compose.yaml").write_text(
        "services: {web: {image: x}, worker: {image: x, profiles: [p]}, db: {image: x}}"
    )
    assert answers(places, "stop", "w") == ["web", "worker"]
    assert answers(places, "conf") == ["config"]
    assert answers(places, "config", "--no-i") == ["--no-interpolate"]


def test_a_file_that_cannot_be_read_offers_nothing_and_says_nothing(places: Path) -> None:
    (places / "compose.yaml").write_text("services: [")
    assert answers(places, "stop", "w") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_own(run: Run, shell: str) -> None:
    code, out, err = run("completion", shell)
    assert (code, err) == (0, "")
    assert f"{shell}_complete" in out
