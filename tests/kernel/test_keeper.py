"""The keeper against the kernel: what it does beside many containers, and what a new one finds of one that was killed.

Needs root.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from pycompose.runtime.client.blocking import BlockingKeeper, connect_keeper, end_keeper
from pycompose.runtime.client.process import open_input
from pycompose.runtime.errors import KeeperGone, StartFailed
from pycompose.runtime.keeper import messages
from pycompose.runtime.keeper.launch import launch_keeper
from pycompose.runtime.keeper.messages import (
    Answer,
    Done,
    Ended,
    Exec,
    Executing,
    FindSandbox,
    GiveBack,
    GivenBack,
    Go,
    ListRunning,
    Prepared,
    Request,
    RunningIds,
    SandboxAt,
    Start,
    Subscribe,
)
from pycompose.runtime.places import Places, ProjectPlaces
from pycompose.runtime.policy import profile
from pycompose.runtime.policy.cgroup import of_helpers
from pycompose.runtime.spec import Bundle, HostRoot, InsideSocket, Linux, Namespace, Process, Spec, to_json
from pycompose.runtime.state import container_record, logs

from .conftest import cgroups

pytestmark = pytest.mark.usefixtures("root")
LINUX = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
A = TypeVar("A", bound=Answer)
SECONDS = 20  # until something that must come is missed


class Project:
    """A project of bare containers, and connections to its keeper."""

    def __init__(self, places: ProjectPlaces) -> None:
        self.places = places
        self.launch()

    def launch(self) -> None:
        launch_keeper(self.places)
        self.keeper, self.events = BlockingKeeper(self.places, SECONDS), connect_keeper(self.places)
        self.events.settimeout(SECONDS)
        messages.send(self.events, Subscribe())
        assert messages.receive(self.events)[0] == Done()

    def keeper_pid(self) -> int:
        return int(struct.unpack("3i", self.events.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])

    def kill_keeper(self) -> None:
        pid = self.keeper_pid()
        dead = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        assert select.select([dead], [], [], SECONDS)[0]
        os.close(dead)
        self.close()

    def close(self) -> None:
        self.keeper.__exit__()
        self.events.close()

    def ask(self, request: Request, wanted: type[A]) -> A:
        answer, self.passed = self.keeper.ask(request, wanted)
        if wanted is not SandboxAt:
            messages.close_all(self.passed)
        return answer

    def running(self) -> tuple[str, ...]:
        return self.ask(ListRunning(), RunningIds).ids

    def create(self, name: str, script: str, terminal: bool = False, **more: object) -> Path:
        folder = Path(self.places.container(name))
        folder.mkdir(parents=True)
        kinds = ("mount", "pid", "network", "uts", "ipc")
        process = Process(("/bin/sh", "-c", script), env=("PATH=/usr/bin:/bin",), terminal=terminal)
        mounts = profile.default_spec_parts().mounts if terminal else ()
        spec = Spec(
            process, mounts=mounts, linux=Linux(tuple(Namespace(kind) for kind in kinds), cgroups_path=f"keeper/{name}")
        )
        bundle = replace(Bundle(spec, HostRoot(str(folder / "root"))), **more)  # type: ignore[arg-type]
        (folder / "bundle.json").write_text(to_json(bundle))
        container_record.write(f"{folder}/state.json", {"name": name, "created": 1})
        return folder

    def run(self, name: str, script: str, terminal: bool = False, **more: object) -> Path:
        folder = self.create(name, script, terminal, **more)
        self.ask(Start(name), Prepared)
        self.ask(Go(name), Done)
        return folder

    def ended(self, name: str) -> int | None:
        while True:
            event, _ = messages.receive(self.events)
            assert event is not None
            if isinstance(event, Ended) and event.id == name:
                return event.code

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        self.ask(FindSandbox(name), SandboxAt)
        signal.pidfd_send_signal(self.passed[0], number)
        messages.close_all(self.passed)

    def text(self, name: str) -> str:
        return "".join(
            line.text + ("\n" if line.whole else "") for line in logs.read(f"{self.places.container(name)}/log")
        )

    def await_line(self, name: str, text: str) -> None:
        """The log's own end tells when to look again."""
        path = f"{self.places.container(name)}/log"
        for line in logs.follow(path, wait=SECONDS, start=True):
            if line is None:
                raise AssertionError(f"{text!r} never came")
            if text in line.text:
                return


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    tree = f"pycompose-test-{os.getpid()}-keeper"
    monkeypatch.setenv("PYCOMPOSE_CGROUP", tree)
    made = Project(Places(str(tmp_path / "state"), str(tmp_path / "run")).project("test"))
    try:
        yield made
    finally:
        for name in made.running():
            made.kill(name)
            made.ended(name)
        assert end_keeper(made.places, SECONDS)
        assert made.events.recv(1) == b"", "the keeper is still there"
        made.close()
    assert cgroups(tree) == set()
    assert not Path(made.places.run).exists()


