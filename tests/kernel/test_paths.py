"""Attacks by those who can write to a folder that root acts on: local users, containers in volumes, hostile images."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import image_tools
from .conftest import Machine
from .test_images import compose, import_image

pytestmark = pytest.mark.usefixtures("root")
NOBODY = 65534
SLEEP = 'CMD ["/bin/sleep", "100"]'
IDENTITY = "import os; print(os.geteuid())"


@pytest.fixture
def app(host: Machine, tmp_path: Path) -> Machine:
    tar = image_tools.tar({"data/of-image": b"seed"}, (image_tools.folder("data", 0, 0o777),))
    import_image(host, tmp_path, "app", tar, SLEEP)
    return host


@pytest.fixture
def project(app: Machine, tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """One that runs, with a volume that everybody inside may write to."""
    text = "services:\n  web:\n    image: app\n    network_mode: none\n    init: true\n    stop_signal: SIGKILL\n"
    words = compose(tmp_path, text + "    volumes: ['data:/data']\nvolumes: {data: {}}\n")
    app.pycompose(*words, "up", "-d")
    yield words
    app.pycompose(*words, "down", "-v", "-t", "0")


def inside(host: Machine, project: tuple[str, ...], script: str) -> str:
    return host.pycompose(*project, "exec", "-T", "web", "sh", "-c", script).stdout


def as_nobody(host: Machine, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A local user of the machine. The test's own folders are open to it; what is ours must keep it out."""
    become = f"import os; os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
    return host.run(sys.executable, "-I", "-c", become + program, *arguments, check=False)


def opened_up(host: Machine) -> None:
    """Let everybody enter the folders above the state folder, as /var/lib lets them."""
    folder = Path(host.state).parent
    while folder != folder.parent:
        folder.chmod(folder.stat().st_mode | 0o055)
        folder = folder.parent


# What lies under the roots is ours alone


def test_no_local_user_runs_a_setuid_program_from_a_volume_or_reads_one(
    app: Machine, tmp_path: Path, project: tuple[str, ...]
) -> None:
    opened_up(app)
    volume = f"{app.state}/volumes/imaged_data/_data"
    inside(app, project, "cp /bin/sh /data/root 2>/dev/null || cat /bin/sh >/data/root; chmod 4755 /data/root")
    inside(app, project, "echo secret >/data/secret; chmod 644 /data/secret")
    assert app.run("stat", "-c", "%a %u", f"{volume}/root").stdout == "4755 0\n"
    attack = "import os, sys\ntry: os.execv(sys.argv[1], ['sh', '-c', 'id -u'])\nexcept OSError as e: print(e.strerror)"
    assert as_nobody(app, attack, f"{volume}/root").stdout == "Permission denied\n"
    assert as_nobody(app, "import sys; open(sys.argv[1])", f"{volume}/secret").returncode == 1
    # an earlier version, or somebody, left it open: whatever command comes next closes it
    for root in (app.state, app.run_folder):
        app.run("chmod", "0755", root)
    app.pycompose("ls")
    for root in (app.state, app.run_folder):
        assert app.run("stat", "-c", "%a", root).stdout == "700\n"
    assert as_nobody(app, attack, f"{volume}/root").stdout == "Permission denied\n"


def test_a_state_folder_that_somebody_else_owns_is_refused(app: Machine, tmp_path: Path) -> None:
    words = compose(tmp_path, "services: {web: {image: app, network_mode: none}}")
    app.run("chown", str(NOBODY), app.state)
    try:
        done = app.pycompose(*words, "up", "-d", check=False)
        assert done.returncode == 1
        assert f"belongs to user {NOBODY}" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        app.run("chown", "0", app.state)


CONTENT = ("_data", "upper", "work", "merged", "layers", "init-layer", "etc", "files", "host")  # of containers, images


