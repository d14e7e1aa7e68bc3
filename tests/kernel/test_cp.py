"""cp with real containers: running and stopped, volumes and tmpfs, replicas, and containers that attack."""

from __future__ import annotations

import io
import os
import re
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from .attached_tools import Terminal
from .conftest import Machine
from .service_tools import Described, until

FILE = """
services:
  web:
    image: host
    command: sleep 1000
    init: true
    stop_grace_period: 0s
    volumes: ["data:/data", "./bound:/bound", "./bound:/sealed:ro"]
    tmpfs: [/scratch]
  reader: {image: host, command: sleep 1000, init: true, read_only: true, user: "1234:5678"}
volumes: {data: {}}
"""
CAPABLE = "security.capability"


@pytest.fixture
def running(project: Described) -> Described:
    (project.file.parent / "bound").mkdir()
    (project.file.parent / "here").write_text("from here")
    (project.file.parent / "here").chmod(0o640)
    os.chown(project.file.parent / "here", 4321, 8765)
    project.describe(FILE)
    project("up", "-d")
    return project


def test_files_go_in_and_come_out_of_a_running_container_as_it_sees_them(running: Described) -> None:
    folder = running.file.parent
    for place in ("/data", "/bound", "/scratch", "/tmp/new-name"):
        done = running("cp", f"{folder}/here", f"web:{place}")
        assert done.stdout == ""
        assert done.stderr.splitlines()[-1] == f" p-web-1 Copied {folder}/here to p-web-1:{place}"
        name = place if place.endswith("name") else f"{place}/here"
        assert running.inside("web", f"cat {name}; stat -c '%u %g %a' {name}") == "from here4321 8765 640"
        running("cp", f"web:{name}", f"{folder}/back")
        back = folder / "back"
        assert (back.read_text(), back.stat().st_uid, back.stat().st_mode & 0o777) == ("from here", 0, 0o640)
        back.unlink()
    assert (folder / "bound" / "here").read_text() == "from here"
    assert running("cp", "web:/etc/hostname", "-").stdout.startswith("hostname\0")
    sealed = running("cp", f"{folder}/here", "web:/sealed/x", check=False)
    assert (sealed.returncode, "read-only" in sealed.stderr) == (1, True)
    root = running("cp", f"{folder}/here", "reader:/usr/x", check=False)
    assert (root.returncode, "read-only" in root.stderr) == (1, True)


def test_the_count_of_a_large_copy_is_gone_before_anything_else_is_said(running: Described) -> None:
    large = running.file.parent / "large"
    large.write_bytes(bytes(20_000_000))
    words = ("-p", "p", "-f", str(running.file), "cp")
    for place in ((str(large), "web:/tmp/large"), ("web:/tmp/large", str(large))):
        terminal = Terminal(running.machine, *words, *place)
        assert terminal.end() == 0
        assert re.search(r"\rcopying: \d+ MB\x1b\[K", terminal.seen)
        assert "\r\x1b[K p-web-1 Copied" in terminal.seen


def test_a_mount_point_of_a_file_is_written_into(running: Described) -> None:
    mounts = running.inside("web", "cat /proc/self/mountinfo")
    running("cp", f"{running.file.parent}/here", "web:/etc/hosts")
    assert running.inside("web", "cat /etc/hosts") == "from here"
    assert running.inside("web", "cat /proc/self/mountinfo") == mounts
    os.symlink("here", running.file.parent / "hosts")
    assert "busy" in running("cp", f"{running.file.parent}/hosts", "web:/etc", check=False).stderr
    assert running.inside("web", "cat /proc/self/mountinfo") == mounts


def test_a_stopped_container_has_its_volumes_and_no_tmpfs(running: Described) -> None:
    folder = running.file.parent
    running("exec", "-T", "web", "sh", "-c", "echo kept > /data/kept; echo own > /srv/own; echo gone > /scratch/gone")
    running("stop")
    running("cp", "web:/data/kept", f"{folder}/kept")
    running("cp", "web:/srv/own", f"{folder}/own")
    assert ((folder / "kept").read_text(), (folder / "own").read_text()) == ("kept\n", "own\n")
    assert running("cp", "web:/scratch/gone", f"{folder}/gone", check=False).returncode == 1
    assert "tmpfs" in running("cp", f"{folder}/here", "web:/scratch", check=False).stderr
    running("cp", f"{folder}/here", "web:/data")
    running("cp", f"{folder}/here", "web:/srv")
    mounts = running.machine.run("cat", "/proc/self/mountinfo").stdout
    assert "merged" not in mounts
    running("start")
    assert running.inside("web", "cat /data/here /srv/here") == "from herefrom here"


def test_replicas_and_their_numbers(running: Described) -> None:
    folder = running.file.parent
    running("scale", "web=2")
    running("cp", f"{folder}/here", "web:/srv/all")
    running("cp", "--index", "2", f"{folder}/here", "web:/srv/second")
    seen = [running("exec", "-T", "--index", n, "web", "ls", "/srv").stdout.split() for n in ("1", "2")]
    assert seen == [["all"], ["all", "second"]]
    assert running("cp", "--index", "9", f"{folder}/here", "web:/", check=False).returncode == 1
    nobody = running("cp", f"{folder}/here", "wbe:/", check=False)
    assert (nobody.returncode, 'no container found for service "wbe"' in nobody.stderr) == (1, True)
    assert running("cp", f"{folder}/here", f"{folder}/there", check=False).returncode == 1
    assert running("cp", "web:/a", "web:/b", check=False).returncode == 1


