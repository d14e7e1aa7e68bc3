"""Root file systems: many layers, a copy where overlayfs cannot be, the host itself; nothing is left or gets out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from . import image_tools
from .conftest import Machine
from .test_images import compose, saved

pytestmark = pytest.mark.usefixtures("root")
SLEEPER = "services: {web: {image: app, network_mode: none, init: true, command: [sleep, '100']%s}}"


def load(host: Machine, folder: Path, layers: tuple[bytes, ...], name: str = "app:latest") -> None:
    (folder / "saved.tar").write_bytes(saved({name: layers}, {}))
    host.pycompose("image", "load", "-i", str(folder / "saved.tar"))


def shell(host: Machine, project: tuple[str, ...], text: str, check: bool = True) -> str:
    return host.pycompose(*project, "exec", "-T", "web", "sh", "-c", text, check=check).stdout


def containers(host: Machine) -> str:
    return host.run("sh", "-c", f"ls -A {host.state}/projects/imaged/containers 2>/dev/null || true").stdout


@pytest.mark.parametrize("storage", ["overlay", "vfs"])
def test_layers_are_stacked_whatever_holds_them(host: Machine, tmp_path: Path, storage: str) -> None:
    one = image_tools.tar(
        {"etc/gone": b"1", "dir/old": b"1", "same": b"1", "opt/x": b"1"},
        (image_tools.link("hard", "same", b"1"), image_tools.folder("own", 1234, 0o700)),
    )
    two = image_tools.tar({"etc/.wh.gone": b"", "dir/.wh..wh..opq": b"", "dir/new": b"2", "same": b"2"}, base=False)
    load(host, tmp_path, (one, two))
    project = compose(tmp_path, SLEEPER % "")
    with_storage = ("env", f"PYCOMPOSE_STORAGE={storage}", sys.executable, "-m", "pycompose", *project)
    try:
        host.run(*with_storage, "up", "-d")
        assert shell(host, project, "ls /etc/gone 2>/dev/null; ls /dir; cat /same /hard; stat -c %u:%a /own") == (
            "new\n211234:700\n"
        )
        assert shell(host, project, "cat /proc/mounts | head -1").split()[2] == (
            "overlay" if storage == "overlay" else "tmpfs"
        )
        shell(host, project, "echo w > /same; rm -r /opt /dir; mkdir /dir; touch /dir/mine")
        host.pycompose(*project, "restart", "-t", "0")
        assert shell(host, project, "cat /same; ls /dir; ls / | cat").startswith("w\nmine\nbin\n")
        assert containers(host) != ""
    finally:
        host.pycompose(*project, "down", "-t", "0")
    assert containers(host) == ""
    project = compose(tmp_path, SLEEPER % "")
    try:
        host.pycompose(*project, "up", "-d")
        assert shell(host, project, "cat /same") == "2", "the image is as it was"
    finally:
        host.pycompose(*project, "down", "-t", "0")


def test_an_image_may_have_128_layers(host: Machine, tmp_path: Path) -> None:
    layers = [image_tools.tar({f"layers/{n}": b"x", "last": str(n).encode()}, base=False) for n in range(127)]
    load(host, tmp_path, (image_tools.tar(), *layers))
    project = compose(tmp_path, SLEEPER % "")
    try:
        host.pycompose(*project, "up", "-d")
        assert shell(host, project, "ls /layers | cat").count("\n") == 127
        assert shell(host, project, "cat /last") == "126"
    finally:
        host.pycompose(*project, "down", "-t", "0")


OLD = """
import os, sys
from pycompose.runtime.init import rootfs
from pycompose.runtime.linux import syscalls
base = sys.argv[1]
lower = []
for n in range(128):
    os.makedirs(f"{base}/layers/{'0' * 60}{n:04}/d")
    open(f"{base}/layers/{'0' * 60}{n:04}/d/{n}", "w").close()
    lower.append(f"{base}/layers/{'0' * 60}{n:04}")
for name in ("upper", "work", "there"):
    os.mkdir(f"{base}/{name}")
