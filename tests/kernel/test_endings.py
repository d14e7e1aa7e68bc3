"""Bad things end well: a clear message, the right exit code, no traceback, and nothing left but what one asked to keep.

After each the next `up` or `down` works. (A kill at every step is test_faults.py's.)
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import CGROUPS, Machine, cgroups, processes
from .service_tools import Described, until

GOOD = """
services:
  db: {image: host, command: sleep 1000, stop_signal: SIGKILL, volumes: [data:/data]}
  web: {image: host, command: sleep 1000, stop_signal: SIGKILL, ports: ["8080:80"], depends_on: [db]}
volumes: {data: {}}
"""


@pytest.fixture
def project(host: Machine, tmp_path: Path) -> Iterator[Described]:
    """At its end the project comes up, goes down, and has left no file, link, mount, process, … (`host` looks)."""
    described = Described(host, tmp_path / "compose.yaml")
    yield described
    described.describe(GOOD)
    described("up", "-d", "--remove-orphans", "-t", "0")
    assert described.states() == {"db-1": "running", "web-1": "running"}
    described("down", "-v", "-t", "0")
    volumes = f"{host.state}/volumes"
    assert host.run("find", volumes, "-mindepth", "1", "-not", "-name", ".*", check=False).stdout == ""


def refused(project: Described, *told: str, command: tuple[str, ...] = ("up", "-d")) -> str:
    done = project(*command, check=False)
    assert done.returncode == 1, done.stderr
    for text in told:
        assert text in done.stderr
    assert "internal error" not in done.stderr
    return done.stderr


def begun(project: Described, *command: str) -> subprocess.Popen[str]:
    """The command, while it runs; signals go to it alone."""
    return subprocess.Popen(
        project.machine.entering_pycompose("-p", "p", "-f", str(project.file), *command),
        env=dict(project.machine.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def hears_signals(pid: int) -> bool:
    """Whether the command has begun: before it catches SIGTERM an interrupt meets Python's own start alone."""
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text(), re.M)
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ("services:\n  web: {image: host\n", r":\d+:\d+:", ""),
        ("services:\n  web: {image: host, comand: x}\n", ":2:22:", "command"),
        ("services:\n  web: {image: host, ports: [x]}\n", ":2:30:", "x"),
        ("services:\n  web: {image: host, depends_on: [dbb]}\n  db: {image: host}\n", ":2:35:", "db"),
        (
            "services:\n  a: {image: host, depends_on: [b]}\n  b: {image: host, depends_on: [a]}\n",
            "",
            "a -> b -> a",
        ),
        ("services:\n  web: {image: host, command: x, mem_limit: lots}\n", ":2:", "lots"),
        ("services:\n  web: {command: x}\n", ":2:", "image"),
        ("", "", ""),
    ],
)
def test_a_bad_file_is_told_by_its_place_and_nothing_is_made(
    project: Described, text: str, place: str, told: str
) -> None:
    project.describe(text)
    said = refused(project, told)
    assert "compose.yaml" in said or not place
    assert re.search(rf"compose\.yaml{place}", said) if place else said
    assert not os.path.exists(f"{project.machine.run_folder}/p")


def test_no_file_at_all(project: Described) -> None:
    refused(project, "compose.yaml")
    assert project("down", check=False).returncode in (0, 1)


def test_a_missing_image_is_told_before_anything_is_made(project: Described) -> None:
    project.describe("services:\n  web: {image: example.org/nothing:1, command: x}\n  ok: {image: host, command: x}\n")
    refused(project, "example.org/nothing:1")
    assert project.states() == {}


def test_a_command_that_does_not_exist(project: Described) -> None:
    project.describe("""
services:
  path: {image: host, command: no-such-program}
  file: {image: host, command: /no/such/program}
  denied: {image: host, command: /etc/passwd}
  good: {image: host, command: sleep 1000, stop_signal: SIGKILL}
""")
    refused(project, "no-such-program", "/no/such/program", "/etc/passwd", "p-path-1", "p-file-1", "p-denied-1")
    states = project.states()
    assert states["good-1"] == "running"
    assert "running" not in (states["path-1"], states["file-1"], states["denied-1"])
    assert project.ps()["path-1"]["ExitCode"] == 127
    assert project.ps()["denied-1"]["ExitCode"] == 126
    gone = project("exec", "-T", "good", "no-such-program", check=False)
    assert gone.returncode == 127
    assert "no-such-program" in gone.stderr
    assert project("exec", "-T", "good", "/etc/passwd", check=False).returncode == 126


