"""A user's program that lives with a project by the Python API: run by `test_api`, on a machine of its own."""

from __future__ import annotations

import os
import sys
import threading
import time
import urllib.request
from datetime import timedelta
from pathlib import Path

import pytest
from pycompose import (
    CommandFailed,
    CommandTimeout,
    Completed,
    Container,
    LogEntry,
    Plan,
    Project,
    PycomposeError,
    Service,
    WaitTimeout,
)

FILE = """
name: demo
services:
  web:
    image: host
    init: true
    command: [PYTHON, -m, http.server, "8000", --directory, /srv]
    stop_grace_period: 0s
    ports: ["8080:8000"]
    healthcheck: {test: [CMD-SHELL, "test -d /srv"], interval: 1s, start_interval: 0.1s, start_period: 60s}
  worker:
    image: host
    init: true
    environment: {WHO: "${WHO:-nobody}"}
    command: [sh, -c, "echo $$WHO; exec sleep 3000"]
    stop_grace_period: 0s
  once: {image: host, command: sh -c 'exit 3', profiles: [once]}
""".replace("PYTHON", sys.executable)


def reached(url: str) -> int:
    """The status of what a server that may still be coming up answers."""
    end = time.monotonic() + 60
    while True:
        try:
            return int(urllib.request.urlopen(url, timeout=60).status)
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(0.05)


def life(project: Project) -> None:
    events: list[object] = []
    plan: Plan = project.plan(scale={"worker": 2})
    assert {"create demo-web-1", "start demo-worker-2"} <= {step.id for step in plan.steps}
    assert project.containers == []
    with_progress = project.up(scale={"worker": 2}, wait=True, wait_timeout=60, progress=events.append)
    assert len(with_progress.steps) > len(plan.steps)
    assert events
    assert not project.up(no_recreate=True, scale={"worker": 2}).steps

    web: Service = project["web"]
    assert (web.status, web.health) == ("running", "healthy")
    assert web.port(8000) == ("127.0.0.1", 8080)
    for address in (f"{web.address}:8000", "127.0.0.1:8080"):
        assert reached(f"http://{address}/") == 200

    names = [one.name for one in project["worker"].containers]
    assert names == ["demo-worker-1", "demo-worker-2"]
    assert len(set(project["worker"].addresses)) == 2
    assert "remove demo-worker-2" in [step.id for step in project.scale({"worker": 1}).steps]
    assert [one.name for one in project["worker"].containers] == ["demo-worker-1"]
    project["worker"].scale(2)
    project.pause("worker")
    assert project["worker"].status == "paused"
    project.unpause("worker")
    project.stop("worker")
    assert [one.name for one in project.ps()] == ["demo-web-1"]
    assert [one.status for one in project.ps("worker", all=True)] == ["exited", "exited"]
    project.start(wait=True)
    before = project.container("demo-worker-1")
    project.restart("worker", timeout=0)
    assert before.started is not None
    now = before.refresh().started
    assert now is not None
    assert now > before.started


def inside(project: Project) -> None:
    container: Container = project["worker"].container(2)
    completed: Completed = container.exec(["cat", "-"], input="text of mine")
    assert (completed.returncode, completed.stdout, completed.stderr) == (0, "text of mine", "")
    assert project.exec("worker", "echo $A; pwd", env={"A": "b"}, workdir="/tmp").stdout == "b\n/tmp\n"
    large = os.urandom(1 << 20)
    assert container.exec(["cat"], input=large).stdout_bytes == large
    with pytest.raises(CommandFailed) as failed:
        container.exec("echo why >&2; exit 7", check=True)
    assert (failed.value.exit_code, failed.value.completed.stderr) == (7, "why\n")
    with pytest.raises(CommandTimeout) as late:
        container.exec("echo begun; sleep 3000.5", timeout=2)
    assert late.value.completed.stdout == "begun\n"
    assert container.exec("ps ax | grep '[s]leep 3000.5'").stdout == ""
    with pytest.raises(PycomposeError) as unknown:
        container.exec(["no-such-program"])
    assert unknown.value.exit_code == 127