def test_an_archive_copy_is_the_container_s_user_s(running: Described) -> None:
    folder = running.file.parent
    running("cp", "-a", f"{folder}/here", "reader:/dev/shm/x")
    assert running.inside("reader", "stat -c '%u %g' /dev/shm/x") == "1234 5678"


def test_a_tar_goes_through_pipes(running: Described) -> None:
    machine = running.machine
    content = os.urandom(3 << 20)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("folder/big")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    command = machine.entering_pycompose("-p", "p", "-f", str(running.file), "cp")
    environment = dict(machine.environment)
    subprocess.run([*command, "-", "web:/data"], env=environment, input=out.getvalue(), check=True)
    back = subprocess.run([*command, "web:/data/folder", "-"], env=environment, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(back.stdout)) as tar:
        assert tar.getnames() == ["folder", "folder/big"]
        file = tar.extractfile("folder/big")
        assert file is not None
        assert file.read() == content
    cut = subprocess.run(
        f"{' '.join(command)} web:/data - | head -c 100 >/dev/null; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in cut.stderr


SWAPPER = """
import os, itertools, shutil
shutil.rmtree("{outside}")  # of its own copy of this machine's files
os.makedirs("/srv/a/b", exist_ok=True)
os.symlink("{outside}", "/srv/evil")
print("swapping", flush=True)
for _ in itertools.count():
    os.rename("/srv/a", "/srv/real"); os.rename("/srv/evil", "/srv/a")
    os.rename("/srv/a", "/srv/evil"); os.rename("/srv/real", "/srv/a")
"""


def test_a_container_that_swaps_folders_for_links_gets_nothing_from_outside_and_nothing_out(
    host: Machine, project: Described, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    (outside / "b").mkdir(parents=True)
    (outside / "b" / "secret").write_text("secret")
    (tmp_path / "payload" / "b").mkdir(parents=True)
    (tmp_path / "payload" / "b" / "put").write_text("x")
    (tmp_path / "swap.py").write_text(SWAPPER.format(outside=outside))
    project.describe(
        "services: {web: {image: host, command: [python3, -u, /swap.py], volumes: ['./swap.py:/swap.py'], "
        "stop_grace_period: 0s}}"
    )
    project("up", "-d")
    until(lambda: project.logs("web") == ["swapping"], condition="the container swaps")
    for count in range(8):
        project("cp", f"{tmp_path}/payload/.", "web:/srv/a", check=False)
        project("cp", f"{tmp_path}/payload/b/put", "web:/srv/a/b", check=False)
        project("cp", "web:/srv/a/b", f"{tmp_path}/out{count}", check=False)
        project("cp", "-L", "web:/srv/a", f"{tmp_path}/led{count}", check=False)
    assert sorted(path.name for path in outside.rglob("*")) == ["b", "secret"]
    assert not list(tmp_path.glob("out[0-9]*/**/secret"))
    assert not list(tmp_path.glob("led*/**/secret"))


def test_links_of_procfs_and_absolute_ones_stay_inside(running: Described, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    running("exec", "-T", "web", "sh", "-c", f"rm -rf {tmp_path} && ln -s {tmp_path}/secret /srv/s && ln -s / /srv/top")
    for path in (
        "/srv/s",
        f"/srv/top/{tmp_path}/secret",
        f"/proc/self/root{tmp_path}/secret",
        f"/proc/1/root/{tmp_path}/secret",
        f"/proc/self/cwd/{tmp_path}/secret",
        f"/../../..{tmp_path}/secret",
        "/dev/fd/0",
    ):
        done = running("cp", "-L", f"web:{path}", f"{tmp_path}/stolen", check=False)
        assert done.returncode == 1, path
        assert not (tmp_path / "stolen").exists()
    refused = running("cp", f"{tmp_path}/secret", f"web:/proc/self/root{tmp_path}/new", check=False)
    assert refused.returncode == 1
    assert not (tmp_path / "new").exists()


def test_a_fifo_is_not_waited_for_and_a_device_not_made_here(running: Described, tmp_path: Path) -> None:
    running("exec", "-T", "web", "sh", "-c", "mkdir /srv/odd && mkfifo /srv/odd/fifo && mknod /srv/odd/null c 1 3")
    done = running("cp", "web:/srv/odd", f"{tmp_path}/odd")
    assert "odd/null: devices are not copied" in done.stderr
    assert [path.name for path in (tmp_path / "odd").iterdir()] == ["fifo"]


def test_what_comes_out_gives_nobody_the_caller_s_rights(running: Described, tmp_path: Path) -> None:
    """A container's root says what is setuid or capable in it; outside any user of this machine could run that."""
    running.inside(
        "web",
        "mkdir /srv/s && cp /bin/true /srv/s/run && mkfifo /srv/s/fifo && chmod 6755 /srv/s/run /srv/s/fifo && "
        f'chmod 3777 /srv/s && {sys.executable} -c \'import os; os.setxattr("/srv/s/run", "{CAPABLE}", '
        'bytes.fromhex("0100000200200000000000000000000000000000"))\'',
    )
    for name, *options in (["out"], ["out-a", "-a"]):
        top = tmp_path / name
        running("cp", *options, "web:/srv/s", str(top))
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (top, top / "run", top / "fifo")]
        assert modes == [0o1777, 0o755, 0o755]
        assert CAPABLE not in os.listxattr(top / "run")
    running("exec", "-T", "web", "cp", "-a", "/srv/s", "/srv/t")
    assert running.inside("web", "stat -c %a /srv/t/run").strip() == "6755"
