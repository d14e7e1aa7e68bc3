"""`run`: one-off containers, their streams, exit codes, signals and ends. Needs root."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from pycompose.runtime.state import container_record

from .service_tools import Described, until

pytestmark = pytest.mark.usefixtures("root")
TWO = """
services:
  web:
    image: host
    command: [echo, the service itself]
    depends_on: [db]
  db: {image: host, command: [sleep, "1000"], init: true}
"""
ONE = """
services:
  web: {image: host, command: [sleep, "1000"], init: true, restart: always}
"""


class Begun(subprocess.Popen[bytes]):
    """A `run` that goes on beside the test; `input` and `output` are its pipes, where it has them."""

    def __init__(self, project: Described, *arguments: str, **streams: Any) -> None:
        command = project.machine.entering_pycompose("-p", "p", "-f", str(project.file), "run", *arguments)
        super().__init__(command, env=dict(project.machine.environment), **streams)
        BEGUN.append(self)

    @property
    def output(self) -> IO[bytes]:
        assert self.stdout is not None
        return self.stdout


BEGUN: list[Begun] = []


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """Whatever a test has begun is ended with it."""
    yield
    while BEGUN:
        with BEGUN.pop() as process:
            process.kill()


def test_run_ends_with_the_code_of_its_command_and_prints_what_it_prints(project: Described) -> None:
    project.describe(TWO)
    done = project("run", "web", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert done.stderr.endswith("err\n")
    (name,) = set(project.states()) - {"db-1"}
    service, _, number = name.rpartition("-")
    assert service == "web-run"
    assert len(number) == 12
    assert set(number) <= set("0123456789abcdef")
    assert project.states() == {"db-1": "running", name: "exited"}
    assert project.ps()[name]["ExitCode"] == 7


def test_run_without_a_command_is_the_services(project: Described) -> None:
    project.describe(TWO)
    assert project("run", "--rm", "-q", "web").stdout == "the service itself\n"
    assert set(project.states()) == {"db-1"}


@pytest.mark.parametrize(("command", "code"), [(["/no/such/program"], 127), (["/etc/hostname"], 126)])
def test_a_command_that_cannot_be_run_is_told(project: Described, command: list[str], code: int) -> None:
    project.describe(ONE)
    done = project("run", "--rm", "web", *command, check=False)
    assert done.returncode == code
    assert command[0] in done.stderr
    assert project.states() == {}


def test_no_replica_is_touched_and_none_is_counted(project: Described) -> None:
    project.describe(ONE)
    project("up", "-d", "--scale", "web=2")
    before = {name: item["ID"] for name, item in project.ps().items()}
    project("run", "-d", "web")
    project("run", "--rm", "web", "true")
    project("up", "-d", "--scale", "web=2", "--no-recreate")
    after = {name: item["ID"] for name, item in project.ps().items()}
    assert {name: after[name] for name in before} == before
    assert len(after) == 3
    assert [line.split()[0] for line in project("ps").stdout.splitlines()[1:]] == ["p-web-1", "p-web-2"]


def test_run_in_the_background_prints_the_id(project: Described) -> None:
    project.describe(ONE)
    container = project("run", "-d", "web", "sleep", "1000").stdout.strip()
    assert len(container) == 64
    ((name, one),) = project.ps().items()
    assert name == f"web-run-{container[:12]}"
    assert container.startswith(one["ID"])
    assert (one["State"], one["Service"]) == ("running", "web")


def test_it_is_not_started_again_whatever_its_service_says(project: Described) -> None:
    project.describe(ONE.replace('sleep, "1000"', "true"))
    project("run", "-d", "web", "false")
    until(lambda: set(project.states().values()) == {"exited"})
    time.sleep(0.5)
    assert set(project.states().values()) == {"exited"}


# --- streams ---


def test_a_hundred_megabytes_go_in_and_out_unchanged(project: Described, tmp_path: Path) -> None:
    project.describe(ONE)
    piece = os.urandom(1 << 20)
    source, target = tmp_path / "in", tmp_path / "out"
    with source.open("wb") as file:
        for _ in range(100):
            file.write(piece)
    with source.open("rb") as file, target.open("wb") as out:
        process = Begun(project, "--rm", "-T", "web", "cat", stdin=file, stdout=out)
        assert process.wait(60) == 0
    digest = hashlib.sha256(piece * 100).hexdigest()
    assert hashlib.sha256(target.read_bytes()).hexdigest() == digest
    reader = Begun(project, "--rm", "-T", "web", "sha256sum", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert reader.communicate(piece * 100, 60)[0].decode().split()[0] == digest


def test_a_command_that_reads_no_more_ends_the_run(project: Described) -> None:
    project.describe(ONE)
    process = Begun(project, "--rm", "-T", "web", "head", "-c", "10", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    output, _ = process.communicate(b"0123456789" * 1_000_000, 60)
    assert (process.returncode, output) == (0, b"0123456789")


def test_a_reader_that_goes_away_ends_the_command(project: Described) -> None:
    project.describe(ONE)
    process = Begun(project, "--rm", "-T", "web", "yes", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.output.readline() == b"y\n"
    process.output.close()
    process.wait(30)
    assert project.states() == {}


def test_a_full_disk_is_told(project: Described) -> None:
    project.describe(ONE)
    with open("/dev/full", "wb") as full:
        process = Begun(
            project, "--rm", "-T", "web", "yes", stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE
        )
        _, said = process.communicate(timeout=30)
    assert process.returncode != 0
    assert b"No space left on device" in said
    assert b"Traceback" not in said


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_closed_descriptors_do_no_harm(project: Described, closed: int) -> None:
    project.describe(ONE)
    process = Begun(project, "--rm", "web", "sh", "-c", "echo a; exit 5", preexec_fn=lambda: os.close(closed))
    assert process.wait(30) == 5


def test_without_interactive_nothing_is_read(project: Described) -> None:
    project.describe(ONE)
    process = Begun(project, "--rm", "-i=false", "-T", "web", "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.output.read() == b""
    assert process.wait(30) == 0


# --- ends ---


def test_a_killed_run_leaves_its_container_and_then_it_is_removed(project: Described) -> None:
    project.describe(TWO)
    process = Begun(project, "--rm", "-T", "web", "sh", "-c", "read line; sleep 2", stdin=subprocess.PIPE)
    until(lambda: "running" in [state for name, state in project.states().items() if name != "db-1"])
    process.kill()
    process.wait()
    assert len(project.states()) == 2
    until(lambda: set(project.states()) == {"db-1"})


def test_what_is_printed_after_the_run_was_killed_is_logged(project: Described) -> None:
    project.describe(ONE)
    script = "echo before; read line; while true; do echo after; sleep 0.1; done"
    process = Begun(project, "-T", "web", "sh", "-c", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.output.readline() == b"before\n"
    process.kill()
    process.communicate()
    ((name, _),) = project.ps().items()
    log = f"cat {project.machine.state}/projects/p/containers/*/log"
    until(lambda: "after" in project.machine.run("sh", "-c", log).stdout)
    assert "before" not in project.machine.run("sh", "-c", log).stdout
    assert name.startswith("web-run-")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGWINCH])
def test_signals_reach_the_command(project: Described, number: signal.Signals) -> None:
    project.describe(ONE)
    script = (
        "import os, signal, sys\n"
        "def heard(n, _):\n"
        "    os.write(1, signal.Signals(n).name.encode())\n"
        "    os._exit(9)\n"
        f"signal.signal({int(number)}, heard)\n"
        "os.write(1, b'ready\\n')\n"
        "while True: signal.pause()\n"
    )
    process = Begun(
        project, "--rm", "-T", "web", "python3", "-c", script, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert process.output.readline() == b"ready\n"
    process.send_signal(number)
    assert process.output.read().decode().strip() == number.name
    assert process.wait(30) == 9


def test_one_who_does_not_heed_is_left_after_three_requests(project: Described) -> None:
    project.describe(ONE.replace("init: true, ", ""))
    process = Begun(project, "-T", "web", "sleep", "1000", stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until(lambda: "running" in project.states().values())
    time.sleep(0.5)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert b"got 3 SIGTERM/SIGINTs, forcefully exiting" in said
    assert list(project.states().values()) == ["running"]


def test_an_interrupt_before_it_runs_leaves_no_one_off(project: Described) -> None:
    project.describe(
        TWO.replace("[db]", "{db: {condition: service_healthy}}").replace(
            "init: true}", "init: true, healthcheck: {test: 'false', start_period: 100s, interval: 100s}}"
        )
    )
    process = Begun(project, "--rm", "web", "true", stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until(lambda: project.states().get("db-1") == "running")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert set(project.states()) == {"db-1"}


def test_a_run_of_a_project_that_is_not_up_leaves_no_helper(project: Described) -> None:
    project.describe(ONE)
    project("run", "--rm", "web", "true")
    assert not Path(f"/proc/{project.machine.pid}/root{project.machine.run_folder}/p").exists()


def test_the_keeper_may_be_killed_meanwhile(project: Described) -> None:
    project.describe(ONE)
    process = Begun(project, "-T", "web", "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    until(lambda: "running" in project.states().values())
    socket = f"/proc/{project.machine.pid}/root{project.machine.run_folder}/p/keeper.sock"
    os.kill(keeper_of(project), signal.SIGKILL)
    assert Path(socket).exists()
    piece = os.urandom(1 << 20)
    output, _ = process.communicate(piece * 10, 30)
    assert process.returncode == 0
    assert output == piece * 10
    assert set(project.states().values()) == {"exited"}


def keeper_of(project: Described) -> int:
    """The parent of what runs in the container."""
    places = f"/proc/{project.machine.pid}/root{project.machine.state}/projects/p/containers"
    (folder,) = Path(places).iterdir()
    pid = container_record.read(str(folder / "process.json"))["pid"]
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_the_supervisor_may_be_killed_meanwhile(project: Described, tmp_path: Path) -> None:
    project.describe(ONE)
    with open(tmp_path / "told", "w+") as told:
        process = Begun(project, "--rm", "-T", "web", "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told)
        until(lambda: "Started" in (tmp_path / "told").read_text())  # it runs a moment before its start is over
    places = f"/proc/{project.machine.pid}/root{project.machine.run_folder}/p/supervisor.json"
    os.kill(container_record.read(places)["pid"], signal.SIGKILL)
    output, _ = process.communicate(b"all the same\n", 30)
    assert (process.returncode, output) == (0, b"all the same\n")
    until(lambda: project.states() == {})