def test_a_port_in_use(project: Described) -> None:
    holder = "import socket, sys; s = socket.create_server(('0.0.0.0', 8080)); print(1, flush=True); sys.stdin.read()"
    inside = project.machine.entering(sys.executable, "-c", holder)
    with subprocess.Popen(inside, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as held:
        assert held.stdout is not None
        assert held.stdin is not None
        held.stdout.readline()
        project.describe(GOOD)
        refused(project, "8080", "in use")
        assert project.states()["db-1"] == "running"
        assert project.states()["web-1"] != "running"
        held.stdin.close()
    project("up", "-d")
    assert project.states()["web-1"] == "running"


def test_a_port_that_another_project_has(project: Described) -> None:
    project.describe(GOOD)
    project("up", "-d", "web")
    other = project.machine.pycompose("-p", "q", "-f", str(project.file), "up", "-d", check=False)
    assert other.returncode == 1
    assert "8080" in other.stderr
    project.machine.pycompose("-p", "q", "down", "-v", "-t", "0")
    assert project.states()["web-1"] == "running"


def test_a_subnet_that_is_taken(project: Described) -> None:
    project.machine.run("ip", "link", "add", "other", "type", "bridge")
    project.machine.run("ip", "addr", "add", "10.99.0.1/24", "dev", "other")
    project.machine.run("ip", "link", "set", "other", "up")
    project.describe("""
services: {web: {image: host, command: sleep 1000, stop_signal: SIGKILL}}
networks: {default: {ipam: {config: [{subnet: 10.99.0.0/16}]}}}
""")
    refused(project, "10.99.0.0/16")
    project.machine.run("ip", "link", "del", "other")
    project("up", "-d")
    assert project.states() == {"web-1": "running"}


# room and memory


def test_a_disk_without_room_for_another_container(project: Described) -> None:
    state = project.machine.state
    project.describe(GOOD)
    project("up", "-d")
    project.machine.run("mount", "-o", "remount,size=8m", state)
    project.machine.run("sh", "-c", f"cat /dev/zero > {state}/filler", check=False)
    refused(project, "No space left on device", command=("scale", "web=3"))
    assert project.states()["web-1"] == "running"
    assert project.inside("db", "echo lives") == "lives"
    wrote = project("exec", "-T", "db", "sh", "-c", "cat /etc/passwd > /data/x", check=False)
    assert wrote.returncode != 0
    assert "No space left" in wrote.stderr
    project("stop", "-t", "0")
    project("down", "-v", "-t", "0")  # needs no room
    refused(project, "No space left on device")
    project.machine.run("rm", f"{state}/filler")
    project("up", "-d")
    project.machine.run("mount", "-o", "remount,size=50%", state)


def test_a_disk_that_a_service_fills_costs_it_its_output_and_nobody_else_anything(project: Described) -> None:
    state = project.machine.state
    project.machine.run("mount", "-o", "remount,size=6m", state)
    project.describe("""
services:
  fills:
    image: host
    depends_on: [other]
    command: ["sh", "-c", "cat /dev/zero > /fill; seq 1 20000; rm /fill; echo more; sleep 0.2; echo end"]
  other: {image: host, command: sleep 1000, stop_signal: SIGKILL}
""")
    project("up", "-d")
    project("wait", "fills")
    assert project.ps()["fills-1"]["ExitCode"] == 0
    assert project.states()["other-1"] == "running"
    said = project("logs", "--no-log-prefix", "fills")
    assert said.stdout.splitlines()[-1] == "end"
    assert "bytes of log were lost" in said.stderr
    project.machine.run("mount", "-o", "remount,size=50%", state)


def test_a_memory_limit_that_is_hit_is_told(project: Described) -> None:
    greedy = "x = []\\nfor i in range(100): x.append(b'x' * (1 << 20)); print(i, flush=True)"
    project.describe(f"""
services:
  greedy:
    image: host
    mem_limit: 24m
    memswap_limit: 24m
    command: ["python3", "-c", "{greedy}"]
  child:
    image: host
    mem_limit: 24m
    memswap_limit: 24m
    command: ["sh", "-c", "python3 -c 'x = b\\"x\\" * (100 << 20)'; echo ended with $$?; exec sleep 1000"]
    stop_signal: SIGKILL
""")
    project("up", "-d")
    project("wait", "greedy", check=False)
    until(lambda: project.logs("child"))
    listed = project.ps()
    assert listed["greedy-1"]["ExitCode"] == 137
    assert "out of memory" in listed["greedy-1"]["Status"]
    said = project.logs("greedy")
    assert said == [str(number) for number in range(len(said))]
    assert project.logs("child") == ["ended with 137"]
    assert listed["child-1"]["State"] == "running"
    shown = project("up", "greedy", check=False)
    assert "greedy-1 exited with code 137 (out of memory)" in shown.stdout


# interruptions


@pytest.mark.parametrize("moment", [0, 0.1, 0.25, "Creating", "Created", "Starting", "Started"])
def test_ctrl_c_at_any_moment_of_up_in_the_background(project: Described, moment: float | str) -> None:
    project.describe(GOOD.replace("SIGKILL", "SIGTERM, stop_grace_period: 0s"))
    up = begun(project, "up", "-d")
    assert up.stderr is not None
    seen = ""
    if isinstance(moment, str):
        for line in up.stderr:
            seen += line
            if moment in line:
                break
    else:
        until(lambda: hears_signals(up.pid))
        time.sleep(moment)
    up.send_signal(signal.SIGINT)
    _, more = up.communicate(timeout=60)
    assert "Traceback" not in seen + more
    assert up.returncode in (0, 130, -signal.SIGINT)
    if up.returncode and "Creating" in seen:
        assert "interrupted" in more
    project("up", "-d")
    assert project.states() == {"db-1": "running", "web-1": "running"}


def test_ctrl_c_stops_an_attached_up_gracefully_and_the_second_kills(project: Described) -> None:
    project.describe("""
services:
  polite: {image: host, command: ["sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"]}
  deaf: {image: host, command: ["sh", "-c", "trap '' TERM; echo up; exec sleep 1000"], stop_grace_period: 60s}
""")
    up = begun(project, "up")
    assert up.stdout is not None
    seen = ""
    while seen.count("| up") < 2:
        seen += up.stdout.readline()
    up.send_signal(signal.SIGINT)
    while "bye" not in seen:
        seen += up.stdout.readline()
    until(lambda: project.states()["polite-1"] == "exited")
    up.send_signal(signal.SIGINT)
    out, errors = up.communicate(timeout=60)
    assert up.returncode == 130
    assert "Traceback" not in errors
    assert "Gracefully Stopping" in errors
    assert "polite-1 exited with code 0" in seen + out
    assert project.ps()["deaf-1"]["ExitCode"] == 137


def test_ctrl_c_while_a_condition_is_waited_for(project: Described) -> None:
    project.describe("""
services:
  never:
    image: host
    command: sleep 1000
    stop_signal: SIGKILL
    healthcheck: {test: "false", interval: 0.1s, retries: 100000}
  waits: {image: host, command: sleep 1000, stop_signal: SIGKILL, depends_on: {never: {condition: service_healthy}}}
""")
    up = begun(project, "up", "-d")
    assert up.stderr is not None
    for line in up.stderr:
        if "Waiting" in line:
            break
    up.send_signal(signal.SIGINT)
    _, errors = up.communicate(timeout=60)
    assert up.returncode == 130
    assert "Traceback" not in errors
    assert project.states()["waits-1"] == "created"


def test_two_ups_at_once_make_everything_once(project: Described) -> None:
    project.describe(GOOD)
    ups = [begun(project, "up", "-d") for _ in range(3)]
    told = [up.communicate(timeout=60)[1] for up in ups]
    assert [up.returncode for up in ups] == [0, 0, 0], told
    assert "Traceback" not in "".join(told)
    assert sum("Container p-web-1 Created" in text for text in told) == 1
    assert project.states() == {"db-1": "running", "web-1": "running"}


def test_up_and_down_at_once_end_in_one_of_both(project: Described) -> None:
    project.describe(GOOD)
    project("up", "-d")
    both = [begun(project, "down", "-t", "0"), begun(project, "up", "-d")]
    told = [one.communicate(timeout=60)[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], told
    assert project.states() in ({}, {"db-1": "running", "web-1": "running"})


# containers that behave badly


def test_a_container_that_ignores_sigterm_is_killed_after_its_grace(project: Described) -> None:
    project.describe("""
services:
  deaf: {image: host, command: ["sh", "-c", "trap '' TERM INT HUP; echo up; while :; do sleep 1; done"]}
""")
    project("up", "-d")
    until(lambda: project.logs("deaf"))
    start = time.monotonic()
    project("down", "-t", "1")
    assert 1 <= time.monotonic() - start < 9


def test_a_container_that_forks_a_thousand_children_goes_at_once(project: Described) -> None:
    many = "import os, time\\nfor i in range(1000):\\n  if os.fork() == 0: os.setsid(); time.sleep(1000)\\n"
    project.describe(f"""
services:
  many: {{image: host, command: ["python3", "-c", "{many}print('up', flush=True); time.sleep(1000)"]}}
  limited:
    image: host
    pids_limit: 20
    command: ["python3", "-c", "{many}"]
""")
    project("up", "-d")
    project("wait", "limited", check=False)
    assert "Resource temporarily unavailable" in project.machine.pycompose("-p", "p", "logs", "limited").stderr
    until(lambda: project.logs("many") == ["up"])
    start = time.monotonic()
    project("down", "-t", "0")
    assert time.monotonic() - start < 20


def test_a_hundred_megabytes_of_output_are_all_there(project: Described) -> None:
    line = "x" * 991
    project.describe(f"""
services:
  talks: {{image: host, command: ["python3", "-c", "for i in range(100_000): print(f'{{i:08}}{line}')"]}}
""")
    project("up", "-d")
    project("wait", "talks")
    machine = project.machine
    command = f"{sys.executable} -m pycompose -p p logs --no-log-prefix talks | sha256sum"
    told = machine.run("sh", "-c", command).stdout.split()[0]
    wanted = hashlib.sha256()
    for number in range(100_000):
        wanted.update(f"{number:08}{line}\n".encode())
    assert told == wanted.hexdigest()


# the machine itself


def boot(machine: Machine, folder: Path) -> None:
    """What a reboot does: no process, mount, link, cgroup, rule, nothing in /run, and another boot's number."""
    left = processes(machine.state) - {machine.pid}
    for root in cgroups(machine.environment["PYCOMPOSE_CGROUP"]):
        for place, _, _ in os.walk(root):
            left |= {int(pid) for pid in (Path(place) / "cgroup.procs").read_text().split()}
    # helpers are stopped first, so that none starts another again
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in left:
            os.kill(pid, number)
    until(lambda: not (processes(machine.state) - {machine.pid}))
    for root in cgroups(machine.environment["PYCOMPOSE_CGROUP"]):
        assert Path(root).is_relative_to(CGROUPS)
        for place, _, _ in os.walk(root, topdown=False):
            until(lambda place=place: not (Path(place) / "cgroup.procs").read_text())  # type: ignore[misc]
            os.rmdir(place)
    links = machine.run("ls", "/sys/class/net").stdout.split()  # of the machine's namespace: /sys is not the test's
    for name in re.findall(r"^\s*([^:\s]+):", machine.run("cat", "/proc/net/dev").stdout, re.M):
        if name != "lo":
            machine.run("ip", "link", "del", name, check=False)
    assert links
    for table in machine.run("nft", "list", "tables").stdout.splitlines():
        machine.run("nft", "delete", *table.split())
    machine.run("sh", "-c", f"umount {machine.run_folder}; mount -t tmpfs -o mode=0700 run {machine.run_folder}")
    file = folder / f"boot-{time.monotonic_ns()}"
    file.write_text("11111111-2222-3333-4444-555555555555\n")
    machine.run("mount", "--bind", str(file), "/proc/sys/kernel/random/boot_id")


@pytest.mark.usefixtures("ip_and_nft")
def test_after_a_reboot_nothing_runs_and_up_starts_it_again(project: Described, tmp_path: Path) -> None:
    project.describe(GOOD)
    project("up", "-d")
    project.inside("db", "echo kept > /data/kept; echo kept > /own")
    boot(project.machine, tmp_path)
    assert set(project.states().values()) == {"exited"}
    assert "p-db-1" in project("ps", "-a").stdout
    project("up", "-d")
    assert project.states() == {"db-1": "running", "web-1": "running"}
    assert project.inside("db", "cat /data/kept /own; getent hosts web | wc -l") == "kept\nkept\n1"
    boot(project.machine, tmp_path)
    project("down", "-v", "-t", "0")


def test_down_of_what_never_was_is_no_error(project: Described) -> None:
    project.describe(GOOD)
    project("down", "-v")
    project("down", "-v", "--remove-orphans")
