"""Nothing of whoever calls stays: helpers and containers are as if the machine's first process had started them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from .conftest import Machine
from .service_tools import Described, until

# Descriptors, working folder, masks, groups, scheduling, limits, signals and attributes that fork and execve hand on.
HOSTILE = """
import ctypes, fcntl, os, resource, signal, sys, tempfile
libc = ctypes.CDLL(None)
for number in (9, 100, 101, 102, 300):
    os.dup2(os.open(os.environ["LOCK"], os.O_RDWR | os.O_CREAT), number)
fcntl.flock(9, fcntl.LOCK_EX)
folder = tempfile.mkdtemp()
os.chdir(folder)
os.rmdir(folder)
os.umask(0o777)
os.setgroups([4, 1000])
os.setresgid(1000, 1000, 0)
os.setpriority(os.PRIO_PROCESS, 0, 7)
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
libc.syscall(30 if os.uname().machine == "aarch64" else 251, 1, 0, 3 << 13)  # ioprio_set: idle
for option, value in ((29, 10**9), (41, 1), (28, 1 << 4)):  # timer slack, no huge pages, keep capabilities
    libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0)
libc.personality(0x0040000)  # ADDR_NO_RANDOMIZE
for name, text in (("oom_score_adj", "300"), ("coredump_filter", "0x1")):
    with open("/proc/self/" + name, "w") as file:
        file.write(text)
may_raise = int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")), 16) >> 24 & 1
for name, value in dict(NOFILE=96, STACK=4 << 20, CORE=0, FSIZE=1 << 20, NPROC=3000, MEMLOCK=1 << 16).items():
    kind = getattr(resource, "RLIMIT_" + name)
    resource.setrlimit(kind, (value, value if may_raise else resource.getrlimit(kind)[1]))
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - {signal.SIGALRM})
ignored = (ctypes.c_uint64 * 4)(1)
for number in range(1, 65):
    libc.syscall(134 if os.uname().machine == "aarch64" else 13, number, ignored, None, 8)
os.environ.update(TOKEN="hunter2", TZ="Nowhere/At All", LANG="de_DE.ISO-8859-1", LC_ALL="C", PYTHONWARNINGS="error",
    PYTHONOPTIMIZE="2", PYTHONUNBUFFERED="1", PYTHONPATH="/nowhere:/never", HOME="/nowhere", PATH="/nowhere")
for number in map(int, sys.argv[1]):
    os.close(number)
os.execv(sys.executable, [sys.executable, "-m", "pycompose", *sys.argv[2:]])
"""
FILE = """
services:
  plain: {image: host, command: ["sleep", "1000"]}
  init: {image: host, init: true, command: ["sleep", "1000"]}
  user: {image: host, user: "1000:1000", command: ["sleep", "1000"], ulimits: {nofile: {soft: 100, hard: 200}}}
  probed: {image: host, command: ["sleep", "1000"], healthcheck: {test: ["CMD", "true"], start_interval: 0.1s}}
"""
# What a process inside tells of itself, without what is another each time.
SAYS = """
grep -E '^(Umask|Uid|Gid|Groups|Sig[BI]|Shd|Cap|NoNew|Seccomp|Cpus_a|Mems_a|THP)' /proc/self/status
cat /proc/self/limits /proc/self/personality /proc/self/coredump_filter /proc/self/oom_score_adj
cut -d' ' -f 7,18,19,40,41 /proc/self/stat
ionice -p $$
readlink /proc/self/cwd
env | grep -v -e ^HOSTNAME= -e ^_= | sort
for fd in 3 4 5 6 7 8 9 100 101 102 300; do ! readlink /proc/self/fd/$fd | grep -v -e ^/proc -e ^/says; done
echo done
"""
ENTRIES = """
services:
  web:
    image: host
    command: [sleep, "1000"]
    volumes: [./says:/says, ./said:/said]
    pre_start: [{command: [sh, -c, "sh /says > /said/pre_start"]}]
    post_start: [{command: [sh, -c, "sh /says > /said/post_start"]}]
    pre_stop: [{command: [sh, -c, "sh /says > /said/pre_stop"]}]
    healthcheck: {test: "sh /says > /said/health"}
  job:
    image: host
    command: [sh, /says]
    volumes: [./says:/says]
  built:
    build: {context: ., dockerfile_inline: "FROM host\\nRUN --mount=source=says,target=/says sh /says"}
    profiles: [built]
"""
STATUS = re.compile(
    r"(Umask|Uid|Gid|Groups|SigQ|Sig\w+|Shd\w+|Cap\w+|NoNew\w+|Seccomp|Cpus_\w+|Mems_\w+|THP_\w+|Spec\w+):(.*)"
)
SCHEDULED = re.compile(r"^(policy|prio|se\.slice)\s*:\s*(\d+)", re.MULTILINE)


def hostile(project: Described, closed: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command after the caller has made itself as odd as it can; `closed` are digits of descriptors."""
    command = ("-p", "p", "-f", str(project.file), *arguments)
    lock = f"LOCK={project.file.with_name('lock')}"
    return project.machine.run("env", lock, sys.executable, "-c", HOSTILE, closed, *command, check=check)


