"""What each command may import, and what it may cost beside an interpreter that does nothing."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from pycompose.compose.file.loader import Options, load
from pycompose.compose.plan import graph
from pycompose.compose.state import generations
from pycompose.runtime.places import Places

# A looking command imports no more than records need; one that reads files brings YAML, and no engine.
ENGINE = ("trio", "pyroute2", "pycompose.compose.engine", "pycompose.compose.linux", "pycompose.network")
FILES = ("yaml", "pycompose.compose.file", "pycompose.compose.model.project")
ACTING = ("networkx", "pycompose.compose.plan", "pycompose.compose.control", "pycompose.compose.builds")

UNUSED = ("ast", "tokenize", "platform", "locale")  # of what click and dataclasses import

FORBIDDEN: dict[tuple[str, ...], tuple[str, ...]] = {
    ("version",): (*UNUSED, *ENGINE, *FILES, *ACTING, "pycompose.runtime"),
    ("ls",): (*UNUSED, *ENGINE, *FILES, *ACTING),
    ("ps",): (*UNUSED, *ENGINE, *FILES, *ACTING),
    ("logs",): (*UNUSED, *ENGINE, *FILES, *ACTING),
    ("port", "web", "80"): (*UNUSED, *ENGINE, *FILES, *ACTING),
    ("exec", "web", "true"): (*ENGINE, *FILES, *ACTING),
    ("config",): (*ENGINE, *ACTING),
    ("graph", "--help"): (*ENGINE, *FILES, *ACTING),
    ("up", "--dry-run"): (*ENGINE, "pycompose.compose.builds", "ctypes"),
    ("down", "--dry-run"): (*ENGINE, "pycompose.compose.builds", "ctypes"),
    ("pull", "--dry-run"): (*ENGINE, *ACTING),
}

# Processor time as a multiple of `python -c pass`; about half as much again as it takes.
LIMITS: dict[tuple[str, ...], float] = {("ps",): 6, ("config",): 9.5, ("up", "--dry-run"): 11}


@pytest.fixture
def file(places: Path) -> Path:
    path = places / "compose.yaml"
    path.write_text("name: x\nservices: {web: {image: host, ports: ['80']}, db: {image: host}}\n")
    return path


def modules_of(*command: str) -> set[str]:
    """What a command has imported when it ends."""
    code = (
        f"import sys; from pycompose.compose.cli import main; main({list(command)!r});"
        "print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    return set(done.stderr.splitlines())


@pytest.mark.parametrize("command", FORBIDDEN, ids=" ".join)
def test_a_command_imports_what_it_needs(file: Path, command: tuple[str, ...]) -> None:
    heavy = FORBIDDEN[command]
    modules = modules_of(*command)
    assert [name for name in modules if any(name == one or name.startswith(f"{one}.") for one in heavy)] == []


def test_services_are_ordered_once_as_long_as_they_need_the_same(places: Path) -> None:
    file = places / "compose.yaml"
    file.write_text("name: x\nservices: {web: {image: host, depends_on: [db]}, db: {image: host}}\n")
    assert "networkx" in modules_of("up", "--dry-run")
    project = load(Options(files=(str(file),))).project
    generations.keep(Places.default().project("x"), graph.ordered(project))
    for command in (("up", "--dry-run"), ("up", "--dry-run", "web"), ("scale", "--dry-run", "web=2")):
        assert "networkx" not in modules_of(*command)
    file.write_text("name: x\nservices: {web: {image: host}, db: {image: host, depends_on: [web]}}\n")
    assert "networkx" in modules_of("up", "--dry-run")


def processor_time(*arguments: str) -> float:
    """Seconds, of user and system, that one run of the interpreter takes."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("command", LIMITS, ids=" ".join)
def test_a_command_costs_few_times_an_empty_interpreter(file: Path, command: tuple[str, ...]) -> None:
    processor_time("-m", "pycompose", *command)  # compiles what is not compiled yet
    ratios = [processor_time("-m", "pycompose", *command) / max(processor_time("-c", "pass"), 0.001) for _ in range(7)]
    assert statistics.median(ratios) < LIMITS[command]


def test_a_full_standard_output_is_named() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pycompose", "version"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: /dev/stdout: No space left on device\n")


def test_a_warning_that_cannot_be_written_is_lost_and_the_command_does_its_work(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {a: {image: 'x${NOBODY_HAS_THIS}'}}")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pycompose", "config", "--services"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
        )
    assert (done.returncode, done.stdout) == (0, "a\n")


def test_a_short_option_does_not_load_what_finds_similar_words(file: Path) -> None:
    modules = modules_of("-f", str(file), "ps", "-a", "-q")
    assert "click" in modules
    assert "difflib" not in modules
