"""Attacks on whoever starts and enters containers, tried on a real keeper (S1 … S14 of the threat list; CVEs named).

What one container's profile refuses is test_profile's; here a hostile image, volume or process meets the keeper.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pycompose.runtime.spec import DeviceNode, Mount, to_json
from pycompose.runtime.state import container_record

from .box import Box, boxed

pytestmark = pytest.mark.usefixtures("root")
PYTHON = os.path.realpath(sys.executable)
LIBRARY = os.path.dirname(os.__file__)


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    with boxed(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """The uppermost layer of a hostile image."""
    (tmp_path / "layer").mkdir()
    return tmp_path / "layer"


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A folder of the host that must stay as it is."""
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "precious").write_text("precious")
    yield folder
    assert sorted(path.name for path in folder.iterdir()) == ["precious"]
    assert (folder / "precious").read_text() == "precious"


@pytest.fixture
def pythons() -> Iterator[None]:
    """The host's interpreter is the same afterwards."""
    before = hashlib.sha256(Path(PYTHON).read_bytes()).digest()
    yield
    assert hashlib.sha256(Path(PYTHON).read_bytes()).digest() == before


# --- S1: CVE-2019-5736, the runtime's own program overwritten by way of /proc/<pid>/exe ---

OVERWRITE = """
import os, sys
path = os.open("/proc/self/exe", os.O_PATH)
try:
    os.open(f"/proc/self/fd/{path}", os.O_WRONLY)
    print("opened")
except OSError as error:
    print(error.strerror)
if os.fork() == 0:
    os.set_inheritable(path, True)
    again = "import os,sys\\ntry:\\n os.write(os.open('/proc/self/fd/%d', 1), b'x'); print('written')\\n"
    again += "except OSError as error: print(error.strerror)"
    os.execv("/usr/bin/env", ["env", "python3", "-c", again % path])
os.wait()
"""


def test_the_runtimes_program_as_command_cannot_be_overwritten(box: Box, pythons: None) -> None:
    code, output = box.run("/proc/self/exe", "-c", OVERWRITE)
    assert "opened" not in output
    assert "written" not in output
    assert code != 0 or output


def test_the_runtimes_program_by_a_script_cannot_be_overwritten(box: Box, layer: Path, pythons: None) -> None:
    (layer / "attack").write_text("#!/proc/self/exe\n" + OVERWRITE)
    (layer / "attack").chmod(0o755)
    _, output = box.run("/attack", lower=(layer,))
    assert "opened" not in output
    assert "written" not in output


def test_a_process_that_enters_cannot_be_opened_by_the_container(box: Box, pythons: None) -> None:
    program = """
import os, time
end = time.monotonic() + 20
print("ready", flush=True)
while time.monotonic() < end:
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                path = os.open(f"/proc/{name}/exe", os.O_PATH)
                told = os.readlink(f"/proc/self/fd/{path}")
            except OSError:
                continue
            if told.endswith("/true"):
                continue  # its own: what it breaks there is its own
            if "memfd" in told:
                print("seen", flush=True)
            for _ in range(20):
                try:
                    os.write(os.open(f"/proc/self/fd/{path}", os.O_WRONLY), b"x")
                    print("written", told, flush=True)
                except OSError:
                    continue
            os.close(path)
"""
    container_id, failed = box.start("/usr/bin/env", "python3", "-c", program)
    assert not failed
    for _ in range(15):
        assert box.enter(container_id, "true") == (0, "")
    box.kill(container_id)
    assert "memfd" not in box.output(container_id)
    assert "seen" not in box.output(container_id)


def test_the_keeper_runs_from_a_sealed_copy(box: Box) -> None:
    found = [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _names(int(entry), box.places.run)]
    assert found
    for number in found:
        assert "memfd:" in os.readlink(f"/proc/{number}/exe")
        with pytest.raises(OSError, match=r"Text file busy|not permitted"):
            os.open(f"/proc/{number}/exe", os.O_WRONLY)


def _names(pid: int, text: str) -> bool:
    try:
        return text.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


# --- S2: CVE-2024-21626, descriptors of the host ---


def test_no_working_folder_leads_out_by_a_descriptor(box: Box) -> None:
    for number in range(3, 65):
        code, output = box.run("pwd", cwd=f"/proc/self/fd/{number}")
        assert code == 126, (number, output)
    container_id, _ = box.start("sleep", "100")
    for number in range(3, 65):
        code, output = box.enter(container_id, "pwd", cwd=f"/proc/self/fd/{number}")
        assert code == 126, (number, output)