def test_every_file_of_ours_is_ours_alone(app: Machine, project: tuple[str, ...]) -> None:
    """Roots 0700, and every record, log, lock and socket 0600."""
    inside(app, project, "echo something")
    open_to_others = []
    for root in (app.state, app.run_folder):
        top = Path(f"/proc/{app.pid}/root{root}")
        assert stat.S_IMODE(top.stat().st_mode) == 0o700
        for folder, folders, names in os.walk(top):
            folders[:] = [name for name in folders if name not in CONTENT]
            for name in names:
                status = os.lstat(f"{folder}/{name}")
                if not stat.S_ISLNK(status.st_mode) and stat.S_IMODE(status.st_mode) & 0o077:
                    if stat.S_ISSOCK(status.st_mode) and folder.startswith(f"{top}/"):
                        continue  # in the project's run folder, which is 0700 itself
                    open_to_others.append(f"{folder.removeprefix(str(top))}/{name} {stat.S_IMODE(status.st_mode):o}")
            for name in folders:
                if name == "imaged" and stat.S_IMODE(os.lstat(f"{folder}/{name}").st_mode) != 0o700:
                    open_to_others.append(f"{folder}/{name}")
    assert open_to_others == []


# Removal


def test_removal_of_a_volume_follows_no_link_of_whoever_still_has_it_open(
    app: Machine, tmp_path: Path, project: tuple[str, ...]
) -> None:
    """A process that came into the volume before goes on swapping folders for links to one of the host's."""
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o751)
    victim.chmod(0o751)
    (victim / "precious").write_text("precious")
    volume = f"{app.state}/volumes/imaged_data/_data"
    inside(app, project, "cd /data; for n in 1 2 3 4 5 6 7 8 9; do mkdir -p $n/in/ner; chmod 777 $n $n/in; done")
    attack = """
import contextlib, os, sys, time
victim, volume = sys.argv[1:]
os.chdir(volume)
top = os.open(".", os.O_RDONLY)
folders = [os.open(f"{n}/in", os.O_RDONLY) for n in range(1, 10)]
os.setgroups([]); os.setgid(65534); os.setuid(65534)
print("ready", flush=True)
end = time.monotonic() + 8
while time.monotonic() < end:
    for folder in (top, *folders):
        for name in ("ner", "more", "1", "2", "3"):
            with contextlib.suppress(OSError):
                os.rename(name, "aside", src_dir_fd=folder, dst_dir_fd=folder)
                os.symlink(victim, name, dir_fd=folder)
            with contextlib.suppress(OSError):
                os.mkdir(f"{name}-again", dir_fd=folder)
"""
    command = ["nsenter", f"--target={app.pid}", "--mount", sys.executable, "-c", attack, str(victim), volume]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as attacker:
        assert attacker.stdout is not None
        try:
            assert attacker.stdout.readline() == "ready\n"
            app.pycompose(*project, "down", "-v", "-t", "0")
        finally:
            attacker.kill()
    assert stat.S_IMODE(victim.stat().st_mode) == 0o751
    assert victim.stat().st_uid == 0
    assert [path.name for path in victim.iterdir()] == ["precious"]
    assert app.run("ls", "-A", f"{app.state}/volumes").stdout.split() == [".lock"]


def test_a_container_that_made_a_tree_of_any_depth_is_removed(app: Machine, project: tuple[str, ...]) -> None:
    inside(app, project, "cd /tmp; n=0; while [ $n -lt 900 ]; do mkdir d; cd -P d; n=$((n+1)); done; echo x >file")


# Export


def test_a_container_with_sockets_fifos_and_700_folders_deep_is_exported(
    app: Machine, tmp_path: Path, project: tuple[str, ...]
) -> None:
    pid = inside(
        app, project, "mkdir -p /tmp/x; cd /tmp/x; n=0; while [ $n -lt 700 ]; do mkdir d; cd d; n=$((n+1)); done"
    )
    assert pid == ""
    container = next(Path(f"/proc/{app.pid}/root{app.state}/projects/imaged/containers").iterdir())
    make = (
        "import os, socket, sys; os.chdir(sys.argv[1]); socket.socket(socket.AF_UNIX).bind('socket'); os.mkfifo('fifo')"
    )
    app.python(make, f"{app.state}/projects/imaged/containers/{container.name}/upper/tmp")
    app.pycompose(*project, "export", "web", "-o", f"{app.state}/out.tar")
    listed = app.run("tar", "-tf", f"{app.state}/out.tar").stdout.splitlines()
    app.run("rm", f"{app.state}/out.tar")
    assert f"tmp/x/{'d/' * 700}" in listed
    assert "tmp/fifo" in listed
    assert "tmp/socket" not in listed