def processes(project: Described) -> dict[str, int]:
    """The helpers and the first processes of containers, by what they are."""
    places = Path(project.machine.run_folder, "p")
    machine = project.machine
    supervisor = json.loads(machine.run("cat", str(places / "supervisor.json")).stdout)["pid"]
    keeper = int(Path(f"/proc/{supervisor}/stat").read_text().rpartition(")")[2].split()[1])
    found = {"supervisor": supervisor, "keeper": keeper}
    children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    for child in map(int, children):
        same = Path(f"/proc/{child}/cmdline").read_bytes() == Path(f"/proc/{keeper}/cmdline").read_bytes()
        if same and os.readlink(f"/proc/{child}/ns/pid") == os.readlink("/proc/self/ns/pid"):
            found["store"] = child
    folder = Path(machine.state, "projects/p/containers")
    for name, listed in project.ps().items():
        record = machine.run("sh", "-c", f"cat {folder}/{listed['ID']}*/process.json").stdout
        found[name] = json.loads(record)["pid"]
    return found


def attributes(pid: int) -> dict[str, object]:
    """All that a process may have inherited, of what the kernel shows."""
    here = Path("/proc", str(pid))
    stat = (here / "stat").read_text().rpartition(")")[2].split()
    status = dict(STATUS.findall((here / "status").read_text()))
    status["SigQ"] = status["SigQ"].partition("/")[2]
    return {
        **status,
        "limits": (here / "limits").read_text(),
        "terminal, priority, nice, real-time priority, policy": (stat[4], stat[15], stat[16], stat[37], stat[38]),
        "sched": SCHEDULED.findall((here / "sched").read_text()) if (here / "sched").exists() else [],
        "environ": sorted(re.sub(rb"HOSTNAME=\w+", b"", (here / "environ").read_bytes()).split(b"\0")),
        "cwd": os.readlink(here / "cwd"),
        **{
            name: (here / name).read_text()
            for name in ("personality", "timerslack_ns", "coredump_filter", "oom_score_adj")
        },
        "ioprio": subprocess.run(["ionice", "-p", str(pid)], capture_output=True, text=True).stdout,
        "files": sorted(
            re.sub("[0-9a-f]{32,}", "ID", target)
            for fd in os.listdir(here / "fd")
            if (target := os.readlink(here / "fd" / fd)).startswith("/") and not target.startswith(("/memfd", "/proc"))
        ),
    }


def held_files() -> set[str]:
    """All files that any process of this machine has open, where that may be asked."""
    files = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for descriptor in os.listdir(process / "fd"):
                with suppress(OSError):
                    files.add(os.readlink(process / "fd" / descriptor))
    return files


def caught(project: Described, closed: str | None) -> dict[str, dict[str, object]]:
    if closed is None:
        project("up", "-d")
    else:
        hostile(project, closed, "up", "-d")
    try:
        return {name: attributes(pid) for name, pid in processes(project).items()}
    finally:
        project("down", "-t", "0")


@pytest.mark.parametrize("closed", ["", "012"])
def test_a_hostile_caller_leaves_no_trace_in_helpers_and_containers(project: Described, closed: str) -> None:
    project.describe(FILE)
    plain, odd = caught(project, None), caught(project, closed)
    assert sorted(odd) == sorted(plain) == ["init-1", "keeper", "plain-1", "probed-1", "store", "supervisor", "user-1"]
    for name, expected in plain.items():
        assert odd[name] == expected, name


def test_whatever_runs_inside_is_the_same_whoever_calls(project: Described, tmp_path: Path) -> None:
    project.describe(ENTRIES)
    (tmp_path / "says").write_text(SAYS)

    def told(call: Callable[..., subprocess.CompletedProcess[str]]) -> dict[str, list[str]]:
        said = tmp_path / "said"
        shutil.rmtree(said, ignore_errors=True)
        said.mkdir()
        call("up", "-d", "--wait", "web")
        texts = {
            "exec": call("exec", "-T", "web", "sh", "/says").stdout,
            "run": call("run", "-T", "--rm", "job").stdout,
            "up": call("up", "--no-log-prefix", "job").stdout,
        }
        call("exec", "-d", "web", "sh", "-c", "sh /says > /said/begun; mv /said/begun /said/exec_in_background")
        until(lambda: (said / "exec_in_background").exists(), patience=60)
        call("stop", "-t", "0", "web")
        text = call("--progress", "plain", "build", "--no-cache", "built").stderr
        texts["build"] = "\n".join(re.findall(r"^#\d+ [\d.]+ (.*)", text, re.MULTILINE))
        project("down", "-t", "0")
        texts |= {path.name: path.read_text() for path in said.iterdir()}
        return {name: text.replace("job-1 exited with code 0\n", "").splitlines() for name, text in texts.items()}

    plain, odd = told(project), told(lambda *arguments: hostile(project, "", *arguments))
    assert sorted(plain) == sorted(
        ["build", "exec", "exec_in_background", "health", "post_start", "pre_start", "pre_stop", "run", "up"]
    )
    for name, lines in plain.items():
        assert "done" in lines, name
        assert odd[name] == lines, name