def test_only_the_standard_streams_are_open(box: Box) -> None:
    look = ("sh", "-c", "ls /proc/$$/fd; true")
    assert box.run(*look) == (0, "0\n1\n2")
    container_id, _ = box.start("sleep", "100")
    assert box.enter(container_id, *look) == (0, "0\n1\n2")


# --- S3: CVE-2025-31133, a fake /dev/null behind the masks ---


def test_a_mask_is_a_null_device_whatever_the_image_has_in_its_place(box: Box, layer: Path) -> None:
    (layer / "dev").mkdir()
    (layer / "dev" / "null").symlink_to("/proc/sysrq-trigger")
    look = "for f in /dev/null /proc/kcore /proc/timer_list; do [ ! -e $f ] || stat -c '%F %t:%T' $f; done"
    code, output = box.run("sh", "-c", look, lower=(layer,))
    assert code == 0
    assert set(output.splitlines()) == {"character special file 1:3"}


# --- S4: CVE-2025-52565, /dev/console ---


def test_the_console_is_the_containers_own_terminal(box: Box, layer: Path, victim: Path) -> None:
    (layer / "dev" / "pts").mkdir(parents=True)
    (layer / "dev" / "pts" / "0").symlink_to(victim / "precious")
    (layer / "dev" / "console").symlink_to(victim / "precious")
    look = "stat -c '%F %t' /dev/console /dev/pts/0; readlink /proc/$$/fd/0; tty"
    code, output = box.run("sh", "-c", look, lower=(layer,), terminal=True)
    assert code == 0, output
    assert output.splitlines()[:2] == ["character special file 88"] * 2
    assert output.split()[-1] in ("/dev/pts/0", "/dev/console")


# --- S5: CVE-2019-16884, CVE-2025-52881, a fake /proc ---


@pytest.mark.parametrize("place", ["/proc", "/proc/self/attr", "/x/../proc/sys", "/link/sys/kernel", "//proc//1"])
def test_nothing_is_mounted_into_proc(box: Box, layer: Path, victim: Path, place: str) -> None:
    (layer / "link").symlink_to("/proc")
    mount = Mount(place, "bind", str(victim), ("rbind",))
    code, output = box.run("true", lower=(layer,), mounts=(mount,))
    assert code == 125, output
    assert output.startswith(("mounts:", f"mount {place}:"))


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_a_kernel_folder_that_is_a_symlink_is_refused(box: Box, layer: Path, victim: Path, name: str) -> None:
    (layer / name).symlink_to(victim)
    code, output = box.run("true", lower=(layer,))
    assert (code, output.split(":")[0]) == (125, f"mount /{name}")


# --- S6: CVE-2021-30465, CVE-2026-41579, targets exchanged for symlinks ---

SWAP = """
import os, sys
os.chdir(sys.argv[1])
os.mkdir("a")
os.mkdir("a/b")
os.symlink(sys.argv[2], "link")
print("ready", flush=True)
while True:
    os.rename("a", "kept"); os.rename("link", "a"); os.rename("a", "link"); os.rename("kept", "a")
"""


def test_a_target_that_is_exchanged_all_the_time_stays_inside(box: Box, tmp_path: Path, victim: Path) -> None:
    (tmp_path / "volume").mkdir()
    source = tmp_path / "source"
    source.mkdir()
    swapper = subprocess.Popen(
        [sys.executable, "-c", SWAP, str(tmp_path / "volume"), str(victim)], stdout=subprocess.PIPE, text=True
    )
    assert swapper.stdout is not None
    swapper.stdout.readline()
    volume = Mount("/volume", "bind", str(tmp_path / "volume"), ("rbind",))
    inner = Mount("/volume/a/b", "bind", str(source), ("rbind",))
    try:
        outcomes = [box.run("touch", "/volume/a/b/here", mounts=(volume, inner)) for _ in range(25)]
    finally:
        swapper.kill()
        swapper.wait()
        swapper.stdout.close()
    assert all(code in (0, 1, 125) for code, _ in outcomes), outcomes


@pytest.mark.parametrize("name", ["etc", "etc/hosts", "srv/deep"])
def test_a_mount_through_an_images_symlink_stays_inside(box: Box, layer: Path, victim: Path, name: str) -> None:
    (layer / name).parent.mkdir(exist_ok=True)
    (layer / name).symlink_to(victim)
    (layer.parent / "source").write_text("ours\n")
    place = f"/{name}" if name == "etc/hosts" else f"/{name}/file"
    mount = Mount(place, "bind", str(layer.parent / "source"), ("rbind", "ro"))
    code, _ = box.run("true", lower=(layer,), mounts=(mount,))
    assert code in (0, 125)


