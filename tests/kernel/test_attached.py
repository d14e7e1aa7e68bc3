"""An attached `up` and `logs -f`: signals, whose ends count, and when they end by themselves."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .attached_tools import Terminal, in_background, read_until
from .conftest import Machine
from .service_tools import states

LOOP = "while :; do sleep 0.1; done"


@pytest.fixture
def write(tmp_path: Path, host: Machine) -> Iterator[Callable[[str], str]]:
    """Writes the services of a file; its path. The project is taken down."""

    def file(services: str) -> str:
        path = tmp_path / "compose.yaml"
        path.write_text("name: c\nservices:\n" + services)
        return str(path)

    yield file
    host.pycompose("-p", "c", "down", "-t", "0", "-v", "--remove-orphans", check=False)


POLITE = f"""  web:
    image: host
    command: [sh, -c, "trap 'echo bye; exit 7' TERM; echo ready; {LOOP}"]
    depends_on: [db]
  db: {{image: host, command: sleep 1000, init: true}}
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_to_an_attached_up_stops_gracefully(
    host: Machine, write: Callable[[str], str], number: signal.Signals
) -> None:
    up = in_background(host, "-f", write(POLITE), "up")
    read_until(up, "ready")
    up.send_signal(number)
    out, _ = up.communicate(timeout=30)
    assert (up.returncode, "bye" in out) == (0, True), out
    assert set(states(host, "c").values()) == {"exited"}


def test_a_second_signal_kills(host: Machine, write: Callable[[str], str]) -> None:
    command = f"[sh, -c, \"trap 'echo never' TERM; echo ready; {LOOP}\"]"
    file = write(f"  mule: {{image: host, stop_grace_period: 10m, command: {command}}}\n")
    up = in_background(host, "-f", file, "up")
    read_until(up, "ready")
    up.send_signal(signal.SIGTERM)
    read_until(up, "never")
    up.send_signal(signal.SIGTERM)
    out, _ = up.communicate(timeout=30)
    assert (up.returncode, "exited with code 137" in out) == (143, True), out


def test_a_terminal_that_hangs_up_stops_an_attached_up(host: Machine, write: Callable[[str], str]) -> None:
    on = Terminal(host, "-f", write(POLITE), "up")
    try:
        on.until("ready")
        assert on.hang_up() == 0
    finally:
        on.kill()
    assert set(states(host, "c").values()) == {"exited"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("command", ["up", "stop", "down"])
def test_a_signal_while_a_command_waits_is_said_and_is_its_code(
    host: Machine, write: Callable[[str], str], command: str, number: signal.Signals
) -> None:
    slow = "healthcheck: {test: [CMD, 'false'], interval: 1h, start_period: 1h, start_interval: 1h}"
    file = write(
        f"  db: {{image: host, command: [sh, -c, \"trap '' TERM; {LOOP}\"], stop_grace_period: 10m, {slow}}}\n"
        "  web: {image: host, command: sleep 9, init: true, depends_on: {db: {condition: service_healthy}}}\n"
    )
    host.pycompose("-f", file, "up", "-d", "db")
    waits = {"up": ("up", "-d")}.get(command, (command,))
    done = in_background(host, "-f", file, *waits)
    read_until(done, "Waiting" if command == "up" else "Stopping")
    done.send_signal(number)
    out, _ = done.communicate(timeout=30)
    assert done.returncode == 128 + number, out
    assert "error: interrupted" in out
    assert f"`pycompose {command}" in out


JOBS = """  web: {image: host, command: [sh, -c, 'sleep 1; exit 4'], depends_on: [init, db]}
  init: {image: host, command: [sh, -c, 'exit 5']}
  db: {image: host, command: sleep 1000, init: true}
"""


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ((), 0),
        (("--abort-on-container-exit",), 4),
        (("--abort-on-container-failure",), 4),
        (("--exit-code-from", "web"), 4),
    ],
)
def test_the_ends_of_the_named_services_are_those_that_count(
    host: Machine, write: Callable[[str], str], options: tuple[str, ...], code: int
) -> None:
    up = host.pycompose("-f", write(JOBS), "up", *options, "web", check=False, timeout=20)
    assert up.returncode == code, up.stderr
    assert "web-1 exited with code 4" in up.stdout
    assert states(host, "c")["c-db-1"] == ("exited" if options else "running")