def test_containers_begin_as_dockers_do_whoever_starts_them(project: Described) -> None:
    project.describe(FILE)
    hostile(project, "", "up", "-d")
    found = {name: attributes(pid) for name, pid in processes(project).items()}
    for name in ("plain-1", "user-1", "probed-1"):
        assert {found[name][signals] for signals in ("SigBlk", "SigIgn", "ShdPnd")} == {"\t" + "0" * 16}, name
        assert found[name]["terminal, priority, nice, real-time priority, policy"] == ("0", "20", "0", "0", "0")
        assert found[name]["Umask"] == "\t0022"
        assert found[name]["personality"] == "00000000\n"
    limits = str(found["plain-1"]["limits"])
    assert re.search(r"Max stack size +8388608 ", limits)
    assert re.search(r"Max file size +unlimited ", limits)
    soft, hard = re.search(r"Max open files +(\d+) +(\d+)", limits).groups()  # type: ignore[union-attr]
    assert soft == hard, "as many as may be had"
    assert re.search(r"Max open files +100 +200 ", str(found["user-1"]["limits"]))


def test_every_command_that_returns_lets_go_of_what_its_caller_held(project: Described) -> None:
    project.describe(FILE)
    for arguments in (
        ("up", "-d"),
        ("exec", "-d", "plain", "sleep", "1000"),
        ("restart", "-t", "0", "plain"),
        ("up", "-d", "--force-recreate", "-t", "0", "init"),
        ("stop", "-t", "0", "plain"),
        ("start", "plain"),
        ("scale", "plain=2"),
        ("pause", "user"),
        ("unpause", "user"),
    ):
        done = hostile(project, "0", *arguments)  # returns when nobody holds its pipes any more
        assert "Traceback" not in done.stderr, done.stderr
        lock = str(project.file.with_name("lock"))
        project.machine.run("flock", "-n", lock, "true")
        assert lock not in held_files(), arguments


def test_many_containers_come_up_below_a_small_soft_limit_of_descriptors(project: Described) -> None:
    project.describe("services: {many: {image: host, command: [sleep, '1000'], scale: 40}}")
    shell = 'ulimit -Sn 64; exec "$@"'
    command = (sys.executable, "-m", "pycompose", "-p", "p", "-f", str(project.file))
    project.machine.run("sh", "-c", shell, "sh", *command, "up", "-d")
    assert set(project.states().values()) == {"running"}
    assert len(project.states()) == 40


def test_limits_that_cannot_be_raised_again_are_told(project: Described) -> None:
    project.describe("services: {a: {image: host, command: [sh, -c, 'ulimit -Hn; exec sleep 1000']}}")
    shell = 'ulimit -n 321; exec setpriv --bounding-set=-sys_resource "$@"'
    command = (sys.executable, "-m", "pycompose", "-p", "p", "-f", str(project.file), "up", "-d")
    done = project.machine.run("sh", "-c", shell, "sh", *command)
    assert re.search(r"warning: containers have limits of the shell .*\bnofile 321\b.*CAP_SYS_RESOURCE", done.stderr)
    assert project.inside("a", "ulimit -Hn") == "321"
    project("down", "-t", "0")
    assert "limits" not in project("up", "-d").stderr


def test_names_of_files_that_are_no_text_and_odd_locales_disturb_no_command(host: Machine, tmp_path: Path) -> None:
    folder = os.path.join(os.fsencode(tmp_path), b"w\xf6rk")
    os.makedirs(folder + b"/b")
    Path(os.fsdecode(folder), "b", "file").write_text("bound")
    text = "services: {a: {image: host, command: [sleep, '1000'], labels: {l: ✔}, volumes: [./b:/b]}}"
    Path(os.fsdecode(folder), "compose.yaml").write_text(text)
    command = ("env", f"--chdir={os.fsdecode(folder)}", "LANG=C", "LC_ALL=C", "PYTHONUTF8=0", "PYTHONCOERCECLOCALE=0")
    for arguments in (("up", "-d"), ("ps",), ("config",), ("exec", "-T", "a", "cat", "/b/file"), ("down", "-t", "0")):
        done = host.run(*command, sys.executable, "-m", "pycompose", "-p", "p", *arguments)
        assert "Traceback" not in done.stderr
        assert arguments[0] != "exec" or done.stdout == "bound"
