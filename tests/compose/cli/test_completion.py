"""The TAB key, as a real bash has it."""

from __future__ import annotations

import json
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


def offered(run: Run, *words: str) -> list[str]:
    """What docker's script would offer; the last line is what it may add."""
    code, out, _ = run("__completeNoDesc", *words)
    assert code == 0
    return out.split()


def test_words_are_offered_by_what_they_are_of(run: Run, places: Path) -> None:
    (places / "compose.yaml").write_text(
        "name: here\nservices: {web: {image: x}, worker: {image: x, profiles: [tools, odd]}, db: {image: x}}"
    )
    for project in ("here", "there"):
        folder = places / "state" / "projects" / project / "containers" / ("a" * 64)
        folder.mkdir(parents=True)
        labels = {"com.docker.compose.service": "web", "com.docker.compose.container-number": "3"}
        (folder / "state.json").write_text(json.dumps({"name": f"{project}-web-3", "annotations": labels}))
    assert offered(run, "scale", "w") == ["web=", "worker=", ":6"]
    assert offered(run, "up", "--scale", "d") == ["db=", ":6"]
    assert offered(run, "up", "--exit-code-from", "w") == ["web", "worker", ":4"]
    assert offered(run, "cp", "web") == ["web:", ":6"]
    assert offered(run, "cp", "./comp") == [":0"]
    assert offered(run, "-p", "") == ["here", "there", ":4"]
    assert offered(run, "--profile", "") == ["odd", "tools", ":4"]
    assert offered(run, "exec", "--index", "") == ["3", ":4"]
    assert offered(run, "images", "d") == ["db", ":4"]
    assert offered(run, "help", "unp") == ["unpause", ":4"]
    assert offered(run, "inspect", "th") == ["there-web-3", ":4"]
    assert offered(run, "volume", "rm", "") == [":4"]


def test_bash_goes_on_after_an_equals_sign(run: Run) -> None:
    assert "[=:] ]] && compopt -o nospace" in run("completion", "bash")[1]
    assert "compadd -U -S ''" in run("completion", "zsh")[1]