def test_a_container_runs_and_its_end_and_output_are_recorded(project: Project) -> None:
    launch_keeper(project.places)  # the same one
    folder = project.run("one", "echo hi; exit 3")
    assert project.ended("one") == 3
    assert json.loads((folder / "exit.json").read_text())["code"] == 3
    assert (folder / "log").read_bytes().endswith(b"Z stdout F hi\n")
    assert not os.path.exists(project.places.output("one"))


def test_no_line_is_lost_or_doubled_when_the_keeper_is_killed_again_and_again(project: Project) -> None:
    project.run("one", "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); echo line-$i; done")
    for _ in range(4):
        project.kill_keeper()
        project.launch()
    if "one" in project.running():
        project.ended("one")
    assert project.text("one").split() == [f"line-{n}" for n in range(1, 60001)]


def test_a_container_that_ends_after_its_keeper_was_killed_has_its_exit_code(project: Project) -> None:
    folder = project.run("one", "read x; exit 7", stdin_open=True)
    project.kill_keeper()
    project.launch()
    (folder / "in").write_text("go\n")
    assert project.ended("one") == 7


def test_a_container_that_ends_while_there_is_no_keeper_has_its_exit_code_and_last_words(project: Project) -> None:
    folder = project.run("one", "read x; echo bye; exit 9", stdin_open=True)
    project.ask(FindSandbox("one"), SandboxAt)
    process = project.passed
    project.kill_keeper()
    (folder / "in").write_text("go\n")
    assert select.select([process[0]], [], [], SECONDS)[0]
    project.launch()
    messages.close_all(process)
    assert project.running() == ()
    told = json.loads((folder / "exit.json").read_text())["code"]
    assert told == (9 if LINUX >= (6, 15) else None), "whoever is not the parent can ask a pidfd since Linux 6.15"
    assert project.text("one") == "bye\n"


def test_a_terminal_survives_its_keeper(project: Project) -> None:
    project.run("one", "trap 'echo still; exit 5' USR1; echo up; while :; do sleep 0.02; done", terminal=True)
    project.await_line("one", "up")
    project.kill_keeper()
    project.launch()
    project.kill("one", signal.SIGUSR1)
    assert project.ended("one") == 5
    assert "still" in project.text("one")


def test_sockets_inside_are_handed_out_by_the_next_keeper_with_and_without_the_store(project: Project) -> None:
    wanted = (InsideSocket("route"), InsideSocket("udp", "127.0.0.11"), InsideSocket("tcp", "127.0.0.11"))
    project.run("one", "exec sleep 1000", sockets=wanted)

    def ports() -> list[int]:
        project.ask(FindSandbox("one"), SandboxAt)
        found = []
        for fd in project.passed[3:]:
            with socket.socket(fileno=fd) as made:
                found.append(made.getsockname()[1])
        messages.close_all(project.passed[:3])
        return found

    before = ports()
    project.kill_keeper()
    project.launch()
    assert ports() == before
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as store:
        store.connect(project.places.store_socket)
        messages.send(store, GiveBack())
        pid = 0
        while not pid:
            told, fds = messages.receive(store)
            messages.close_all(fds)
            pid = told.pid if isinstance(told, GivenBack) else 0
    project.kill_keeper()
    os.kill(pid, signal.SIGKILL)
    project.launch()
    assert len(ports()) == 2
    assert all(ports())


def test_a_keeper_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = f"pycompose-test-{os.getpid()}-keeper"
    monkeypatch.setenv("PYCOMPOSE_CGROUP", tree)
    places = Places(str(tmp_path / "state"), str(tmp_path / "run")).project("test")
    Path(places.keeper_socket).mkdir(parents=True)
    try:
        with pytest.raises(KeeperGone, match=rf"did not start \({places.keeper_socket}: Is a directory\)"):
            launch_keeper(places)
    finally:
        assert of_helpers("test").remove()


