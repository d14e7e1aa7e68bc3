"""`init: true`: what is the first process of a container, what it shows, does and takes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from .conftest import Machine
from .service_tools import Described, until

SECRET = "of-another-service-and-of-the-caller"
# What a process with SYS_PTRACE finds of a secret in the first process: its memory, whole, and its environment.
SEARCH = """
import os, re
for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
    if pid == os.getpid():
        continue
    held = open(f"/proc/{pid}/environ", "rb").read()
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    for line in open(f"/proc/{pid}/maps"):
        start, end = (int(number, 16) for number in re.match("([0-9a-f]+)-([0-9a-f]+)", line).groups())
        try:
            held += os.pread(memory, end - start, start)
        except (OSError, OverflowError):
            pass  # [vvar], [vsyscall]
    print(pid, len(held) > 4096, b"SECRET-" in held, b"pycompose" in held, b"PYCOMPOSE" in held)
"""


def test_the_first_process_is_a_program_of_a_few_kilobytes(project: Described) -> None:
    project.describe("services: {one: {image: host, init: true, command: [sleep, '1000']}}\n")
    project("up", "-d")
    words = project.inside("one", "tr '\\0' ' ' </proc/1/cmdline; cat /proc/1/comm; ls /proc/1/fd | tr '\\n' ' '")
    assert words.split("\n") == ["/sbin/docker-init -- sleep 1000 docker-init", "0 1 2"]
    pss = project.inside("one", "grep ^Pss: /proc/1/smaps_rollup")
    assert int(pss.split()[1]) < 100


def test_nothing_of_the_keepers_is_in_it(project: Described) -> None:
    project.machine.environment["CALLERS"] = f"SECRET-{SECRET}"  # type: ignore[index]
    (project.file.parent / "search.py").write_text(SEARCH)
    project.describe(f"""
services:
  other: {{image: host, init: true, command: [sleep, "1000"], environment: {{PASSWORD: "SECRET-{SECRET}"}}}}
  one:
    image: host
    init: true
    cap_add: [SYS_PTRACE]
    security_opt: [apparmor=unconfined]
    command: [sleep, "1000"]
    depends_on: [other]
    volumes: [./search.py:/search.py]
""")
    project("up", "-d")
    lines = project.inside("one", "/usr/bin/env python3 /search.py").split("\n")
    assert lines[0].split() == ["1", "True", "False", "False", "False"]
    assert all(line.split()[2] == "False" for line in lines), lines


def test_a_command_that_cannot_be_executed_does_not_start(project: Described) -> None:
    (project.file.parent / "bad").write_text("no program\n")
    (project.file.parent / "bad").chmod(0o755)
    for command in ("nothing-of-this-name", "/etc/passwd", "/bad"):
        project.describe(f"""
services: {{one: {{image: host, init: true, command: [{command}], volumes: ["./bad:/bad"]}}}}
""")
        done = project("up", "-d", check=False)
        assert done.returncode != 0
        assert command in done.stderr
        project("down", "-t", "0")


def test_signals_of_stop_and_kill_arrive(project: Described) -> None:
    project.describe("""
services:
  one:
    image: host
    init: true
    command: [sh, -c, "trap 'echo stopped; exit 3' TERM; trap 'echo hup' HUP; echo up; while :; do sleep 0.05; done"]
""")
    project("up", "-d")
    until(lambda: "up" in project.logs("one"))
    project("kill", "-s", "HUP", "one")
    until(lambda: "hup" in project.logs("one"))
    project("stop", "one")
    assert project.ps()["one-1"]["ExitCode"] == 3
    assert "stopped" in project.logs("one")


def test_a_terminal_is_the_childs(project: Described) -> None:
    project.describe(
        "services: {one: {image: host, init: true, tty: true, command: [sh, -c, 'tty; ps -o stat= -p $$$$']}}\n"
    )
    lines = [line.strip() for line in project.said()["one"]]
    assert lines[0] in ("/dev/pts/0", "/dev/console")
    assert lines[1].endswith("+"), "it is in the foreground"


def test_fifty_of_them_take_less_than_six_megabytes(project: Described) -> None:
    project.describe("services: {one: {image: host, init: true, command: [sleep, '1000'], scale: 50}}\n")
    project("up", "-d", timeout=120)
    sizes = proportional_sizes(project.machine)
    assert len(sizes) == 50
    assert sum(sizes) < 6 << 10


def proportional_sizes(machine: Machine) -> list[int]:
    """Of each first process of the machine's containers, in kB."""
    lines = Path("/proc").glob("[0-9]*/cmdline")
    firsts = [path.parent for path in lines if _reads(path).startswith("/sbin/docker-init\0")]
    ours = [path for path in firsts if f"/{machine.environment['PYCOMPOSE_CGROUP']}/" in _reads(path / "cgroup")]
    return [int(re.findall(r"^Pss: +(\d+)", _reads(path / "smaps_rollup"), re.MULTILINE)[0]) for path in ours]


def _reads(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@pytest.mark.parametrize("path", [shutil.which("tini-static"), shutil.which("catatonit")])
def test_a_static_program_may_be_named_instead(host: Machine, tmp_path: Path, path: str | None) -> None:
    if path is None:
        pytest.skip("it is not installed")
    host.environment["PYCOMPOSE_INIT"] = path  # type: ignore[index]
    project = Described(host, tmp_path / "compose.yaml")
    project.describe("""
services:
  one:
    image: host
    init: true
    scale: 20
    command: [sh, -c, "trap 'exit 3' TERM; tr '\\\\0' ' ' </proc/1/cmdline; echo; while :; do sleep 0.2; done"]
""")
    project("up", "-d")
    line = until(lambda: project.logs("one"))[0]
    assert line.startswith("/sbin/docker-init -- sh -c trap")
    sizes = proportional_sizes(host)
    assert len(sizes) == 20
    assert sum(sizes) < 20 * 100
    project("stop", "one")
    assert project.ps()["one-1"]["ExitCode"] == 3
    project("down", "-t", "0")


def test_a_program_that_will_not_do_is_refused_by_name(host: Machine, tmp_path: Path) -> None:
    host.environment["PYCOMPOSE_INIT"] = "/bin/sh"  # type: ignore[index]
    project = Described(host, tmp_path / "compose.yaml")
    project.describe(
        "services: {one: {image: host, init: true, command: 'true'}, two: {image: host, command: 'true'}}\n"
    )
    done = project("up", "-d", "one", check=False)
    assert done.returncode == 1
    assert "PYCOMPOSE_INIT names /bin/sh: it is linked dynamically" in done.stderr
    assert "tini-static" in done.stderr
    assert project("up", "-d", "two").returncode == 0
    project("down", "-t", "0")