syscalls.unshare(syscalls.CLONE_NEW["mount"])
tree = rootfs.overlay_in_one_string(tuple(lower), f"{base}/upper", f"{base}/work")
target = os.open(f"{base}/there", os.O_PATH)
syscalls.move_mount(tree, target)
print(len(os.listdir(f"{base}/there/d")))
open(f"{base}/there/new", "w").close()
print(os.listdir(f"{base}/upper"))
"""


def test_kernels_without_appended_layers_stack_128_too(host: Machine) -> None:
    assert host.python(OLD, f"{host.state}/x").stdout == "128\n['new']\n"


def test_a_folder_that_cannot_hold_an_overlay_gets_copies(host: Machine, tmp_path: Path) -> None:
    load(host, tmp_path, (image_tools.tar(),))
    lower, upper, work = (f"{host.state}/{name}" for name in ("l", "u", "w"))
    host.run("mkdir", "-p", lower, upper, work, f"{host.state}/projects")
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    host.run("mount", "-t", "overlay", "-o", options, "overlay", f"{host.state}/projects")
    project = compose(tmp_path, SLEEPER % "")
    try:
        host.pycompose(*project, "up", "-d")
        assert shell(host, project, "cat /proc/mounts | head -1").split()[2] == "overlay", "the copy lies on it"
        assert "rootfs" in host.run("sh", "-c", f"ls {host.state}/projects/imaged/containers/*").stdout
    finally:
        host.pycompose(*project, "down", "-t", "0")
        host.run("umount", f"{host.state}/projects")
        host.run("rm", "-rf", lower, upper, work)


def test_a_read_only_root_lets_nothing_be_written_but_its_mounts(host: Machine, tmp_path: Path) -> None:
    load(host, tmp_path, (image_tools.tar(),))
    project = compose(
        tmp_path, SLEEPER % ", read_only: true, tmpfs: [/scratch], volumes: ['data:/data']" + "\nvolumes: {data: {}}"
    )
    try:
        host.pycompose(*project, "up", "-d")
        told = shell(host, project, "for d in / /etc /scratch /data; do touch $d/x 2>/dev/null && echo $d; done; true")
        assert told == "/scratch\n/data\n"
    finally:
        host.pycompose(*project, "down", "-t", "0", "-v")


def test_what_a_container_leaves_behind_goes_with_it_however_deep_or_locked(host: Machine, tmp_path: Path) -> None:
    load(host, tmp_path, (image_tools.tar(),))
    project = compose(tmp_path, SLEEPER % "")
    deep = "i=0; while [ $i -lt 1500 ]; do mkdir d; cd d; i=$((i+1)); done; touch f"
    try:
        host.pycompose(*project, "up", "-d")
        shell(host, project, f"cd /tmp; {deep}; cd /; mkdir no; touch no/x; chmod 0 no")
    finally:
        host.pycompose(*project, "down", "-t", "0")
    assert containers(host) == ""


def test_links_where_the_runtime_puts_things_lead_nowhere_else(host: Machine, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (victim / "pts").mkdir(parents=True)
    hostile = [image_tools.link(name, str(victim)) for name in ("etc", "dev", "proc", "sys", "work", "volume")]
    load(host, tmp_path, (image_tools.tar(), image_tools.tar({}, tuple(hostile), base=False)))
    text = SLEEPER % ", working_dir: /work/made, volumes: ['/volume/inner', 'v:/volume']"
    project = compose(tmp_path, text + "\nvolumes: {v: {}}")
    try:
        host.pycompose(*project, "up", "-d")
        assert shell(host, project, "pwd; cat /etc/hostname | wc -c; ls /dev/null").endswith("/dev/null\n")
    finally:
        host.pycompose(*project, "down", "-t", "0", "-v")
    assert [str(path.relative_to(victim)) for path in victim.rglob("*")] == ["pts"]


HOST = """
services:
  web:
    image: host
    network_mode: none
    init: true
    command: [sleep, '100']
"""


def test_the_host_as_an_image_is_copied_on_write_and_hides_what_is_ours(host: Machine, tmp_path: Path) -> None:
    disk, image = tmp_path / "disk", tmp_path / "disk.img"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(8 << 20)
    (tmp_path / "mine").write_text("host")
    host.run("mkfs.ext4", "-q", str(image))
    loop = host.run("mount", "-o", "loop", str(image), str(disk), check=False)
    if loop.returncode == 0:
        host.run("sh", "-c", f"echo disk > {disk}/file")
    else:
        host.run("mount", "--bind", "/etc", str(disk))
    host.run("sh", "-c", f"mkdir {host.state}/secret; echo secret > {host.state}/secret/s")
    project = compose(tmp_path, HOST)
    before = Path("/etc/passwd").read_bytes()
    try:
        host.pycompose(*project, "up", "-d")
        seen = f"cat {tmp_path}/mine; echo inside > {tmp_path}/mine; cat {tmp_path}/mine"
        assert shell(host, project, f"{seen}; rm /etc/passwd; touch /etc/new-file") == "hostinside\n"
        assert "secret" not in shell(host, project, f"ls -AR {host.state} {host.run_folder}")
        if loop.returncode == 0:
            assert shell(host, project, f"cat {disk}/file; echo x > {disk}/file; cat {disk}/file") == "disk\nx\n"
            assert host.run("cat", f"{disk}/file").stdout == "disk\n"
        mounted = {line.split()[1]: line.split()[2] for line in shell(host, project, "cat /proc/mounts").splitlines()}
        assert mounted["/"] == "overlay"
        assert mounted["/proc"] == "proc"
        assert mounted["/etc/hosts"] != "overlay"
    finally:
        host.pycompose(*project, "down", "-t", "0")
        host.run("umount", str(disk))
        host.run("rm", "-r", f"{host.state}/secret")
    assert Path("/etc/passwd").read_bytes() == before
    assert not Path("/etc/new-file").exists()
    assert (tmp_path / "mine").read_text() == "host"
    assert containers(host) == ""


def test_a_full_disk_is_told_and_leaves_nothing(host: Machine, tmp_path: Path) -> None:
    host.run("mkdir", "-p", f"{host.state}/images")
    host.run("mount", "-t", "tmpfs", "-o", "size=6m", "small", f"{host.state}/images")
    try:
        (tmp_path / "big.tar").write_bytes(image_tools.tar({"big": os.urandom(8 << 20)}))
        told = host.pycompose("image", "import", "big", str(tmp_path / "big.tar"), check=False)
        assert told.returncode == 1
        assert "the disk is full" in told.stderr
        assert "Traceback" not in told.stderr
        assert host.run(
            "sh", "-c", f"ls -A {host.state}/images/layers {host.state}/images/work {host.state}/images/configs"
        ).stdout.split() == [f"{host.state}/images/{n}:" for n in ("configs", "layers", "work")]
        assert host.pycompose("image", "ls", "-q").stdout == ""
    finally:
        host.run("umount", f"{host.state}/images")