def test_a_keeper_that_does_not_answer_gets_no_second_one_beside_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both would read what the containers write. Stopped, it is as one that can accept nobody."""
    pid = project.keeper_pid()
    monkeypatch.setattr("pycompose.runtime.keeper.launch.PATIENCE", 0.2)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(KeeperGone, match=f"process {pid} is that keeper and does not answer") as failure:
            launch_keeper(project.places)
        assert f"kill -9 {pid}" in failure.value.hint
    finally:
        os.kill(pid, signal.SIGCONT)
    monkeypatch.setattr("pycompose.runtime.keeper.launch.PATIENCE", SECONDS)
    assert not launch_keeper(project.places)  # the same one
    with BlockingKeeper(project.places, SECONDS) as keeper:
        assert keeper.pid == pid


def test_what_was_begun_is_gone_with_whoever_began_it(project: Project) -> None:
    folder = project.create("one", "exit 0")
    with BlockingKeeper(project.places, SECONDS) as starter:
        messages.close_all(starter.ask(Start("one"), Prepared)[1])
    while project.running():
        pass
    assert not (folder / "exit.json").exists()
    assert not (folder / "process.json").exists()


def test_what_cannot_be_run_is_told_with_its_exit_code(project: Project) -> None:
    for name, command, code in (("one", "/no/such", 127), ("two", "/etc/passwd", 126)):
        folder = project.create(name, "")
        bundle = json.loads((folder / "bundle.json").read_text())
        bundle["spec"]["process"]["args"] = [command]
        (folder / "bundle.json").write_text(json.dumps(bundle))
        project.ask(Start(name), Prepared)
        with pytest.raises(StartFailed) as failure:
            project.ask(Go(name), Done)
        assert (failure.value.exit_code, failure.value.step) == (code, "exec")
        assert name not in project.running()


def test_a_client_that_sends_nonsense_or_does_not_read_disturbs_nobody(project: Project) -> None:
    with connect_keeper(project.places) as bad:
        for nonsense in (b"{", b"[]", b"\xff", b'{"is": "__init__"}', b'{"is": "Start", "id": "../x"}', b'{"is": []}'):
            bad.send(nonsense)
            assert json.loads(bad.recv(4096))["is"] == "Refusal"
        bad.setblocking(False)
        with suppress(BlockingIOError, ConnectionError):
            for _ in range(100_000):
                bad.send(b'{"is": "ListRunning"}')
        project.run("one", "echo hi")
        assert project.ended("one") == 0


def test_a_container_that_floods_its_log_does_not_starve_another(project: Project) -> None:
    project.run("loud", "yes 0123456789012345678901234567890123456789 | head -n 500000; exit 2")
    project.run("quiet", "echo here; exit 4")
    assert project.ended("quiet") == 4
    assert project.ended("loud") == 2
    with open(f"{project.places.container('loud')}/log", "rb") as file:
        assert sum(1 for line in file if line[30:].startswith(b" stdout F ")) == 500_000


def test_an_exec_is_killed_with_its_client_only_if_it_is_bound_to_it(project: Project) -> None:
    project.run("one", "exec sleep 1000")
    process = json.loads(to_json(Process(("/bin/sh", "-c", "echo $$; exec sleep 1000"), env=("PATH=/usr/bin:/bin",))))
    for bound in (True, False):
        with BlockingKeeper(project.places, SECONDS) as client:
            answer, (reader,) = client.ask(Exec("one", process, bound=bound), Executing)
            pidfd = os.pidfd_open(answer.pid)
            assert os.read(reader, 100)
        assert bool(select.select([pidfd], [], [], SECONDS if bound else 0.1)[0]) is bound
        os.close(pidfd)
        os.close(reader)


def test_what_is_written_to_an_open_stdin_or_terminal_arrives(project: Project) -> None:
    for name, terminal in (("pipe", False), ("terminal", True)):
        project.run(name, "read line; echo got $line", terminal, stdin_open=True)
        target = open_input(project.places, name)
        os.write(target, b"hello\n")
        os.close(target)
        project.await_line(name, "got hello")
    project.run("closed", "exec sleep 100")
    with pytest.raises(StartFailed, match="stdin is not open"):
        open_input(project.places, "closed")


def test_a_container_of_another_boot_has_ended_and_nobody_knows_how(project: Project) -> None:
    folder = project.create("one", "exit 0")
    container_record.write(f"{folder}/process.json", {"pid": 1, "start_time": 1, "boot_id": "before", "started": 1})
    project.kill_keeper()
    project.launch()
    assert json.loads((folder / "exit.json").read_text())["code"] is None
    seen = container_record.read_container(project.places, "one")
    assert seen
    assert seen.status == "exited"


def test_sigterm_ends_the_keeper_only_when_nothing_runs(project: Project) -> None:
    project.run("one", "exec sleep 1000")
    os.kill(project.keeper_pid(), signal.SIGTERM)
    os.kill(project.keeper_pid(), signal.SIGINT)
    assert project.running() == ("one",)