def one_offs(project: Project) -> None:
    assert project.run("worker", "cat; echo $WHO", input=b"x", rm=True, env={"WHO": "you"}).stdout == "xyou\n"
    assert project.run("once").returncode == 3
    with pytest.raises(TimeoutError):
        project.run("worker", ["sleep", "3000.5"], rm=True, timeout=2)
    assert [one.name for one in project.containers if "-worker-run-" in one.name] == []
    container = project.run_detached("worker", "exit 4", name="detached")
    assert (container.name, container.wait(60), container.refresh().exit_code) == ("detached", 4, 4)
    project.rm()


def looks(project: Project) -> None:
    project.up(scale={"worker": 2}, force_recreate=True)
    lines: list[LogEntry] = []

    def follow() -> None:
        for entry in project.logs("worker", follow=True, since=timedelta(hours=1)):
            lines.append(entry)
            if len(lines) == 2:
                both.set()

    both = threading.Event()
    thread = threading.Thread(target=follow)
    thread.start()
    assert both.wait(60)
    with pytest.raises(WaitTimeout):
        project.wait("worker", timeout=0.1)
    project["worker"].kill()
    thread.join(60)
    assert not thread.is_alive()
    assert sorted(entry.container for entry in lines) == ["demo-worker-1", "demo-worker-2"]
    assert {entry.text for entry in lines} == {os.environ.get("WHO", "nobody")}
    assert project["worker"].wait(60) == {"demo-worker-1": 137, "demo-worker-2": 137}
    assert [str(entry) for entry in project["worker"].logs(tail=1)] == [entry.text for entry in lines]


def around(project: Project, folder: Path) -> None:
    """Copies, events, measurements, images; builds are the same as the command's."""
    project.up(scale={"worker": 2})
    (folder / "in").write_text("copied")
    project.cp(folder / "in", "worker:/tmp/copied")
    assert project.exec("worker", ["cat", "/tmp/copied"], index=2).stdout == "copied"
    project.cp("worker:/tmp/copied", folder / "out")
    assert (folder / "out").read_text() == "copied"
    project["worker"].restart(timeout=0)
    actions = [event.action for event in project.events("worker", since=timedelta(minutes=10), until=timedelta(0))]
    assert {"create", "start", "die", "restart"} <= set(actions)
    happened = threading.Thread(target=lambda: seen.append(next(project.events("web")).action))
    seen: list[str] = []
    happened.start()
    while not seen:
        project["web"].kill("SIGUSR2")
        project.start("web")
    happened.join(60)
    measured = {one.container: one for one in project.stats("worker", interval=0.1)}
    assert set(measured) == {"demo-worker-1", "demo-worker-2"}
    assert all(one.memory is None or one.memory > 0 for one in measured.values())
    assert {(one.service, one.name) for one in project.images()} >= {("web", "host"), ("worker", "host")}
    assert "running" in project.graph()
    assert project.build() == {}
    project.pull()


def side_by_side(project: Project) -> None:
    """Calls of several threads wait for each other, as commands do."""
    errors: list[BaseException] = []

    def call(count: int) -> None:
        try:
            project.scale({"worker": count})
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=(count,)) for count in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    assert len(project["worker"].containers) in (1, 2, 3)


def main() -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    os.chdir("/tmp")
    file = Path(sys.argv[1])
    file.write_text(FILE)
    project = Project.load(file)
    life(project)
    inside(project)
    one_offs(project)
    looks(project)
    around(project, file.parent)
    side_by_side(project)
    again = Project.named("demo")
    assert again.containers == project.containers
    again.down(volumes=True)
    assert project.containers == []
    with project.running("worker") as running:
        assert running["worker"].status == "running"
    assert project.containers == []
    assert threading.active_count() == 1
    assert len(os.listdir("/proc/self/fd")) == descriptors


if __name__ == "__main__":
    main()