# --- S7: CVE-2026-55686, a working folder made outside ---


def test_a_working_folder_through_a_symlink_is_made_inside(box: Box, layer: Path, victim: Path) -> None:
    (layer / "work").symlink_to("/../../../srv")
    code, output = box.run("pwd", "-P", cwd="/work/new", lower=(layer,))
    assert (code, output) == (0, "/srv/new")
    assert not os.path.exists("/srv/new")
    (layer / "work").unlink()
    (layer / "work").symlink_to(victim)
    assert box.run("pwd", cwd="/work/new", lower=(layer,))[0] in (0, 125, 126)


# --- S8: CVE-2019-14271, code of the image run by the runtime ---


def test_no_code_of_the_image_is_run_by_the_keeper(box: Box, layer: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    for path in [*Path(LIBRARY).glob("*.py"), *Path(LIBRARY, "encodings").glob("*.py")]:
        poisoned = layer / str(path).lstrip("/")
        poisoned.parent.mkdir(parents=True, exist_ok=True)
        # nothing but built-in modules, for the first of these is imported before there is an open()
        poisoned.write_text(f"import posix\nposix.close(posix.open('/canary/{path.stem}', 0o101))\n")
    told = Mount("/canary", "bind", str(canary), ("rbind",))
    wanted: dict[str, Any] = {"lower": (layer,), "mounts": (told,)}
    assert box.run("/bin/true", **wanted) == (0, "")
    assert box.run("no-such-command", **wanted)[0] == 127
    assert box.run("/etc/passwd", **wanted)[0] == 126
    assert box.run("/bin/true", user="no-such-user", **wanted)[0] == 126
    assert box.run("/bin/true", cwd="relative", **wanted)[0] == 126
    assert box.run("/bin/echo", os.fsdecode(b"\xff\xfe"), **wanted)[0] == 0
    container_id, _ = box.start("/bin/sleep", "100", **wanted)
    assert box.enter(container_id, "/bin/true") == (0, "")
    assert box.enter(container_id, "no-such-command")[0] == 127
    assert box.enter(container_id, "/bin/true", user="no-such-user")[0] == 126
    assert box.enter(container_id, "/bin/echo", os.fsdecode(b"\xff\xfe"))[0] == 0
    assert os.listdir(canary) == []
    # the poison works: an interpreter of the container itself takes it
    box.enter(container_id, PYTHON, "-c", "")
    assert os.listdir(canary) != []


# --- S9: CVE-2022-0492, release_agent ---


@pytest.mark.parametrize(
    "command",
    [
        "unshare -Ur true",
        "unshare -C true",
        "mount -t cgroup -o memory none /mnt",
        "mount -t cgroup2 none /mnt",
        "for f in /sys/fs/cgroup/release_agent /sys/fs/cgroup/*/release_agent; do echo /x > $f && exit 0; done; false",
        "mkdir /sys/fs/cgroup/mine",
        "mkdir /sys/fs/cgroup/memory/mine",
    ],
)
def test_control_groups_cannot_be_had(box: Box, command: str) -> None:
    assert box.run("sh", "-c", command)[0] != 0


# --- S11: CVE-2022-2989, CVE-2024-40635, CVE-2026-30892, who a process is ---

PASSWD = "root:x:0:0::/root:/bin/sh\nann:x:1000:1001::/home/ann:/bin/sh\nweird:x:abc:7::/:/bin/sh\n"
GROUP = "root:x:0:\nann:x:1001:\nstaff:x:50:ann,bob\nvideo:x:44:root\n"


@pytest.mark.parametrize(
    ("user", "added", "shown"),
    [
        ("", (), "0 0 0 44"),
        ("ann", (), "1000 1001 1001 50"),
        ("1000", (), "1000 1001 1001 50"),
        ("ann:staff", (), "1000 50 50"),
        ("ann:7777", (), "1000 7777 7777"),
        ("4242", (), "4242 0 0"),
        ("4242:4343", ("staff", "99"), "4242 4343 4343 50 99"),
        ("2147483647", (), "2147483647 0 0"),
    ],
)
def test_a_process_is_who_it_is_said_to_be(
    box: Box, layer: Path, user: str, added: tuple[str, ...], shown: str
) -> None:
    (layer / "etc").mkdir()
    (layer / "etc" / "passwd").write_text(PASSWD)
    (layer / "etc" / "group").write_text(GROUP)
    code, output = box.run("sh", "-c", "echo $(id -u) $(id -g) $(id -G)", user=user, group_add=added, lower=(layer,))
    assert code == 0, output
    head, *groups = output.split()[1:]
    assert [output.split()[0], head, *sorted(groups)] == [*shown.split()[:2], *sorted(shown.split()[2:])]


@pytest.mark.parametrize(
    "user", ["1000abc", "-1", "2147483648", "4294967296", "nobody-here", "weird", "0:no-group", " 0"]
)
def test_who_cannot_be_had_is_refused_by_start_and_exec(box: Box, layer: Path, user: str) -> None:
    (layer / "etc").mkdir()
    (layer / "etc" / "passwd").write_text(PASSWD)
    (layer / "etc" / "group").write_text(GROUP)
    code, output = box.run("true", user=user, lower=(layer,))
    assert (code, output.split(":")[0]) == (126, "user")
    container_id, _ = box.start("sleep", "100", lower=(layer,))
    assert box.enter(container_id, "true", user=user)[0] == 126


# --- S13: CVE-2016-9962, processes that enter while others end ---


def test_entering_and_killing_at_once_ends_well(box: Box) -> None:
    def enter(container_id: str, results: list[tuple[int, str]]) -> None:
        results.append(box.enter(container_id, "true"))

    for count in range(12):
        container_id, failed = box.start("sh", "-c", "exit 0" if count % 2 else "sleep 100")
        assert not failed
        results: list[tuple[int, str]] = []
        threads = [threading.Thread(target=enter, args=(container_id, results)) for _ in range(3)]
        for thread in threads:
            thread.start()
        if count % 2 == 0:
            box.kill(container_id)
        for thread in threads:
            thread.join()
        box.wait(container_id)
        assert len(results) == 3
    assert box.running() == ()


# --- S14: the host's own parameters and devices ---


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("kernel.core_pattern", ()),
        ("kernel.modprobe", ()),
        ("fs.file-max", ()),
        ("vm.swappiness", ()),
        ("net.core.somaxconn", ("network",)),
        ("kernel.shmmax", ("ipc",)),
        ("fs.mqueue.msg_max", ("ipc",)),
        ("net.../../../kernel.core_pattern", ()),
        ("kernel.msg/../core_pattern", ()),
    ],
)
def test_a_parameter_of_the_host_is_refused(box: Box, name: str, host: tuple[str, ...]) -> None:
    code, output = box.run("true", sysctl={name: "1"}, profile={"host": host})
    assert (code, output.split(":")[0]) == (125, "sysctl")