def test_an_export_of_what_a_container_swaps_meanwhile_holds_nothing_of_the_host(
    app: Machine, tmp_path: Path, project: tuple[str, ...]
) -> None:
    swap = (
        "cd /tmp; while :; do mkdir t; rm -r t; ln -s /etc t; rm t; echo own >t; rm t; ln -s /etc/shadow t; rm t; done"
    )
    app.pycompose(*project, "exec", "-d", "web", "sh", "-c", swap)
    for _ in range(5):
        app.pycompose(*project, "export", "web", "-o", f"{app.state}/out.tar")
        listed = app.run("tar", "-tvf", f"{app.state}/out.tar").stdout.splitlines()
        assert not [line for line in listed if "tmp/t/" in line and not line.endswith("tmp/t/")]
    app.run("rm", f"{app.state}/out.tar")


# Files of images that the runtime reads itself


@pytest.mark.parametrize("kind", ["device", "fifo", "proc", "loop", "folder"])
def test_what_lies_at_etc_passwd_costs_an_exec_nothing(host: Machine, tmp_path: Path, kind: str) -> None:
    """A link to an endless device, a FIFO, a descriptor of the runtime's own: no regular file, so nobody is named."""
    entries = {
        "device": image_tools.link("etc/passwd", "/dev/zero"),
        "fifo": image_tools.link("etc/passwd", "/etc/pipe"),
        "proc": image_tools.link("etc/passwd", "/proc/self/fd/0"),
        "loop": image_tools.link("etc/passwd", "passwd"),
        "folder": image_tools.folder("etc/passwd"),
    }
    fifo = image_tools.folder("etc/pipe")
    fifo.type = b"6"  # FIFOTYPE
    tar = image_tools.tar({}, (image_tools.link("etc/passwd", "gone"), fifo, entries[kind]))
    import_image(host, tmp_path, "odd", tar, SLEEP)
    text = "services: {web: {image: odd, network_mode: none, init: true, stop_signal: SIGKILL}}"
    words = compose(tmp_path, text)
    host.pycompose(*words, "up", "-d")
    try:
        host.pycompose(*words, "exec", "-T", "web", "true")
        begun = time.monotonic()
        host.pycompose(*words, "exec", "-T", "-u", "7:8", "web", "true")
        host.pycompose(*words, "exec", "-T", "web", "true")
        plain = time.monotonic() - begun
        assert plain < 4
        done = host.pycompose(*words, "exec", "-T", "-u", "app", "web", "true", check=False)
        assert done.returncode == 126
        assert 'no user "app"' in done.stderr
    finally:
        host.pycompose(*words, "down", "-t", "0")


def test_an_etc_passwd_that_is_too_large_is_told(host: Machine, tmp_path: Path) -> None:
    tar = image_tools.tar({"etc/passwd": b"x" * (1 << 20) + b"\n"})
    import_image(host, tmp_path, "odd", tar, SLEEP)
    words = compose(tmp_path, "services: {web: {image: odd, network_mode: none, stop_signal: SIGKILL}}")
    done = host.pycompose(*words, "up", "-d", check=False)
    host.pycompose(*words, "down", "-t", "0")
    assert done.returncode == 1
    assert "/etc/passwd of the image is larger than 1 MiB" in done.stderr


# Paths of the project's folder, a part of which a container may have


def shared(folder: Path, more: str = "", top: str = "") -> tuple[str, ...]:
    """A project of two: `editor` has the folder data, `web` a folder in it."""
    (folder / "data/sub").mkdir(parents=True, exist_ok=True)
    one = "image: app\n    network_mode: none\n    init: true\n    stop_signal: SIGKILL\n"
    return compose(
        folder,
        f"{top}\nservices:\n  editor:\n    {one}    volumes: [./data:/data]\n"
        f"  web:\n    {one}    depends_on: [editor]\n    volumes: ['./data/sub/deep:/sub']\n{more}",
    )