def test_logs_follow_over_restarts_and_recreation_and_end_with_the_last_run(
    host: Machine, write: Callable[[str], str]
) -> None:
    file = write(f"  web: {{image: host, command: [sh, -c, \"trap 'exit 0' TERM; echo start; {LOOP}\"]}}\n")
    host.pycompose("-f", file, "up", "-d")
    logs = in_background(host, "-p", "c", "logs", "-f", "web")
    read_until(logs, "start")
    for command in (("restart", "web"), ("restart",), ("up", "-d", "--force-recreate"), ("restart", "web")):
        host.pycompose("-f", file, *command)
        read_until(logs, "start")
    host.pycompose("-f", file, "stop")
    assert logs.communicate(timeout=20)[0].count("start") == 0
    assert logs.returncode == 0


def test_logs_that_are_followed_until_a_moment_end_then(host: Machine, write: Callable[[str], str]) -> None:
    host.pycompose("-f", write("  web: {image: host, command: sleep 1000, init: true}\n"), "up", "-d")
    assert host.pycompose("-p", "c", "logs", "-f", "--until", "0s", timeout=10).stdout == ""
    missing = host.pycompose("-p", "c", "logs", "--index", "3", "web", check=False)
    assert (missing.returncode, 'service "web" is not running container #3' in missing.stderr) == (1, True)


def test_a_wait_ends_with_the_reason_why_a_container_is_not_ready(host: Machine, write: Callable[[str], str]) -> None:
    sick = "{test: [CMD-SHELL, 'echo no database; exit 7'], interval: 200ms, retries: 2}"
    file = write(
        "  die: {image: host, command: [sh, -c, 'exit 3'], profiles: [die]}\n"
        f"  sick: {{image: host, command: sleep 1000, init: true, healthcheck: {sick}, profiles: [sick]}}\n"
        f"  slow: {{image: host, command: sleep 1000, init: true, healthcheck: {sick.replace(' 2}', ' 999}')}}}\n"
        "  app: {image: host, command: sleep 9, depends_on: {slow: {condition: service_healthy}}, profiles: [app]}\n"
    )
    died = host.pycompose("-f", file, "up", "--wait", "die", check=False)
    assert (died.returncode, "error: container c-die-1 exited (3)" in died.stderr) == (1, True), died.stderr
    for command in ("up", "start"):
        unhealthy = host.pycompose("-f", file, command, "--wait", "sick", check=False)
        assert (unhealthy.returncode, "container c-sick-1 is unhealthy" in unhealthy.stderr) == (1, True), (
            unhealthy.stderr
        )
        assert "ended with exit code 7: no database" in unhealthy.stderr
    row = json.loads(host.pycompose("-p", "c", "ps", "--format", "json", "sick").stdout)
    assert {(probe["ExitCode"], probe["Output"]) for probe in row["HealthLog"]} == {(7, "no database\n")}
    late = host.pycompose("-f", file, "up", "--wait", "--wait-timeout", "1", "app", check=False, timeout=20)
    assert (late.returncode, "application not healthy after 1s: slow" in late.stderr) == (1, True), late.stderr


def test_what_is_not_kept_is_shown_to_who_is_attached(host: Machine, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("""
services:
  quiet: {image: host, init: true, command: sh -c 'seq 3000; echo last >&2', logging: {driver: none}}
  left: {image: host, init: true, command: echo no, attach: false}
  talks: {image: host, init: true, command: sh -c 'read x; seq 5; exit 4', stdin_open: true, logging: {driver: none}}
""")
    project = ("-p", "p", "-f", str(file))
    done = host.pycompose(*project, "up", "quiet", "left")
    lines = [line for line in (done.stdout + done.stderr).splitlines() if " | " in line]
    assert lines == [f"quiet-1  | {number}" for number in [*range(1, 3001), "last"]]
    assert host.pycompose(*project, "logs", "quiet").stdout == ""
    again = host.pycompose(*project, "up", "quiet", "left", "--attach", "left").stdout
    assert "left-1  | no" in again
    assert "quiet-1" not in [line.partition(" ")[0] for line in again.splitlines() if " | " in line]
    both = host.pycompose(*project, "up", "quiet", "left", "--no-attach", "quiet").stdout
    assert " | " not in both
    host.pycompose(*project, "up", "-d", "talks")
    attached = host.pycompose(*project, "attach", "talks", check=False, input="go\n")
    assert (attached.returncode, attached.stdout.split()) == (4, ["1", "2", "3", "4", "5"])
    host.pycompose(*project, "down")