def test_parameters_of_its_own_namespaces_are_set(box: Box) -> None:
    wanted = {"fs.mqueue.msg_max": "17", "net.core.somaxconn": "99", "kernel.shmmni": "123"}
    code, output = box.run(
        "sh", "-c", "cd /proc/sys; cat fs/mqueue/msg_max net/core/somaxconn kernel/shmmni", sysctl=wanted
    )
    assert (code, output.split()) == (0, ["17", "99", "123"])


def test_a_device_made_inside_cannot_be_opened(box: Box) -> None:
    code, output = box.run("sh", "-c", "mknod /srv/mem c 1 1 && head -c1 /srv/mem; cat /dev/null && echo null")
    assert code == 0
    assert "Operation not permitted" in output
    assert output.endswith("null")


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/mem", "/link/mem"])
def test_a_device_stays_inside(box: Box, layer: Path, victim: Path, path: str) -> None:
    (layer / "link").symlink_to(victim)
    before = os.stat("/etc/passwd")
    code, _ = box.run("true", lower=(layer,), devices=(DeviceNode(path, "c", 1, 3),))
    assert code in (0, 125)
    assert os.stat("/etc/passwd") == before


def test_a_container_in_anothers_network_is_entered_there(box: Box) -> None:
    first, failed = box.start("sleep", "100")
    assert not failed
    box.count += 1
    second = f"c{box.count}"
    folder = Path(box.places.container(second))
    folder.mkdir(parents=True)
    made = box.bundle(folder, "sleep", "100", profile={"shared": ("network", "ipc")})
    (folder / "bundle.json").write_text(to_json(replace(made, shared={"network": first, "ipc": first})))
    container_record.write(f"{folder}/state.json", {"name": second, "created": 1})
    box.go(second)
    for kind in ("net", "ipc"):
        there = box.enter(first, "readlink", f"/proc/self/ns/{kind}")
        assert box.enter(second, "readlink", f"/proc/self/ns/{kind}") == there
        assert there[1] != os.readlink(f"/proc/self/ns/{kind}")
    assert box.enter(first, "sh", "-c", "echo mine > /dev/shm/file") == (0, "")
    assert box.enter(second, "cat", "/dev/shm/file") == (0, "mine")