def test_a_bind_source_that_a_container_swapped_for_a_link_leads_nowhere(app: Machine, tmp_path: Path) -> None:
    (tmp_path / "secret/deep").mkdir(parents=True)
    (tmp_path / "secret/deep/key").write_text("the host's")
    folder = tmp_path / "project"
    folder.mkdir()
    words = shared(folder)
    try:
        app.pycompose(*words, "up", "-d")
        assert (folder / "data/sub/deep").is_dir()  # made, as docker compose does
        app.pycompose(
            *words, "exec", "-T", "editor", "sh", "-c", f"mv /data/sub /data/was; ln -s {tmp_path}/secret /data/sub"
        )
        done = app.pycompose(*words, "restart", "web", "-t", "0", check=False)
        assert done.returncode == 1
        assert f"leads out of {folder}" in done.stderr
        done = app.pycompose(*words, "up", "-d", "--force-recreate", "web", check=False)
        assert done.returncode == 1
        assert f"leads out of {folder}" in done.stderr
        assert "follow_links: true" in done.stderr
        for place in ("    x-pycompose: {follow_links: true}\n", ""):  # in the service, or at the top
            words = shared(folder, place, "" if place else "x-pycompose: {follow_links: true}")
            app.pycompose(*words, "up", "-d", "--force-recreate", "-t", "0")
            assert app.pycompose(*words, "exec", "-T", "web", "cat", "/sub/key").stdout == "the host's"
    finally:
        app.pycompose(*words, "down", "-t", "0")


def test_links_that_stay_in_the_projects_folder_are_followed(app: Machine, tmp_path: Path) -> None:
    (tmp_path / "real/sub").mkdir(parents=True)
    (tmp_path / "real/sub/file").write_text("here")
    (tmp_path / "data").symlink_to("real")
    text = "services: {web: {image: app, network_mode: none, stop_signal: SIGKILL, volumes: ['./data/sub:/sub']}}"
    words = compose(tmp_path, text)
    app.pycompose(*words, "up", "-d")
    assert app.pycompose(*words, "exec", "-T", "web", "cat", "/sub/file").stdout == "here"
    app.pycompose(*words, "down", "-t", "0")


def test_whoever_swaps_a_component_all_the_time_never_gets_the_hosts_folder(app: Machine, tmp_path: Path) -> None:
    (tmp_path / "secret/deep").mkdir(parents=True)
    (tmp_path / "secret/deep/key").write_text("the host's")
    folder = tmp_path / "project"
    folder.mkdir()
    words = shared(folder)
    swap = f"cd /data; while :; do mv sub was; ln -s {tmp_path}/secret sub; rm sub; mv was sub; done"
    try:
        app.pycompose(*words, "up", "-d")
        app.pycompose(*words, "exec", "-d", "editor", "sh", "-c", swap)
        for _ in range(12):
            done = app.pycompose(*words, "up", "-d", "--force-recreate", "-t", "0", "web", check=False)
            assert "Traceback" not in done.stderr
            if done.returncode == 0:
                assert app.pycompose(*words, "exec", "-T", "web", "ls", "/sub").stdout == ""
            else:
                assert "leads out of" in done.stderr or "cannot be" in done.stderr, done.stderr
        assert app.pycompose(*words, "kill", "editor").returncode == 0
    finally:
        app.pycompose(*words, "down", "-t", "0")
    assert (tmp_path / "secret/deep/key").read_text() == "the host's"


@pytest.mark.parametrize("kind", ["configs", "secrets"])
def test_a_config_that_became_a_link_to_a_file_of_the_host_is_not_read(app: Machine, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "data/it").symlink_to("/etc/shadow")
    text = (
        "services: {web: {image: app, network_mode: none, stop_signal: SIGKILL, "
        f"{kind}: [it]}}}}\n{kind}: {{it: {{file: ./data/it}}}}\n"
    )
    words = compose(folder, text)
    done = app.pycompose(*words, "up", "-d", check=False)
    app.pycompose(*words, "down", "-t", "0")
    assert done.returncode == 1
    assert "leads out of" in done.stderr


@pytest.mark.parametrize("kind", ["configs", "secrets"])
def test_a_config_that_a_container_made_huge_is_not_read(app: Machine, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "data/it").write_text("small")
    text = (
        "services: {web: {image: app, network_mode: none, stop_signal: SIGKILL, volumes: [./data:/data], "
        f"{kind}: [it]}}}}\n{kind}: {{it: {{file: ./data/it}}}}\n"
    )
    words = compose(folder, text)
    app.pycompose(*words, "up", "-d")
    try:
        app.pycompose(*words, "exec", "-T", "web", "sh", "-c", "truncate -s 200G /data/it")
        done = app.pycompose(*words, "restart", check=False)
        assert done.returncode == 1
        assert "larger than 64 MiB" in done.stderr
        (folder / "data/it").write_text("small again")
        app.pycompose(*words, "restart")
    finally:
        app.pycompose(*words, "down", "-t", "0")
