"""What a container may not do, tried from inside one (Docker's default profile; each test names the attack)."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("root")
RUNNER = str(pathlib.Path(__file__).with_name("inside_one.py"))


@pytest.fixture
def inside(tmp_path: pathlib.Path) -> Any:
    def run(*args: str, **wanted: Any) -> tuple[str, dict[str, Any]]:
        text = json.dumps({"args": args, **wanted})
        command = ["unshare", "-m", "-n", sys.executable, RUNNER, str(tmp_path), text]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL
        )
        *lines, last = done.stdout.splitlines() or [done.stderr]
        assert last.startswith("{"), done.stdout + done.stderr
        return "\n".join(lines), json.loads(last)

    return run


def test_the_command_is_pid_1_of_its_own_namespaces(inside: Any) -> None:
    output, outcome = inside("sh", "-c", "echo hi $$; hostname")
    assert (output, outcome) == ("hi 1\nbox", {"exit": 0})


def test_capabilities_are_dockers(inside: Any) -> None:
    output, _ = inside("grep", "-E", "^(Cap|Seccomp:|NoNew)", "/proc/self/status")
    shown = dict(line.split(":\t") for line in output.splitlines())
    assert shown["CapBnd"] == shown["CapEff"] == shown["CapPrm"] == "00000000a80425fb"
    assert shown["CapInh"] == shown["CapAmb"] == "0" * 16
    assert shown["Seccomp"] == "2"


def test_another_user_has_no_effective_capabilities(inside: Any) -> None:
    output, _ = inside("sh", "-c", "id -u; id -G; grep CapEff /proc/self/status", user="1000:33")
    assert output.splitlines() == ["1000", "33", "CapEff:\t" + "0" * 16]


@pytest.mark.parametrize("user", ["1000abc", "-1", "4294967296", "nobody-of-that-name"])
def test_a_user_that_is_none_is_refused(inside: Any, user: str) -> None:
    output, outcome = inside("id", user=user)
    assert output == ""
    assert (outcome["step"], outcome["exit"]) == ("user", 126)


def test_nothing_written_reaches_the_host(inside: Any) -> None:
    _, outcome = inside("touch", "/root/pycompose-canary")
    assert outcome == {"exit": 0}
    assert not os.path.exists("/root/pycompose-canary")


def test_only_stdio_is_open(inside: Any) -> None:
    output, _ = inside("sh", "-c", "ls /proc/1/fd")
    assert output.split() == ["0", "1", "2"]


@pytest.mark.parametrize("number", range(3, 16))
def test_a_working_folder_by_descriptor_fails(inside: Any, number: int) -> None:
    output, outcome = inside("pwd", cwd=f"/proc/self/fd/{number}")
    assert output == ""
    assert outcome["exit"] == 126 or outcome["step"] == "working folder"


@pytest.mark.parametrize("command", ["unshare -Ur true", "mount -t tmpfs none /mnt", "unshare -m true"])
def test_namespaces_and_mounts_are_refused(inside: Any, command: str) -> None:
    _, outcome = inside("sh", "-c", command)
    assert outcome["exit"] != 0


@pytest.mark.parametrize("path", ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/fs/cgroup/x"])
def test_the_kernels_switches_are_read_only(inside: Any, path: str) -> None:
    output, outcome = inside("sh", "-c", f"(echo x > {path}) 2>&1")
    assert outcome["exit"] != 0
    assert any(word in output for word in ("Read-only", "Permission", "nonexistent"))


def test_a_masked_file_is_empty(inside: Any) -> None:
    output, _ = inside("sh", "-c", "cat /proc/timer_list /proc/keys 2>/dev/null | wc -c; ls /sys/firmware | wc -l")
    assert output.split() == ["0", "0"]


@pytest.mark.parametrize("place", ["/proc", "/proc/self/attr", "/proc/sys"])
def test_a_mount_over_proc_is_refused(inside: Any, place: str, tmp_path: pathlib.Path) -> None:
    _, outcome = inside("true", mounts=[[place, "bind", "/var", ["rbind"]]])
    assert (outcome["step"], outcome["exit"]) == ("mounts", 125)


def test_a_sysctl_of_the_machine_is_refused(inside: Any) -> None:
    _, outcome = inside("true", sysctl={"kernel.core_pattern": "|/bin/false"})
    assert outcome["step"] == "sysctl"


def test_the_outcomes_of_a_bad_command_are_told_apart(inside: Any) -> None:
    assert inside("no-such-command")[1]["exit"] == 127
    assert inside("/etc/passwd")[1]["exit"] == 126


def test_init_reaps_and_ends_as_its_child(inside: Any) -> None:
    output, outcome = inside("sh", "-c", "echo $$; exit 9", init=True)
    assert output == "2"
    assert outcome["exit"] == 9


def test_socket_families_of_the_kernel_are_refused(inside: Any) -> None:
    program = "import socket\nfor f in (38, 40, 2):\n try: socket.socket(f, 5 if f == 38 else 1); print('made')\n"
    program += " except OSError as e: print(e.errno)"
    output, _ = inside("/usr/bin/env", "python3", "-c", program)
    assert output.split() == ["1", "1", "made"]


def test_clone3_looks_missing(inside: Any) -> None:
    program = "import ctypes\nc=ctypes.CDLL(None,use_errno=True)\n"
    program += "for n in (435, 272, 9999): print(c.syscall(n,0,0), ctypes.get_errno())"
    output, _ = inside("/usr/bin/env", "python3", "-c", program)
    assert output.splitlines() == ["-1 38", "-1 1", "-1 38"]


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
def test_an_image_with_a_symlink_for_a_kernel_folder_is_refused(inside: Any, tmp_path: pathlib.Path, name: str) -> None:
    layer, victim = tmp_path / "layer", tmp_path / "victim"
    layer.mkdir()
    victim.mkdir()
    (layer / name).symlink_to(victim)
    _, outcome = inside("true", lower=[str(layer)])
    assert (outcome["step"], outcome["exit"]) == (f"mount /{name}", 125)
    assert list(victim.iterdir()) == []


def test_a_mount_through_a_symlink_stays_in_the_root(inside: Any, tmp_path: pathlib.Path) -> None:
    source, layer = tmp_path / "source", tmp_path / "layer"
    source.mkdir()
    layer.mkdir()
    (source / "file").write_text("here\n")
    (layer / "link").symlink_to("../../../srv")
    output, _ = inside(
        "cat", "/srv/a/file", lower=[str(layer)], mounts=[["/link/a", "bind", str(source), ["rbind", "rro"]]]
    )
    assert output == "here"
    assert not os.path.exists("/srv/a")


# --- what a compose file may change ---


def test_init_starts_the_program_of_another_user_without_capabilities(inside: Any) -> None:
    profile = {"cap_drop": ["ALL"]}
    output, outcome = inside("sh", "-c", "id -u; exit 9", init=True, user="1000:33", profile=profile)
    assert (output, outcome["exit"]) == ("1000", 9)


def test_init_starts_what_may_write_no_file(inside: Any) -> None:
    for size in (0, 512):
        _, outcome = inside("sh", "-c", "exit 9", init=True, rlimits=[["RLIMIT_FSIZE", size, size]])
        assert outcome["exit"] == 9, outcome


def test_init_says_of_a_path_that_is_too_long_what_the_kernel_says(inside: Any) -> None:
    path = "/" + "a" * 5000
    assert inside(path, init=True)[1] == inside(path)[1]


def test_init_forwards_signals_and_reaps_orphans(inside: Any) -> None:
    script = "trap 'echo told; exit 5' TERM; (sleep 0.01 &) ; kill -TERM 1; while :; do sleep 0.01; done"
    output, outcome = inside("sh", "-c", script, init=True)
    assert (output, outcome["exit"]) == ("told", 5)


def test_init_ends_as_a_killed_child(inside: Any) -> None:
    assert inside("sh", "-c", "kill -KILL $$", init=True)[1]["exit"] == 137


def test_a_read_only_root_cannot_be_written_and_its_tmpfs_can(inside: Any) -> None:
    output, _ = inside(
        "sh",
        "-c",
        "touch /srv/x 2>&1; touch /scratch/x && stat -f -c %T /scratch && stat -c %a /scratch",
        readonly=True,
        mounts=[["/scratch", "tmpfs", "tmpfs", ["noexec", "nosuid", "nodev", "size=1m", "mode=0711"]]],
    )
    assert "Read-only file system" in output
    assert output.splitlines()[-2:] == ["tmpfs", "711"]


def test_a_tmpfs_has_the_mode_of_the_folder_that_it_covers(inside: Any, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "layer" / "covered"
    folder.mkdir(parents=True)
    folder.chmod(0o750)
    mounts = [["/covered", "tmpfs", "tmpfs", []], ["/fresh", "tmpfs", "tmpfs", []]]
    output, _ = inside("stat", "-c", "%a", "/covered", "/fresh", lower=[str(tmp_path / "layer")], mounts=mounts)
    assert output.split() == ["750", "1777"]


def test_shared_memory_has_the_size_asked_for(inside: Any) -> None:
    output, _ = inside("df", "-k", "--output=size", "/dev/shm", profile={"shm_size": 1 << 20})
    assert output.split()[-1] == "1024"


def test_limits_are_set_and_the_machines_own_is_not_passed(inside: Any) -> None:
    endless = 2**64 - 1
    rlimits = [["RLIMIT_NOFILE", 100, 200], ["RLIMIT_CORE", 0, endless], ["RLIMIT_MEMLOCK", endless, endless]]
    output, outcome = inside("sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -Sc", rlimits=rlimits)
    assert outcome["exit"] == 0
    assert output.split() == ["100", "200", "0"]
    for note in outcome.get("notes", ()):
        assert "CAP_SYS_RESOURCE" in note


def test_a_limit_that_is_none_is_refused(inside: Any) -> None:
    _, outcome = inside("true", rlimits=[["RLIMIT_NONSENSE", 1, 1]])
    assert 'no limit "nonsense"' in outcome["message"]


def test_the_working_folder_is_made(inside: Any) -> None:
    assert inside("pwd", cwd="/srv/new/folder")[0] == "/srv/new/folder"


def test_a_capability_can_be_added_and_all_dropped(inside: Any) -> None:
    output, _ = inside("grep", "CapBnd", "/proc/self/status", profile={"cap_add": ["SYS_PTRACE"], "cap_drop": ["ALL"]})
    assert output.split()[1] == f"{1 << 19:016x}"


def test_privileged_may_mount_and_sees_all_devices(inside: Any) -> None:
    script = (
        "mount -t tmpfs none /mnt && grep Seccomp: /proc/self/status && "
        "test -w /proc/sys/kernel/hostname && ls /dev | wc -l"
    )
    output, outcome = inside("sh", "-c", script, profile={"privileged": True})
    assert outcome["exit"] == 0
    assert output.split()[1] == "0"


def test_no_new_privileges_is_set(inside: Any) -> None:
    output, _ = inside("grep", "NoNewPrivs", "/proc/self/status", profile={"security_opt": ["no-new-privileges"]})
    assert output.split()[1] == "1"


def test_a_seccomp_file_is_obeyed(inside: Any, tmp_path: pathlib.Path) -> None:
    rules = [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 122}]
    (tmp_path / "own.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))
    option = {"security_opt": [f"seccomp={tmp_path}/own.json"]}
    output, _ = inside("sh", "-c", "mkdir /srv/x 2>&1; true", profile=option)
    assert "quota exceeded" in output


def test_a_device_of_the_host_is_there_by_the_name_asked_for(inside: Any) -> None:
    output, _ = inside(
        "stat", "-c", "%F %t:%T", "/dev/a/hole", profile={"devices": [["/dev/null", "/dev/a/hole", "rw"]]}
    )
    assert output == "character special file 1:3"


@pytest.mark.parametrize(("kind", "file"), [("uts", "uts"), ("ipc", "ipc"), ("pid", "pid")])
def test_a_namespace_of_the_host_is_the_hosts(inside: Any, kind: str, file: str) -> None:
    output, _ = inside("readlink", f"/proc/self/ns/{file}", profile={"host": [kind]})
    assert output == os.readlink(f"/proc/self/ns/{file}")


def test_the_time_namespace_is_its_own_where_there_are_any(inside: Any) -> None:
    if not os.path.exists("/proc/self/ns/time"):
        pytest.skip("this kernel has no time namespaces")
    output, _ = inside("readlink", "/proc/self/ns/time")
    assert output != os.readlink("/proc/self/ns/time")


def test_an_apparmor_profile_that_is_not_there_is_refused(inside: Any) -> None:
    _, outcome = inside("true", apparmor="some-profile")
    assert (outcome["step"], outcome["exit"]) == ("apparmor", 125)
    assert '"some-profile" cannot be put on' in outcome["message"]
