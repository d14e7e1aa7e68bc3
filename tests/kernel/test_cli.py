"""The command line on real containers: the sequences that a user types, and an attached `up` on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .attached_tools import Terminal
from .conftest import Machine
from .service_tools import states

FILE = """
name: c
services:
  web:
    image: host
    command: [sh, -c, "echo ready; echo oops >&2; trap 'exit 7' TERM; while :; do sleep 0.1; done"]
    ports: ["18080:80"]
    stop_grace_period: 5s
  db: {image: host, command: sleep 1000, init: true, depends_on: [web]}
"""


@pytest.fixture
def file(tmp_path: Path, host: Machine) -> Iterator[str]:
    path = tmp_path / "compose.yaml"
    path.write_text(FILE)
    yield str(path)
    host.pycompose("-p", "c", "down", "-t", "0", "-v", "--remove-orphans", check=False)


def test_a_project_from_up_to_down(host: Machine, file: str) -> None:
    up = host.pycompose("-f", file, "up", "-d")
    assert up.stdout == ""
    assert " Container c-web-1 Started" in up.stderr.splitlines()
    project = ("-p", "c")
    rows = host.pycompose("-f", file, "ps").stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["NAME", "c-db-1", "c-web-1"]
    assert "0.0.0.0:18080->80/tcp" in rows[2]
    assert " Up " in rows[1]
    assert host.pycompose(*project, "port", "web", "80").stdout == "0.0.0.0:18080\n"
    logs = host.pycompose(*project, "logs", "web")
    assert (logs.stdout, logs.stderr) == ("web-1  | ready\n", "web-1  | oops\n")
    assert host.pycompose(*project, "exec", "-T", "-e", "A=b", "db", "sh", "-c", "echo $A").stdout == "b\n"
    assert host.pycompose(*project, "exec", "-T", "db", "sh", "-c", "exit 9", check=False).returncode == 9
    assert host.run(sys.executable, "-m", "pycompose", *project, "exec", "-i", "db", "cat", input="in").stdout == "in"
    deaf = host.run(sys.executable, "-m", "pycompose", *project, "exec", "-i=false", "db", "cat", input="in")
    assert (deaf.stdout, deaf.stderr) == ("", "")
    assert host.pycompose(*project, "exec", "-T", "db", "no-such-program", check=False).returncode == 127

    host.pycompose(*project, "scale", "db=3")
    assert set(states(host, "c")) == {"c-web-1", "c-db-1", "c-db-2", "c-db-3"}
    host.pycompose(*project, "scale", "db=1")
    assert states(host, "c") == {"c-web-1": "running", "c-db-1": "running"}

    top = host.pycompose(*project, "top", "db").stdout.splitlines()
    assert top[0].split()[:3] == ["SERVICE", "#", "UID"]
    assert any("sleep 1000" in line for line in top[1:])
    stats = [
        json.loads(line)
        for line in host.pycompose(*project, "stats", "--no-stream", "--format", "json").stdout.splitlines()
    ]
    assert {row["Name"] for row in stats} == {"c-db-1", "c-web-1"}
    assert all(row["CPUPerc"].endswith("%") and row["PIDs"] != "--" for row in stats)

    host.pycompose(*project, "pause", "web")
    assert states(host, "c")["c-web-1"] == "paused"
    refused = host.pycompose(*project, "exec", "web", "true", check=False)
    assert (refused.returncode, "unpause" in refused.stderr) == (1, True)
    host.pycompose(*project, "unpause", "web")
    host.pycompose(*project, "stop", "web")
    assert states(host, "c")["c-web-1"] == "exited"
    assert host.pycompose(*project, "wait", "web", check=False).stdout == "7\n"
    host.pycompose(*project, "start", "--wait", "web")
    host.pycompose(*project, "restart", "-t", "0", "web")
    assert states(host, "c")["c-web-1"] == "running"
    host.pycompose(*project, "kill", "db")
    assert "Exited (137)" in host.pycompose(*project, "ps", "-a", "db").stdout
    asked = host.run(sys.executable, "-m", "pycompose", *project, "rm", input="n\n", check=False)
    assert asked.returncode == 130
    assert "c-db-1" in states(host, "c")
    host.pycompose(*project, "rm", "-f")
    assert states(host, "c") == {"c-web-1": "running"}
    assert host.pycompose("ls", "-q").stdout == "c\n"
    down = host.pycompose(*project, "down", "-t", "0")
    assert " Network c_default Removed" in down.stderr.splitlines()
    assert host.pycompose("ls", "-aq").stdout == ""
    assert "No resource found to remove" in host.pycompose(*project, "down").stderr


@pytest.mark.parametrize(
    "command", [("up", "-d"), ("exec", "-T", "db", "true"), ("ps",), ("stop", "web")], ids=" ".join
)
def test_a_command_beside_a_running_supervisor_imports_no_engine(
    host: Machine, file: str, command: tuple[str, ...]
) -> None:
    host.pycompose("-f", file, "up", "-d")
    done = host.run(sys.executable, "-X", "importtime", "-m", "pycompose", "-f", file, *command)
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    heavy = {"trio", "pyroute2", "networkx", "pycompose.compose.engine", "pycompose.network"}
    light = {"pycompose.compose.linux.further_process"}  # one pure function, which hooks and checks share with `exec`
    assert "pycompose.compose.cli" in modules
    assert modules & (heavy if command[0] != "stop" else heavy - {"networkx"}) == set()
    assert {module for module in modules if module.startswith("pycompose.compose.linux.")} <= light
    assert ("yaml" in modules) == (command[0] in ("up", "stop"))


def test_dry_runs_of_what_exists_print_a_plan_and_change_nothing(host: Machine, file: str) -> None:
    host.pycompose("-f", file, "up", "-d")
    before = states(host, "c")
    for command, step in (
        (("up", "-d", "--force-recreate"), "stop c-web-1  (forced)"),
        (("scale", "db=2"), "create c-db-2  (scale up)"),
        (("stop",), "stop c-web-1"),
        (("restart", "web"), "start c-web-1  (restart)"),
        (("kill", "db"), "kill c-db-1"),
        (("pause",), "pause c-web-1"),
        (("rm", "-s", "db"), "remove c-db-1"),
        (("down",), "remove network c_default"),
    ):
        done = host.pycompose("-f", file, *command, "--dry-run")
        assert step in done.stdout, command
        assert done.stderr == ""
    assert states(host, "c") == before


def test_progress_is_json_or_nothing_on_request(host: Machine, file: str) -> None:
    up = host.pycompose("--progress", "json", "-f", file, "up", "-d")
    told = [json.loads(line) for line in up.stderr.splitlines()]
    assert {"id": "Container c-web-1", "status": "Done", "text": "Started"} in told
    assert host.pycompose("--progress", "quiet", "-p", "c", "stop", "-t", "0").stderr == ""


def test_attached_up_ends_when_all_have_ended_and_tells_how(host: Machine, tmp_path: Path) -> None:
    path = tmp_path / "short.yaml"
    path.write_text(
        "name: c\nservices:\n"
        "  one: {image: host, command: [sh, -c, 'echo 1; exit 3']}\n"
        "  other: {image: host, command: [sh, -c, 'sleep 0.2; echo 2'], depends_on: [one]}\n"
    )
    try:
        up = host.pycompose("-f", str(path), "up")
        assert up.returncode == 0
        assert set(up.stdout.splitlines()) == {
            "one-1    | 1",
            "one-1 exited with code 3",
            "other-1  | 2",
            "other-1 exited with code 0",
        }
        assert "Attaching to one-1, other-1" in up.stderr.splitlines()
        again = host.pycompose("-f", str(path), "up", "--exit-code-from", "one", "--no-log-prefix", check=False)
        assert again.returncode == 3
        assert "1\n" in again.stdout
        first = host.pycompose("-f", str(path), "up", "--abort-on-container-failure", check=False)
        assert first.returncode == 3
    finally:
        host.pycompose("-p", "c", "down", "-t", "0")


def test_ctrl_c_stops_an_attached_up_gracefully(host: Machine, file: str) -> None:
    on = Terminal(host, "-f", file, "up", "web")
    try:
        on.until("web-1  | \033[0mready")
        on.press(b"\x03")
        on.until("Gracefully Stopping... press Ctrl+C again to force")
        on.until("web-1 exited with code 7")
        assert on.end() == 0
    finally:
        on.kill()
    assert "[+] up 2/2" in on.seen
    assert states(host, "c") == {"c-web-1": "exited"}


def test_a_second_ctrl_c_kills(host: Machine, tmp_path: Path) -> None:
    path = tmp_path / "stubborn.yaml"
    path.write_text(
        "name: c\nservices:\n  mule:\n    image: host\n    stop_grace_period: 10m\n"
        "    command: [sh, -c, \"trap 'echo never' TERM; echo ready; while :; do sleep 0.1; done\"]\n"
    )
    on = Terminal(host, "-f", str(path), "up")
    try:
        on.until("ready")
        on.press(b"\x03")
        on.until("never")
        on.press(b"\x03")
        on.until("mule-1 exited with code 137")
        assert on.end() == 130
        assert states(host, "c") == {"c-mule-1": "exited"}
    finally:
        on.kill()
        host.pycompose("-p", "c", "down", "-t", "0")


def test_exec_on_a_terminal_has_one(host: Machine, file: str) -> None:
    host.pycompose("-f", file, "up", "-d")
    on = Terminal(host, "-p", "c", "exec", "db", "sh", "-c", "tty; read word; echo got $word")
    try:
        on.until("/dev/pts/")
        on.press(b"it\n")
        on.until("got it")
        assert on.end() == 0
    finally:
        on.kill()


def test_logs_follow_until_nothing_runs(host: Machine, file: str) -> None:
    host.pycompose("-f", file, "up", "-d", "web")
    on = Terminal(host, "-p", "c", "logs", "-f")
    try:
        on.until("ready")
        host.pycompose("-p", "c", "stop", "web")
        assert on.end() == 0
    finally:
        on.kill()
